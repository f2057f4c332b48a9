//! CPU placement of a map's workers: helpers are useful on other CPUs than the caller's.
//!
//! The kernel tends to wake a helper on the caller's CPU, where it waits until the caller's time slice ends, some
//! milliseconds later. So a caller whose helpers have not arrived yields from time to time, and a helper that finds
//! itself on the caller's CPU moves to another one.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::sys::clock::Moment;
use crate::sys::cpu;

/// The work that must be left for a helper on the caller's CPU to move: moving costs some 40 us.
const WORTH_MOVING_NS: u64 = 100_000;
/// By then helpers that sleep on other CPUs should have arrived. The caller yields after this time, and after twice as
/// long each time after that.
const FIRST_YIELD_NS: u64 = 20_000;

/// An identity of the current thread, unique among live threads. It works in exit handlers, where the standard
/// library's thread handle is gone.
fn this_thread() -> usize {
    thread_local! {
        static HERE: Cell<u8> = const { Cell::new(0) };
    }
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// The workers of one map, and the caller's CPU.
pub(crate) struct Placement {
    /// The caller's thread.
    caller: usize,
    /// The CPU on which the caller began, if known.
    caller_cpu: Option<usize>,
    /// The most workers, the caller included.
    workers: usize,
    /// Workers that have arrived; may count more than `workers`.
    arrived: AtomicUsize,
}

impl Placement {
    /// For a map that the current thread calls.
    pub(crate) fn here(workers: usize) -> Self {
        Self { caller: this_thread(), caller_cpu: cpu::current_core(), workers, arrived: AtomicUsize::new(0) }
    }

    /// Registers the current thread as a worker, with `left_ns` of work left. `None` if it is of no use: there are
    /// enough workers, or it would have to move to another CPU for too little work.
    pub(crate) fn arrive(&self, left_ns: impl FnOnce() -> u64) -> Option<PlacedWorker<'_>> {
        let is_caller = this_thread() == self.caller;
        if let Some(caller_cpu) = self.caller_cpu
            && !is_caller
            && cpu::current_core() == self.caller_cpu
        {
            if left_ns() < WORTH_MOVING_NS {
                return None;
            }
            cpu::leave_core(caller_cpu);
        }
        let index = self.arrived.fetch_add(1, Ordering::Relaxed);
        (index < self.workers).then(|| PlacedWorker {
            placement: self,
            index,
            is_caller,
            arrived_at: Moment::now(),
            next_yield_ns: FIRST_YIELD_NS,
        })
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    fn all_arrived(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) >= self.workers
    }
}

/// One worker of a map.
pub(crate) struct PlacedWorker<'a> {
    placement: &'a Placement,
    /// Its number, in order of arrival.
    pub(crate) index: usize,
    is_caller: bool,
    arrived_at: Moment,
    /// The caller yields once this much time has passed since `arrived_at`.
    next_yield_ns: u64,
}

impl PlacedWorker<'_> {
    /// On the caller: yields once before the first item, if an item takes so long that helpers should arrive during it.
    pub(crate) fn begin(&mut self, item_ns: u64) {
        if self.is_caller && item_ns >= FIRST_YIELD_NS && !self.placement.all_arrived() {
            thread::yield_now();
        }
    }

    /// On the caller, after a chunk that ended `now`: yields if helpers should have arrived and have not. Returns the
    /// time at which it goes on.
    pub(crate) fn yield_if_late(&mut self, now: Moment) -> Moment {
        if !self.is_caller || self.placement.all_arrived() || now.since(self.arrived_at) < self.next_yield_ns {
            return now;
        }
        // A late helper may be queued on this very CPU.
        thread::yield_now();
        self.next_yield_ns = self.next_yield_ns.saturating_mul(2);
        Moment::now()
    }
}
