//! Monte Carlo: pi from random points, with the same digits on every run and on any number of threads.
//!
//! `cargo run --release -p fanfold-examples --example monte_carlo`

use fanfold::parallel;

const POINTS: u64 = 200_000;

/// The part of random points in a square that lie in its circle. The seed belongs to the item and not to the thread, so
/// the result does not depend on which thread runs it.
#[parallel(kind = "cpu")]
fn inside(seed: u64) -> f64 {
    let mut state = seed;
    let mut random = || {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        f64::from(u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    };
    let hits = (0..POINTS).filter(|_| random().powi(2) + random().powi(2) < 1.0).count();
    f64::from(u32::try_from(hits).unwrap_or(0)) / 200_000.0
}

fn main() {
    // Floats depend on the order in which they are added. A sum of a map adds in an order of its own that is always
    // the same, whatever the threads do.
    let sums: Vec<f64> = (0..3).map(|_| inside::map(0..64).sum::<f64>()).collect();
    println!("pi is about {:.6}", 4.0 * sums[0] / 64.0);
    println!("the same to the last bit, three times: {}", sums.iter().all(|sum| sum.to_bits() == sums[0].to_bits()));
}
