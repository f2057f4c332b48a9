//! [`Counts`]: how many tasks and maps a pool has run, and how long its tasks took.
//!
//! There is a shard for each core, and each thread adds to one of them. So threads that count at the same time seldom
//! write to one cache line.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use super::histogram::AtomicHistogram;
use crate::sys::cpu;
use crate::sys::try_once::get_or_init_unlocked;

/// One shard of the counts.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) maps: AtomicU64,
    /// Set once a time is measured.
    times: OnceLock<Box<TaskTimes>>,
}

/// How long tasks have waited, and have run.
#[derive(Default)]
pub(super) struct TaskTimes {
    pub(super) queue_wait: AtomicHistogram,
    pub(super) run_time: AtomicHistogram,
}

impl Counts {
    pub(super) fn times(&self) -> &TaskTimes {
        // Unlocked: the program's allocator may run a task.
        get_or_init_unlocked::<Box<TaskTimes>>(&self.times, Box::default)
    }

    pub(super) fn measured_times(&self) -> Option<&TaskTimes> {
        self.times.get().map(|times| &**times)
    }
}

/// The counts of one pool.
pub(super) struct ShardedCounts(Box<[CachePadded<Counts>]>);

impl ShardedCounts {
    pub(super) fn new() -> Self {
        // A power of two, so that a mask finds the shard.
        Self((0..cpu::cores().next_power_of_two()).map(|_| CachePadded::default()).collect())
    }

    /// The shard of this thread.
    #[inline]
    pub(super) fn here(&self) -> &Counts {
        &self.0[thread_number() & (self.0.len() - 1)]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Counts> {
        self.0.iter().map(|counts| &**counts)
    }
}

thread_local! {
    /// The number of this thread among those that have counted anything, from 1 on; 0 before.
    static THREAD_NUMBER: Cell<usize> = const { Cell::new(0) };
}

#[inline]
fn thread_number() -> usize {
    match THREAD_NUMBER.get() {
        0 => number_this_thread(),
        number => number,
    }
}

#[cold]
fn number_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    THREAD_NUMBER.set(number);
    number
}
