//! `as_completed`: results in the order in which tasks end, not in the order of submission.
//!
//! Four functions each wait for an answer on a pipe. `main` writes the answers out of order, each after it has received
//! the previous result.
//!
//! `cargo run -p fanfold-examples --example completed`

use std::error::Error;
use std::io::{self, PipeReader, Read, Write};
use std::time::Duration;

use fanfold::{as_completed, parallel};

#[parallel(kind = "io")]
fn receive(mut answer: PipeReader) -> io::Result<String> {
    let mut text = String::new();
    answer.read_to_string(&mut text)?; // blocks until the other end is closed
    Ok(text)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut tasks = Vec::new();
    let mut writers = Vec::new();
    for _ in 0..4 {
        let (reader, writer) = io::pipe()?;
        tasks.push(receive::submit(reader));
        writers.push(Some(writer));
    }

    let mut order = [2, 0, 3, 1].into_iter();
    let mut answer_next = || -> io::Result<()> {
        // The writer is dropped after writing, which closes the pipe.
        if let Some((n, mut writer)) = order.next().and_then(|n| Some((n, writers[n].take()?))) {
            write!(writer, "the answer to question {n}")?;
        }
        Ok(())
    };

    println!("as_completed:");
    answer_next()?;
    for (index, text) in as_completed(tasks) {
        println!("  task {index}: {}", text??); // the first `?` is for the task's error, the second for the function's
        answer_next()?;
    }

    println!("\nwith a time limit:");
    let (unanswered, writer) = io::pipe()?;
    let (answered, _) = io::pipe()?; // its other end is closed at once
    let tasks = [receive::submit(unanswered), receive::submit(answered)];
    for (index, text) in as_completed(tasks).timeout(Duration::from_secs(1)) {
        match text {
            Ok(text) => println!("  task {index}: {:?}", text?),
            Err(error) => println!("  task {index}: {error}"),
        }
    }
    drop(writer); // ends the function that is still running
    Ok(())
}
