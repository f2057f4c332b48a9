//! Maps over an iterator that is not indexed: only the calling thread may pull it, as it need not be `Send`.
//!
//! At first the calling thread runs each item when it has pulled it, as a loop does. Once that has taken long enough to
//! be worth a helper, it calls one, and goes on. When a helper has arrived the calling thread reads ahead: it pulls
//! items into a buffer, from which helpers take them in order, and runs items itself only while the buffer is full
//! enough to keep the helpers busy. So it never waits for its producer while an item that it has pulled has no thread
//! to run on, and a producer may wait for the results of the items that it has given.

use std::ops::{ControlFlow, Range};
use std::thread;

use super::cost_history::CostHistory;
use super::interrupt::Interrupt;
use super::placement::Placement;
use super::shared_window::{MAX_BATCH, SharedWindow, StopOnUnwind};
use super::{BlockObserver, RunPlan};
use crate::pool::mark_cpu_work;
use crate::pool::scoped::{self, Abandoned};
use crate::pool::work_span::WorkSpan;
use crate::sys::clock::Moment;

/// Items that take less, with the pulling, are run by the calling thread alone: passing an item to another thread costs
/// about as much.
const SHARED_ITEM_NS: u64 = 10;
/// A batch of the calling thread counts as a measurement if it takes this long, and grows until then.
const MEASURABLE_NS: u64 = 1_000;
/// How long the calling thread waits for the first helper where its own first item may be long: several times what
/// waking a thread takes.
const ARRIVAL_NS: u64 = 300_000;

/// Runs the items of a block.
pub(crate) trait RunBlock<A>: Sync {
    /// Runs the items of a block of indexes of the window; once for each index. Returns the number of items, which is
    /// less than the block's length if `items` has fewer.
    fn run(&self, block: Range<usize>, items: impl Iterator<Item = A>) -> ControlFlow<(), usize>;
}

/// Blocks that run until the map is interrupted, and that are observed if that is wanted.
struct WatchedBlock<'a, B> {
    block: &'a B,
    interrupt: Option<Interrupt<'a>>,
    observer: Option<BlockObserver<'a>>,
}

impl<A, B: RunBlock<A>> RunBlock<A> for WatchedBlock<'_, B> {
    #[inline]
    fn run(&self, block: Range<usize>, items: impl Iterator<Item = A>) -> ControlFlow<(), usize> {
        if self.interrupt.as_ref().is_some_and(Interrupt::is_raised) {
            return ControlFlow::Break(());
        }
        let span = self.observer.map(|observer| observer.start(block.len()));
        let _entered = span.as_ref().map(WorkSpan::enter);
        self.block.run(block, items)
    }
}

/// How the window of an iterator ended.
pub(crate) struct PulledWindow {
    /// The number of items that ran.
    pub(crate) len: usize,
    /// Whether there may be more items.
    pub(crate) has_more: bool,
}

/// Pulls up to `len` items and runs them, on several threads at once. When a block breaks no further item is pulled.
/// `started` is the begin of the whole map.
///
/// # Safety
///
/// Items may be sent to another thread.
///
/// # Panics
///
/// With the payload of the first `run` that panics, or of the iterator. If the caller's task is cancelled before all
/// items have started: the task ends, as cancelled.
pub(crate) unsafe fn run_pulled<A>(
    plan: RunPlan<'_>,
    started: Moment,
    len: usize,
    items: &mut impl Iterator<Item = A>,
    block: &impl RunBlock<A>,
) -> Result<PulledWindow, Abandoned> {
    let block = WatchedBlock { block, interrupt: Interrupt::of(plan.workers.core), observer: plan.observer() };
    // SAFETY: this function has the contract of `run_uninterrupted`.
    let done = unsafe { run_uninterrupted(plan, started, len, items, &block) };
    match &block.interrupt {
        Some(interrupt) => interrupt.end(done),
        None => done,
    }
}

