//! A worker process that exceeds its timeout is killed; a thread could only be asked to stop.
//!
//! `cargo run --release -p fanfold-examples --example process_timeout`

use fanfold::{TaskError, parallel};

/// The number of Collatz steps to 1. For 0 the loop never ends.
#[parallel(kind = "process", timeout = "200ms")]
fn steps(mut n: u64) -> Result<u32, TaskError> {
    let mut steps = 0;
    while n != 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps = u32::wrapping_add(steps, 1);
    }
    Ok(steps)
}

#[fanfold::main]
fn main() {
    let numbers = [6, 27, 0, 97];
    let answers: Vec<Result<u32, TaskError>> = steps::map(&numbers).collect();
    for (number, answer) in numbers.iter().zip(answers) {
        match answer {
            Ok(steps) => println!("{number:>3}: {steps} steps"),
            Err(error) => println!("{number:>3}: {error}"),
        }
    }
}
