//! What cutting, mapping and joining allocate: counted, and never a copy of the input.
#![allow(clippy::cast_possible_wrap, reason = "small numbers")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fanfold::prelude::*;
use polars::prelude::*;

/// Bytes in use, and the most there were.
static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tests of one process share the counters: what one builds must not be counted by another.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const ROWS: usize = 200_000;

/// 200,000 rows: 6.4 MB of numbers and texts.
fn frame() -> DataFrame {
    let numbers: Vec<i64> = (0..ROWS as i64).collect();
    let texts: Vec<String> = numbers.iter().map(|n| format!("a text of its own buffer {n}")).collect();
    let group: Vec<i64> = numbers.iter().map(|n| n / 100).collect();
    df!("n" => numbers, "text" => texts, "group" => group).expect("equal lengths")
}

/// The bytes that `work` needs beyond what there is, at most. The caller is [`alone`].
fn peak<T>(work: impl Fn() -> T) -> usize {
    // Threads, and what they keep for themselves, are there before it counts.
    black_box(work());
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    black_box(work());
    MOST.load(Ordering::Relaxed) - before
}

#[test]
fn cutting_and_joining_copies_no_buffer() {
    let _alone = alone();
    let df = frame();
    let size = df.estimated_size();
    let part = size / 20;
    let chunks = peak(|| df.par_chunks(8).map(Ok).expect("no chunk fails"));
    assert!(chunks < part, "{chunks} of {size} bytes");
    let rows = peak(|| df.par_rows(25_000).overlap(10).overlap_after(10).map(Ok).expect("no chunk fails"));
    assert!(rows < part, "{rows} of {size} bytes");
    let series = df.column("n").unwrap().as_materialized_series();
    let parts = peak(|| series.par_chunks(8).map(Ok).expect("no chunk fails"));
    assert!(parts < part, "{parts} of {size} bytes");
}

#[test]
fn groups_that_stand_together_copy_no_buffer() {
    let _alone = alone();
    let mut df = frame();
    df.sort_in_place(["group"], SortMultipleOptions::default()).expect("group is there");
    let size = df.estimated_size();
    // Where each group begins is found out: some bytes a group and a bit a row, none of the data.
    let groups = peak(|| df.par_groups(["group"]).chunks(8).map(Ok).expect("no chunk fails"));
    assert!(groups < size / 20, "{groups} of {size} bytes");
}

#[test]
fn a_map_holds_the_input_the_output_and_little_else() {
    let _alone = alone();
    let df = frame();
    let double = |chunk: DataFrame| DataFrame::new(chunk.height(), vec![chunk.column("n")? * 2]);
    let output = ROWS * size_of::<i64>();
    let map = peak(|| df.par_chunks(8).map(double).expect("no chunk fails"));
    assert!((output..output * 5 / 4).contains(&map), "{map} bytes for a result of {output}");
    // Numbers go straight into the one buffer of the result.
    let column = peak(|| df.par_column("n").map(|n: i64| n * 2).expect("numbers"));
    assert!((output..output * 5 / 4).contains(&column), "{column} bytes for a result of {output}");
    let rows = peak(|| df.select(["n"]).unwrap().par_chunks(8).map_rows::<_, _, Vec<i64>>(|n: i64| n * 2).unwrap());
    assert!((output..output * 9 / 4).contains(&rows), "{rows} bytes for a result of {output}");
}