/// As [`run_pulled`], for a `block` that breaks when the map is interrupted.
///
/// # Safety
///
/// As [`run_pulled`].
unsafe fn run_uninterrupted<A>(
    plan: RunPlan<'_>,
    started: Moment,
    len: usize,
    items: &mut impl Iterator<Item = A>,
    block: &impl RunBlock<A>,
) -> Result<PulledWindow, Abandoned> {
    let workers = plan.workers;
    let _seat = workers.does_cpu_work().then(mark_cpu_work);
    let history = CostHistory::for_function(plan.name);
    let mut alone = AloneRun { done: 0, batch: 1, rate: 0, last_rate: u64::MAX, len, has_more: true };
    // The first item may be long. A function of which nothing is known may have long items, too.
    let is_first_long = workers.helpers > 0
        && items.size_hint().1 != Some(1)
        && workers.core.load().has_free_core(workers.helpers)
        && (history.is_unknown() || history.long_item_ns().is_some());
    if workers.caller_works && !is_first_long {
        let (load, mut now) = (workers.core.load(), Moment::now());
        // As long as the map has run, it will most likely go on.
        let worth = |now: Moment| {
            let seen = now.since(started);
            workers.helpers > 0 && load.helpers(seen, workers.helpers, now).is_some()
        };
        while alone.rate < SHARED_ITEM_NS || !worth(now) {
            now = alone.run(now, items, block);
            if !alone.has_more || alone.done == len {
                let seen = now.since(started);
                if !alone.has_more && load.is_worth_sharing(seen, workers.helpers) {
                    load.ran_unshared(seen, now);
                }
                return Ok(PulledWindow { len: alone.done, has_more: alone.has_more });
            }
        }
    }
    // SAFETY: the caller promises it.
    let window = unsafe { SharedWindow::new(plan, len - alone.done, alone.rate, block) };
    let placement = Placement::here(workers.count());
    let share = || {
        let _computing = workers.mark_computing();
        // A helper on the caller's CPU moves: the caller will most likely go on for long.
        if placement.arrive(|| u64::MAX).is_some() {
            window.help();
        }
    };
    let mut is_abandoned = false;
    scoped::lend_beside(workers.core, &share, |helpers| {
        let mut caller = workers.caller_works.then(|| placement.arrive(|| u64::MAX)).flatten();
        let stop = StopOnUnwind(&window);
        if workers.caller_works {
            helpers.call();
            if let Some(caller) = &mut caller {
                caller.begin(alone.rate);
            }
            let mut now = Moment::now();
            let called = now;
            while is_first_long && window.no_helper_has_arrived() && now.since(called) < ARRIVAL_NS {
                thread::yield_now();
                now = Moment::now();
            }
            while window.no_helper_has_arrived() && alone.has_more && alone.done < len {
                now = alone.run(now, items, block);
                if let Some(caller) = &mut caller {
                    now = caller.yield_if_late(now);
                }
            }
        }
        if alone.has_more {
            let (first, room) = (alone.done, len - alone.done);
            // SAFETY: this thread alone pulls.
            alone.has_more = unsafe { window.pull(first, &mut items.take(room), workers, helpers) } == room;
        }
        std::mem::forget(stop);
        window.end(false);
        if workers.caller_works {
            window.work(false);
        } else {
            is_abandoned = !window.wait_until_taken(helpers);
            if is_abandoned {
                window.end(true);
            }
        }
    });
    if is_abandoned {
        return Err(Abandoned);
    }
    history.record(window.rate());
    let ran = alone.done + window.taken();
    Ok(PulledWindow { len: ran, has_more: alone.has_more && !window.has_stopped() })
}

/// The calling thread runs each item when it has pulled it.
struct AloneRun {
    /// The number of items that ran.
    done: usize,
    /// The number of items until the next reading of the clock.
    batch: usize,
    /// Nanoseconds an item, in the last two batches.
    rate: u64,
    last_rate: u64,
    len: usize,
    has_more: bool,
}

impl AloneRun {
    /// Runs one batch, and returns the time after it.
    fn run<A>(&mut self, before: Moment, items: &mut impl Iterator<Item = A>, block: &impl RunBlock<A>) -> Moment {
        let size = self.batch.min(self.len - self.done);
        let ran = match block.run(self.done..self.done + size, items) {
            ControlFlow::Continue(ran) => ran,
            ControlFlow::Break(()) => 0,
        };
        self.done += ran;
        self.has_more = ran == size;
        let now = Moment::now();
        let took = now.since(before);
        // A short batch of few items measures the clock. The least of two: the thread may lose its CPU during one.
        if took >= MEASURABLE_NS || ran == MAX_BATCH {
            let rate = took / ran.max(1) as u64;
            self.rate = rate.min(self.last_rate);
            self.last_rate = rate;
        }
        self.batch = if took < MEASURABLE_NS { (4 * self.batch).min(MAX_BATCH) } else { self.batch.div_ceil(2) };
        now
    }
}
