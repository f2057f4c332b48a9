//! Results that the caller keeps use no memory mapping each: a process may have some 65,000 mappings.
#![cfg(target_os = "linux")]

use std::fs;

use fanfold::{Bytes, Pool, parallel};

fanfold::process_tests!();

static ONE: Pool = Pool::process("one").threads(1);

/// Bytes of a result: slightly more than fits in a frame of the ring.
const LEN: usize = 33_000;
const RESULTS: u32 = 4_000;

#[parallel(kind = "process", pool = ONE)]
fn vector(n: u32) -> Vec<u8> {
    vec![n.to_ne_bytes()[0]; LEN]
}

#[parallel(kind = "process", pool = ONE)]
fn bytes(n: u32) -> Bytes {
    Bytes::from(vec![n.to_ne_bytes()[0]; LEN])
}

#[parallel(kind = "process", pool = ONE)]
fn text(_n: u32) -> String {
    "a".repeat(LEN)
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").expect("it can be read").lines().count()
}

#[test]
fn kept_results_use_no_mapping_each() {
    assert_eq!(vector(1).len(), LEN);
    let before = mappings();
    let kept: (Vec<Vec<u8>>, Vec<Bytes>, Vec<String>) =
        (vector::map(0..RESULTS).collect(), bytes::map(0..RESULTS).collect(), text::map(0..RESULTS).collect());
    let during = mappings();
    assert!(during < before + 400, "{before} before, {during} with {} results", 3 * RESULTS);
    let is_intact = |n: u32, found: &[u8]| found.len() == LEN && found.iter().all(|byte| *byte == n.to_ne_bytes()[0]);
    assert!((0..).zip(&kept.0).all(|(n, found)| is_intact(n, found)));
    assert!((0..).zip(&kept.1).all(|(n, found)| is_intact(n, found)));
    drop(kept);
    let after = mappings();
    assert!(after < before + 400, "{before} before, {after} when they were dropped");
}
