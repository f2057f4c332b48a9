//! An axum handler that computes: off the runtime, with a deadline, and stopped when the client leaves.
//!
//! `cargo run --release -p fanfold-examples --example axum_handler`

use std::error::Error;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::{Router, routing::get};
use fanfold::{cancelled, parallel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

static HAS_STOPPED: AtomicBool = AtomicBool::new(false);

#[parallel(kind = "cpu")]
fn factors(mut n: u64) -> Vec<String> {
    let mut found = Vec::new();
    for divisor in 2.. {
        while n.is_multiple_of(divisor) {
            found.push(divisor.to_string());
            n /= divisor;
        }
        if n == 1 {
            break;
        }
    }
    found
}

/// Goes on until nobody waits for it any more.
#[parallel(kind = "cpu")]
fn endless() {
    while !cancelled() {
        std::hint::spin_loop();
    }
    HAS_STOPPED.store(true, Ordering::Release);
}

async fn get_factors(Path(n): Path<u64>) -> (StatusCode, String) {
    if n == 0 {
        return (StatusCode::BAD_REQUEST, "0 has no factors".into());
    }
    // Awaited, so that the runtime's threads answer other requests. If the client leaves, axum drops this future, and
    // with it the task: a queued one never runs, and a running one sees `cancelled()`.
    match timeout(Duration::from_secs(30), factors::submit(n).cancel_on_drop()).await {
        Ok(Ok(factors)) => (StatusCode::OK, factors.join(" x ")),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "it took too long".into()),
    }
}

/// As `get_factors`, with this many milliseconds.
async fn get_endless(Path(milliseconds): Path<u64>) -> (StatusCode, &'static str) {
    match timeout(Duration::from_millis(milliseconds), endless::submit().cancel_on_drop()).await {
        Ok(_) => (StatusCode::OK, "it ended"),
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "it took too long"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new().route("/factors/{n}", get(get_factors)).route("/endless/{ms}", get(get_endless));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app).into_future());

    let ask = async |path: &str| -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        Ok(format!("{status} {}", answer.rsplit("\r\n\r\n").next().unwrap_or_default()))
    };
    for path in ["/factors/91", "/factors/97", "/factors/0"] {
        println!("GET {path}: {}", ask(path).await?);
    }
    println!("a slow one: {}", ask("/endless/50").await?);
    HAS_STOPPED.store(false, Ordering::Release);
    // This client leaves as soon as its request has been read.
    let leaving = timeout(Duration::from_millis(100), ask("/endless/60000")).await;
    assert!(leaving.is_err());
    while !HAS_STOPPED.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    println!("a client that left: its work has stopped");
    Ok(())
}
