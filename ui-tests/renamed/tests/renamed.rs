//! A crate that depends on Fanfold under another name needs only `crate = "path"`: generated code uses no other path.
#![deny(missing_docs, unused, clippy::pedantic)]
#![forbid(unsafe_code)]

use std::sync::Arc;

use sheets::{Pool, TaskError, parallel};

static MINE: Pool = Pool::io("mine").threads(2);

#[parallel(kind = "cpu", crate = "sheets")]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[parallel(kind = "cpu", chunks = 3, reduce = u64::wrapping_add, crate = "::sheets")]
fn sum<const N: u64>(numbers: &[u64]) -> u64 {
    numbers.iter().map(|n| n * N).sum()
}

#[parallel(kind = "io", timeout = "9s", retries = 1, pool = MINE, crate = "sheets")]
fn parse(text: String) -> Result<u32, TaskError> {
    text.parse().map_err(|_| TaskError::Cancelled)
}

#[parallel(kind = "io", init = String::new, crate = "sheets")]
fn said(letter: char, #[worker] before: &mut String) -> usize {
    before.push(letter);
    before.len()
}

#[parallel(kind = "io", crate = "sheets")]
async fn later(n: u32) -> impl Iterator<Item = u32> {
    0..n
}

#[parallel(kind = "process", crate = "sheets")]
fn elsewhere(n: u32) -> u32 {
    n + 1
}

struct Grid(Vec<u32>);

impl Grid {
    #[parallel(kind = "cpu", crate = "sheets")]
    fn total(&self, more: u32) -> u32 {
        self.0.iter().sum::<u32>() + more
    }
}

impl Iterator for Grid {
    type Item = u32;

    #[parallel(kind = "cpu", companion = none, crate = "sheets")]
    fn next(&mut self) -> Option<u32> {
        self.0.pop()
    }
}

// In a test binary, a worker process starts here too.
sheets::process_tests!();

#[test]
fn every_kind_of_emitted_code_finds_the_library() {
    assert_eq!(add(1, 2) + add::submit(1, 2).join().expect("no panic"), 6);
    assert_eq!(add::map([(1, 2)]).collect::<Vec<_>>(), [3]);
    assert_eq!(sum::<2>(&[1, 2, 3]), 12);
    assert_eq!(parse("7".into()).ok(), Some(7));
    assert_eq!(said('a'), 1);
    assert_eq!(later::submit(4).join().expect("no panic").sum::<u32>(), 6);
    assert_eq!(elsewhere(1), 2);
    let grid = Arc::new(Grid(vec![1, 2]));
    assert_eq!(Arc::clone(&grid).total_submit(3).join().expect("no panic"), 6);
    assert_eq!(Arc::into_inner(grid).and_then(|mut grid| grid.next()), Some(2));
}
