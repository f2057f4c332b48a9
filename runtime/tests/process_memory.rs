//! Memory for large arguments and results: one copy in each direction, in memory that both processes map.
#![cfg(target_os = "linux")]

use std::fs;
use std::process;

use fanfold::{Bytes, Pool, parallel};
use polars::prelude::*;

fanfold::process_tests!();

static ONE: Pool = Pool::process("one").threads(1);

/// Large in comparison with everything else in the processes.
const LARGE: usize = 64 << 20;

#[parallel(kind = "process", pool = ONE)]
fn pid() -> u32 {
    process::id()
}

#[parallel(kind = "process", pool = ONE)]
fn echo_frame(df: DataFrame) -> DataFrame {
    df
}

#[parallel(kind = "process", pool = ONE)]
fn echo_bytes(bytes: Bytes) -> Bytes {
    bytes
}

#[parallel(kind = "process", pool = ONE)]
fn echo_vector(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// Resident bytes of a process: private ones, and shared ones.
fn resident(pid: u32) -> [usize; 2] {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it can be read");
    ["RssAnon:", "RssShmem:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the system reports it");
        let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes << 10
    })
}

/// The growth of resident memory during five calls, in units of [`LARGE`]: private to this process, private to the
/// worker, and shared.
fn growth(mut call: impl FnMut()) -> [f64; 3] {
    let worker = pid();
    let [ours, theirs] = [process::id(), worker].map(resident);
    (0..5).for_each(|_| call());
    assert_eq!(pid(), worker);
    let [ours_now, theirs_now] = [process::id(), worker].map(resident);
    // Both processes map the same segments, so the larger figure counts.
    let shared = [ours, theirs].map(|[_, shared]| shared).into_iter().max().unwrap_or(0);
    let shared_now = [ours_now, theirs_now].map(|[_, shared]| shared).into_iter().max().unwrap_or(0);
    [(ours[0], ours_now[0]), (theirs[0], theirs_now[0]), (shared, shared_now)].map(|(before, now)| {
        let more = u32::try_from(now.saturating_sub(before) >> 10).expect("a machine's memory");
        f64::from(more) / f64::from(u32::try_from(LARGE >> 10).expect("it is small"))
    })
}

#[test]
fn large_values_are_copied_once_in_each_direction() {
    let numbers = vec![1.5_f64; LARGE / 8];
    let frame = DataFrame::new(numbers.len(), vec![Column::new("x".into(), numbers)]).expect("one column");
    let mut back = DataFrame::empty();
    let [ours, theirs, shared] = growth(|| {
        // A kept result keeps its segment.
        back = DataFrame::empty();
        back = echo_frame(frame.clone());
    });
    assert!(ours < 0.2 && theirs < 0.2 && shared < 2.2, "{ours} {theirs} {shared}");
    assert!(back.equals(&frame));
    drop((back, frame));
    let bytes = Bytes::from(vec![1; LARGE]);
    let [ours, theirs, shared] = growth(|| assert_eq!(echo_bytes(bytes.clone()).len(), LARGE));
    assert!(ours < 0.2 && theirs < 0.2 && shared < 0.2, "{ours} {theirs} {shared}: the segments are there");
    drop(bytes);
    let mut vector = vec![1; LARGE];
    let [ours, theirs, shared] = growth(|| vector = echo_vector(std::mem::take(&mut vector)));
    assert!(ours < 0.2 && theirs < 1.2 && shared < 0.2, "{ours} {theirs} {shared}");
}
