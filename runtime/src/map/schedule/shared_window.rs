//! [`SharedWindow`]: the items of a window that the calling thread pulls while helpers run them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::pulled_items::PulledItems;
use super::read_ahead::RunBlock;
use super::signal::Signal;
use super::stop::StopFlag;
use super::{CHUNK_NS, Grain, MapWorkers, RunPlan};
use crate::pool::scoped::Beside;
use crate::pool::{Core, Kind};
use crate::sys::clock::Moment;

/// The work that is read ahead for each worker: some chunks.
const AHEAD_NS: u64 = 4 * CHUNK_NS;
/// The most items that the calling thread runs before it looks at the clock again: the next item may be slow.
pub(super) const MAX_BATCH: usize = 32;

/// The part of a window that is pulled while helpers run its items.
pub(super) struct SharedWindow<'a, A, B> {
    items: PulledItems<A>,
    block: &'a B,
    max_chunk: usize,
    /// Nanoseconds an item, in the last chunk of any thread; 0 if unknown.
    rate: AtomicU64,
    /// Helpers that have arrived, and those of them that have not left.
    arrived: AtomicUsize,
    inside: AtomicUsize,
    core: &'a Core,
    /// Whether the calling thread pulls no more items.
    has_ended: AtomicBool,
    stop: StopFlag,
    /// Notified when an item was pulled.
    more: Signal,
    /// Notified when items were taken, for a caller that runs none itself.
    room: Signal,
}

impl<'a, A, B: RunBlock<A>> SharedWindow<'a, A, B> {
    /// Space for `len` items, which take `rate` nanoseconds each, as far as is known.
    ///
    /// # Safety
    ///
    /// Items may be sent to another thread.
    pub(super) unsafe fn new(plan: RunPlan<'a>, len: usize, rate: u64, block: &'a B) -> Self {
        let core = plan.workers.core;
        Self {
            // SAFETY: this function has the contract of `new`.
            items: unsafe { PulledItems::new(len) },
            block,
            max_chunk: match plan.grain {
                Grain::Size(size) => size,
                _ if matches!(core.kind(), Kind::Io | Kind::Process) => 1,
                _ => usize::MAX,
            },
            rate: AtomicU64::new(rate),
            arrived: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            core,
            has_ended: AtomicBool::new(false),
            stop: StopFlag::new(),
            more: Signal::new(),
            room: Signal::new(),
        }
    }

    /// Runs items on a thread that helps.
    pub(super) fn help(&self) {
        self.inside.fetch_add(1, Ordering::Relaxed);
        self.arrived.fetch_add(1, Ordering::Relaxed);
        self.work(true);
        self.inside.fetch_sub(1, Ordering::Relaxed);
    }

