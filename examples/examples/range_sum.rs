//! `chunks` and `reduce`: a range is split into chunks, each is summed on a worker, and the sums are added.
//!
//! `cargo run --release -p fanfold-examples --example range_sum`

use std::ops::Range;
use std::time::Instant;

use fanfold::parallel;

const END: u64 = 10_000_000;

/// The sum of all digits of some numbers. Called with `0..8`, it runs with `0..2`, `2..4`, `4..6` and `6..8`, and `add`
/// folds the results in this order.
#[parallel(kind = "cpu", chunks = 4, reduce = add)]
fn digit_sum(numbers: Range<u64>) -> u64 {
    let mut total = 0;
    for mut number in numbers {
        while number > 0 {
            total += number % 10;
            number /= 10;
        }
    }
    total
}

fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn main() {
    let start = Instant::now();
    let serial = digit_sum::serial(0..END); // the function as written, on this thread
    println!("serial   {serial:>18} {:>10.1?}", start.elapsed());

    let start = Instant::now();
    let chunked = digit_sum(0..END); // called as before
    println!("chunked  {chunked:>18} {:>10.1?}", start.elapsed());
}
