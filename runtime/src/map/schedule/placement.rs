//! Where a map's workers run: helpers are of use on other cores than the caller's.
//!
//! The kernel likes to wake a helper on the caller's core, where it waits until the caller's time slice ends, some
//! milliseconds later. So a caller whose helpers have not come gives way now and then, and a helper that finds itself
//! on the caller's core moves.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::sys::clock::Moment;
use crate::sys::cpu;

/// What must be left for a helper on the caller's core to move: moving costs some 40 microseconds.
const WORTH_MOVING_NS: u64 = 100_000;
/// When helpers that sleep on other cores should have come. The next look is after twice the time.
const LATE_NS: u64 = 20_000;

/// What tells this thread from all others that live. The standard library's handle is gone in exit handlers.
fn this_thread() -> usize {
    thread_local! {
        static HERE: Cell<u8> = const { Cell::new(0) };
    }
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// Those who work on a map, and where.
pub(crate) struct Cores {
    /// The caller's thread.
    caller: usize,
    /// The caller's core.
    home: Option<usize>,
    /// Workers there may be, the caller included.
    workers: usize,
    /// Those who have come.
    came: AtomicUsize,
}

impl Cores {
    /// For a map of the current thread's.
    pub(crate) fn here(workers: usize) -> Self {
        Self { caller: this_thread(), home: cpu::current_core(), workers, came: AtomicUsize::new(0) }
    }

    /// A worker comes, with so many nanoseconds of work left; `None` if it is of no use.
    pub(crate) fn arrive(&self, left_ns: impl FnOnce() -> u64) -> Option<Worker<'_>> {
        let is_caller = this_thread() == self.caller;
        if let Some(home) = self.home
            && !is_caller
            && cpu::current_core() == self.home
        {
            if left_ns() < WORTH_MOVING_NS {
                return None;
            }
            cpu::leave_core(home);
        }
        let index = self.came.fetch_add(1, Ordering::Relaxed);
        (index < self.workers).then(|| Worker { cores: self, index, is_caller, since: Moment::now(), late: LATE_NS })
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    fn all_came(&self) -> bool {
        self.came.load(Ordering::Relaxed) >= self.workers
    }
}

/// One who works on a map.
pub(crate) struct Worker<'a> {
    cores: &'a Cores,
    /// The how-manieth it is.
    pub(crate) index: usize,
    is_caller: bool,
    /// When the caller came, and when it last gave way after that.
    since: Moment,
    late: u64,
}

impl Worker<'_> {
    /// Gives way for a moment before the first item, if one item takes so long that helpers should come during it.
    pub(crate) fn begin(&mut self, item_ns: u64) {
        if self.is_caller && item_ns >= LATE_NS && !self.cores.all_came() {
            thread::yield_now();
        }
    }

    /// Gives way for a moment after a chunk that ended `now`, if helpers should have come. Gives the time after that.
    pub(crate) fn give_way(&mut self, now: Moment) -> Moment {
        if !self.is_caller || self.cores.all_came() || now.since(self.since) < self.late {
            return now;
        }
        // A helper that is late may wait for this very core.
        thread::yield_now();
        self.late = self.late.saturating_mul(2);
        Moment::now()
    }
}