    /// Nanoseconds an item; 0 if unknown.
    pub(super) fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// The number of items that were started.
    pub(super) fn taken(&self) -> usize {
        self.items.taken()
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Runs items until none is left, and as a helper until none will come.
    pub(super) fn work(&self, is_helper: bool) {
        let stop = StopOnUnwind(self);
        while !self.stop.is_set() {
            // Read before the items: after the end no item comes.
            let has_ended = self.has_ended.load(Ordering::Acquire);
            if self.run_chunk() {
                continue;
            }
            if has_ended || !is_helper {
                break;
            }
            let must_go_on = || self.items.left() > 0 || self.has_ended.load(Ordering::Acquire) || self.stop.is_set();
            self.more.wait(must_go_on, || self.core.is_closed());
            if !must_go_on() {
                // The thread that closes the pool may be the one that pulls: it waits for this one.
                break;
            }
        }
        std::mem::forget(stop);
    }

    /// Runs the next items; `false` if there are none.
    fn run_chunk(&self) -> bool {
        let rate = self.rate.load(Ordering::Relaxed);
        let left = self.items.left();
        let fitting = usize::try_from(CHUNK_NS.checked_div(rate).unwrap_or(1)).unwrap_or(usize::MAX);
        // At most a half: the rest is for others.
        let Some((chunk, items)) = self.items.take(fitting.min(left / 2).clamp(1, self.max_chunk)) else {
            return false;
        };
        if left > chunk.len() {
            self.more.notify();
        }
        self.room.notify();
        let (count, before) = (chunk.len() as u64, Moment::now());
        if self.block.run(chunk, items).is_break() {
            self.end(true);
        }
        self.rate.store((Moment::now().since(before) / count).max(1), Ordering::Relaxed);
        true
    }

    /// Pulls items until there are no more, or until the map stops. Returns their number. `first` is the index of the
    /// first one.
    ///
    /// # Safety
    ///
    /// One thread alone calls this.
    pub(super) unsafe fn pull(
        &self,
        first: usize,
        items: &mut impl Iterator<Item = A>,
        workers: MapWorkers<'_>,
        helpers: &Beside<'_>,
    ) -> usize {
        self.items.begin_at(first);
        // The most items left that keep the workers busy.
        let most_left = || {
            let fitting = AHEAD_NS.checked_div(self.rate.load(Ordering::Relaxed)).unwrap_or(1);
            workers.count().saturating_mul(usize::try_from(fitting).unwrap_or(usize::MAX).max(2))
        };
        let mut pulled = 0;
        loop {
            let (left, most) = (self.items.left(), most_left());
            if self.stop.is_set() {
                return pulled;
            } else if left < most {
                // The counts of other threads are read from time to time only.
                for _ in 0..(most - left).min(MAX_BATCH) {
                    let Some(item) = items.next() else { return pulled };
                    // SAFETY: one thread alone is here, by the contract of this function.
                    unsafe { self.items.push(item) };
                    pulled += 1;
                    if !self.more.notify() && helpers.called() < workers.helpers {
                        self.call_helper(helpers);
                    }
                }
            } else if workers.caller_works {
                self.run_chunk();
            } else if self.is_abandoned(helpers) {
                return pulled;
            } else {
                let has_room = || self.items.left() < most_left() || self.stop.is_set() || helpers.is_abandoned();
                self.room.wait(has_room, || self.is_abandoned(helpers));
            }
        }
    }

    pub(super) fn no_helper_has_arrived(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) == 0
    }

    /// Waits until helpers have taken all items; `false` if none will take the rest.
    pub(super) fn wait_until_taken(&self, helpers: &Beside<'_>) -> bool {
        let done = || self.items.left() == 0 || self.stop.is_set() || helpers.is_abandoned();
        self.room.wait(done, || self.is_abandoned(helpers));
        self.items.left() == 0 || self.stop.is_set()
    }

    /// Whether no helper will run the items left, because the pool is closed.
    fn is_abandoned(&self, helpers: &Beside<'_>) -> bool {
        helpers.is_abandoned() || (self.inside.load(Ordering::Relaxed) == 0 && self.core.is_closed())
    }

    /// Calls one more helper, unless those on their way are enough for the items left: one for each chunk.
    fn call_helper(&self, helpers: &Beside<'_>) {
        let (rate, left) = (self.rate.load(Ordering::Relaxed), self.items.left() as u64);
        let chunks = if rate == 0 { left } else { left.min(left.saturating_mul(rate) / CHUNK_NS) };
        let on_their_way = helpers.called() - self.arrived.load(Ordering::Relaxed);
        if chunks > on_their_way as u64 {
            helpers.call();
        }
    }

    /// No more items will be pulled; with `stop` none will be run.
    pub(super) fn end(&self, stop: bool) {
        if stop {
            self.stop.set();
        }
        self.has_ended.store(true, Ordering::Release);
        self.more.notify_all();
        self.room.notify_all();
    }
}

/// Ends the map if a thread unwinds out of it. `thread::panicking()` would not tell: it also holds for a map that a
/// destructor or a panic hook runs during another panic.
pub(super) struct StopOnUnwind<'a, 'b, A, B: RunBlock<A>>(pub(super) &'a SharedWindow<'b, A, B>);

impl<A, B: RunBlock<A>> Drop for StopOnUnwind<'_, '_, A, B> {
    fn drop(&mut self) {
        self.0.end(true);
    }
}
