//! A web service whose handlers compute: off the runtime, bounded, with deadlines; clients that leave stop their work.
//!
//! `cargo run --release -p fanfold-examples --example service -- 8080 2` (the port, and the seconds in which a request
//! is answered); end it by closing its input (Ctrl-D).

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::time::Duration;

use fanfold::{Pool, cancelled, parallel};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The pool of the handlers' work: one thread per core, as the default pool. At most 64 requests wait for a worker; a
/// client behind them is told at once, and can try another server.
static WORK: Pool = Pool::cpu("work").queue_limit(64).on_start(step_back);

/// Lowers the priority of this thread, on Linux: while all cores compute, the runtime's thread gets one at once.
fn step_back() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(10); // if it is refused, the service works as well, only less evenly
}

/// The time that requests and work in progress have when the service ends.
const GRACE: Duration = Duration::from_secs(10);

/// The number of primes below a limit; `None` if nobody waits for it any more.
#[parallel(kind = "cpu", pool = WORK)]
fn count_primes(limit: u64) -> Option<u64> {
    let is_prime = |n: u64| n > 1 && (2..=n.isqrt()).all(|d| !n.is_multiple_of(d));
    let mut count = 0;
    for n in 0..limit {
        if n % 1_024 == 0 && cancelled() {
            return None;
        }
        count += u64::from(is_prime(n));
    }
    Some(count)
}

/// The answer to `/primes/limit`. The time in the queue counts.
async fn primes(limit: u64, time: Duration) -> (StatusCode, String) {
    let Ok(task) = count_primes::try_submit(limit) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "busy: try again later".into());
    };
    // If the client leaves, hyper drops this future, and `timeout` drops the task at the deadline: either cancels it.
    match timeout(time, task.cancel_on_drop()).await {
        Ok(Ok(Some(count))) => (StatusCode::OK, count.to_string()),
        Ok(Ok(None)) => (StatusCode::INTERNAL_SERVER_ERROR, "cancelled".into()),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()), // a panic, or a closed pool
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "not done in time".into()),
    }
}

async fn handle(request: Request<Incoming>, time: Duration) -> Result<Response<String>, Infallible> {
    let path = request.uri().path();
    let (status, body) = if path == "/ping" {
        (StatusCode::OK, "pong".into())
    } else if path == "/stats" {
        (StatusCode::OK, format!("{:?}", WORK.stats()))
    } else if let Some(limit) = path.strip_prefix("/primes/").and_then(|limit| limit.parse().ok()) {
        primes(limit, time).await
    } else {
        (StatusCode::NOT_FOUND, "no such page".into())
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    Ok(response)
}

/// Serves one client, until it leaves or `stop` changes; a request in progress is answered first.
async fn serve(stream: TcpStream, time: Duration, mut stop: watch::Receiver<()>) {
    let service = service_fn(|request| handle(request, time));
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await; // an error is the client's end of the connection
}

/// Ends with the program's input, where a service would wait for a signal. It blocks, so it has a thread of its own.
#[parallel(kind = "io")]
fn end_of_input() -> io::Result<usize> {
    io::stdin().read_to_end(&mut Vec::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let time = Duration::from_secs(arguments.next().map_or(Ok(2), |seconds| seconds.parse())?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on {}", listener.local_addr()?);

    let (stop, stopped) = watch::channel(());
    let (mut connections, mut end) = (JoinSet::new(), end_of_input::submit());
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(connections.spawn(serve(accepted?.0, time, stopped.clone()))),
            Some(_) = connections.join_next() => (), // forgets connections that have ended
            _ = &mut end => break,
        }
    }
    drop((listener, stop.send(())?)); // no new requests; those in progress are answered
    let answered = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await.is_ok();
    let finished = fanfold::shutdown(GRACE);
    println!("all requests were answered: {answered}; all work was finished: {finished}");
    Ok(())
}
