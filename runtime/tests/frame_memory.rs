//! Memory that splitting, mapping and joining frames allocate: counted by the allocator, and never a copy of the input.
#![allow(clippy::cast_possible_wrap, reason = "row numbers are below 2^31")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fanfold::prelude::*;
use polars::prelude::*;

/// Bytes in use.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// The most bytes in use since the last reset.
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct CountingAllocator;

// SAFETY: every call is forwarded to the system allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `GlobalAlloc::alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `GlobalAlloc::dealloc`; the block came from `System`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Runs the tests of this file one at a time: they share the counters.
fn exclusive() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

const ROWS: usize = 200_000;

/// 200,000 rows: 6.4 MB of numbers and texts.
fn frame() -> DataFrame {
    let numbers: Vec<i64> = (0..ROWS as i64).collect();
    let texts: Vec<String> = numbers.iter().map(|n| format!("a text of its own buffer {n}")).collect();
    let group: Vec<i64> = numbers.iter().map(|n| n / 100).collect();
    df!("n" => numbers, "text" => texts, "group" => group).expect("equal lengths")
}

/// The peak of bytes that `work` allocates. The caller holds the lock of [`exclusive`].
fn peak<T>(work: impl Fn() -> T) -> usize {
    // The first run starts the threads and fills their caches.
    black_box(work());
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    black_box(work());
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn splitting_and_joining_copies_no_buffer() {
    let _alone = exclusive();
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
fn contiguous_groups_copy_no_buffer() {
    let _alone = exclusive();
    let mut df = frame();
    df.sort_in_place(["group"], SortMultipleOptions::default()).expect("group is there");
    let size = df.estimated_size();
    // Finding the groups takes some bytes for each group and a bit for each row, and none of the data.
    let groups = peak(|| df.par_groups(["group"]).chunks(8).map(Ok).expect("no chunk fails"));
    assert!(groups < size / 20, "{groups} of {size} bytes");
}

#[test]
fn a_map_holds_little_more_than_its_input_and_output() {
    let _alone = exclusive();
    let df = frame();
    let double = |chunk: DataFrame| DataFrame::new(chunk.height(), vec![chunk.column("n")? * 2]);
    let output = ROWS * size_of::<i64>();
    let map = peak(|| df.par_chunks(8).map(double).expect("no chunk fails"));
    assert!((output..output * 5 / 4).contains(&map), "{map} bytes for a result of {output}");
    // A column's function writes straight into the one buffer of the result.
    let column = peak(|| df.par_column("n").map(|n: i64| n * 2).expect("numbers"));
    assert!((output..output * 5 / 4).contains(&column), "{column} bytes for a result of {output}");
    let rows = peak(|| df.select(["n"]).unwrap().par_chunks(8).map_rows::<_, _, Vec<i64>>(|n: i64| n * 2).unwrap());
    assert!((output..output * 9 / 4).contains(&rows), "{rows} bytes for a result of {output}");
}
