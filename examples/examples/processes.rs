//! `kind = "process"`: six prime tests and one long sum in worker processes.
//!
//! `cargo run --release -p fanfold-examples --example processes`

use std::ops::Range;
use std::process;

use fanfold::parallel;

const NUMBERS: [u64; 6] = [
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_293,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285_419,
];

/// Whether the number is prime, and the process id of the worker.
#[parallel(kind = "process")]
fn is_prime(n: u64) -> (bool, u32) {
    let prime = if n < 4 || n.is_multiple_of(2) {
        n == 2 || n == 3
    } else {
        (3..=n.isqrt()).step_by(2).all(|divisor| !n.is_multiple_of(divisor))
    };
    (prime, process::id())
}

fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[parallel(kind = "process", chunks = 2, reduce = add)]
fn sum(range: Range<u64>) -> u64 {
    range.sum()
}

#[fanfold::main] // makes the program its own worker: a worker starts here and does not run `main`
fn main() {
    println!("this process: {}", process::id());
    let answers: Vec<(bool, u32)> = is_prime::map(&NUMBERS).collect(); // in the order of NUMBERS
    for (number, (prime, worker)) in NUMBERS.iter().zip(answers) {
        println!("{number:>16}  {:9}  by process {worker}", if prime { "prime" } else { "not prime" });
    }
    println!("sum of 0..100000000: {}", sum(0..100_000_000));
}
