//! A crash fails only the task that crashed: the program and all other tasks continue.
//!
//! `cargo run --release -p fanfold-examples --example process_crash`

use std::process;

use fanfold::{TaskError, parallel};

/// Stands for a parser in C that aborts on one of its inputs.
#[parallel(kind = "process")]
fn parse(text: String) -> Result<usize, TaskError> {
    if text.contains('\0') {
        process::abort();
    }
    Ok(text.split_whitespace().count())
}

#[fanfold::main]
fn main() {
    let files = ["one two three", "four", "bad\0input", "five six"];
    // A lost worker is the error of its item, because the function's error type can hold a `TaskError`.
    let counts: Vec<Result<usize, TaskError>> = parse::map(files.map(String::from)).collect();
    for (file, count) in files.iter().zip(&counts) {
        match count {
            Ok(words) => println!("{file:?}: {words} words"),
            Err(TaskError::WorkerDied { signal: Some(signal), .. }) => println!("{file:?}: died of signal {signal}"),
            Err(other) => println!("{file:?}: {other}"),
        }
    }
    println!("afterwards: {} words", parse("the pool has a new worker".into()).expect("no crash"));
}
