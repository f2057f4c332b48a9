//! A web server on one thread whose handler awaits CPU work: other requests are answered meanwhile.
//!
//! `cargo run --release -p fanfold-examples --example http_handler`

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfold::{TaskError, parallel};
use fanfold_examples::http;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const PRIME: u64 = 9_999_999_999_999_937;

/// Requests to `/prime/` that are being computed.
static COMPUTING: AtomicUsize = AtomicUsize::new(0);

#[parallel(kind = "cpu")]
fn is_prime(n: u64) -> bool {
    if n < 4 || n.is_multiple_of(2) {
        return n == 2 || n == 3;
    }
    (3..=n.isqrt()).step_by(2).all(|divisor| !n.is_multiple_of(divisor))
}

async fn handle(request: Request<Incoming>) -> Result<Response<String>, TaskError> {
    let path = request.uri().path();
    if path == "/computing" {
        return Ok(Response::new(COMPUTING.load(Ordering::Relaxed).to_string()));
    }
    let Some(n) = path.strip_prefix("/prime/").and_then(|n| n.parse().ok()) else {
        let mut response = Response::new("no such page".to_owned());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    COMPUTING.fetch_add(1, Ordering::Relaxed);
    let prime = is_prime::submit(n).await; // `is_prime(n)` would block the server's thread
    COMPUTING.fetch_sub(1, Ordering::Relaxed);
    Ok(Response::new(prime?.to_string()))
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(handle)));
    }
}

/// The client blocks, so it has threads of its own.
#[parallel(kind = "io")]
fn get(server: SocketAddr, path: String) -> io::Result<String> {
    http::get(server, &path)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let server = listener.local_addr()?;
    tokio::spawn(serve(listener));

    let heavy = get::submit(server, format!("/prime/{PRIME}"));
    let mut meanwhile = 0_u64;
    while !heavy.is_finished() {
        let computing = get::submit(server, "/computing".to_owned()).await??;
        meanwhile += u64::from(computing != "0"); // the server reports that it was computing
    }
    println!("is {PRIME} prime? {}", heavy.await??);
    println!("requests answered while it was computed: {meanwhile}");
    Ok(())
}
