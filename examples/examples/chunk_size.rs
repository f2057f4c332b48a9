//! Chunk sizes for 100,000 tiny items.
//!
//! Without a chunk size Fanfold measures the time of the first items and shares the rest if it is worth it. A chunk
//! size overrides that; 1 is the worst for many tiny items, and the best for few long ones.
//!
//! `cargo run --release -p fanfold-examples --example chunk_size`

use std::time::Instant;

use fanfold::parallel;

const ITEMS: u64 = 100_000;

#[parallel(kind = "cpu")]
fn digit_sum(mut n: u64) -> u64 {
    let mut sum = 0;
    while n > 0 {
        sum += n % 10;
        n /= 10;
    }
    sum
}

fn main() {
    println!("{:<24}{:>14}{:>14}", "", "sum of digits", "time");
    digit_sum::map(0..ITEMS).sum::<u64>(); // the first use starts the threads

    show("a loop", || (0..ITEMS).map(digit_sum::serial).sum());
    show("map", || digit_sum::map(0..ITEMS).sum());
    for size in [10_000, 1_000, 10, 1] {
        show(&format!("map, chunk_size({size})"), || digit_sum::map(0..ITEMS).chunk_size(size).sum());
    }
    show("map, chunks(8)", || digit_sum::map(0..ITEMS).chunks(8).sum());
}

fn show(how: &str, work: impl FnOnce() -> u64) {
    let start = Instant::now();
    let sum = work();
    println!("{how:<24}{sum:>14}{:>14.1?}", start.elapsed());
}
