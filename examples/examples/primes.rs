//! `map`: which of six large numbers are prime, first serially and then on all cores.
//!
//! `cargo run --release -p fanfold-examples --example primes`

use std::time::Instant;

use fanfold::{Pool, parallel};

const NUMBERS: [u64; 6] = [
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_293,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285_419,
];

#[parallel(kind = "cpu")]
fn is_prime(n: u64) -> bool {
    if n < 4 || n.is_multiple_of(2) {
        return n == 2 || n == 3;
    }
    (3..=n.isqrt()).step_by(2).all(|divisor| !n.is_multiple_of(divisor))
}

fn main() {
    let start = Instant::now();
    let serial: Vec<bool> = NUMBERS.iter().map(|&n| is_prime::serial(n)).collect();
    let serial_took = start.elapsed();

    let start = Instant::now();
    let parallel: Vec<bool> = is_prime::map(&NUMBERS).collect(); // in the order of NUMBERS
    let parallel_took = start.elapsed();

    for (number, prime) in NUMBERS.iter().zip(&parallel) {
        println!("{number:>16}  {}", if *prime { "prime" } else { "not prime" });
    }
    println!("\nserial and parallel agree: {}", serial == parallel);
    println!("serial {serial_took:>10.1?}");
    println!("map    {parallel_took:>10.1?} on {} threads", Pool::cpu_default().stats().limit);
}
