//! `timeout` on slow calls, and `retries` of failed ones.
//!
//! `cargo run -p fanfold-examples --example timeout`

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use fanfold::{TaskError, cancelled, parallel};

/// The error type must be able to hold a `TaskError`, because a call past its timeout returns one.
type Answer<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[parallel(kind = "cpu", timeout = "500ms")]
fn collatz(start: u64) -> Answer<u64> {
    let (mut n, mut steps) = (start, 0);
    while n != 1 {
        if cancelled() {
            return Err("stopped".into()); // the caller has stopped waiting
        }
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    Ok(steps)
}

/// A thread cannot be stopped from outside: the function continues unless it checks `cancelled()`.
#[parallel(kind = "io", timeout = "500ms")]
fn run_until_cancelled(sender: Sender<&'static str>) -> Answer<()> {
    while !cancelled() {
        thread::sleep(Duration::from_millis(5));
    }
    sender.send("it saw `cancelled()` and returned")?;
    Ok(())
}

/// Fails twice, then succeeds.
#[parallel(kind = "io", retries = 3, backoff = "10ms")]
fn flaky(attempts: &AtomicUsize) -> Answer<usize> {
    let attempt = attempts.fetch_add(1, Ordering::Relaxed) + 1;
    if attempt < 3 { Err("no connection".into()) } else { Ok(attempt) }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    println!("quick call:  {} steps", collatz(27)?);

    // 0 / 2 = 0, so the loop never reaches 1.
    match collatz(0) {
        Err(error) if matches!(error.downcast_ref(), Some(TaskError::TimedOut { .. })) => {
            println!("slow call:   {error}");
        }
        other => println!("slow call:   {other:?}"),
    }
    println!("in a map:");
    for (start, steps) in [27, 0, 97].into_iter().zip(collatz::map([27, 0, 97])) {
        println!("  {start:>2}: {}", steps.map_or_else(|error| error.to_string(), |steps| format!("{steps} steps")));
    }

    let (sender, receiver) = mpsc::channel();
    if let Err(error) = run_until_cancelled(sender) {
        println!("timed out:   {error}");
        println!("             {}", receiver.recv()?);
    }

    let attempts = AtomicUsize::new(0);
    println!("retries:     it worked at attempt {}", flaky(&attempts)?);
    Ok(())
}
