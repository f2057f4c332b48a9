//! Maps over an iterator that is not indexed: only the calling thread may pull it, as it need not be `Send`.
//!
//! At first the calling thread runs each item when it has pulled it, as a loop does. Once that has taken long enough to
//! be worth a helper, it calls one, and goes on. When a helper has arrived the calling thread reads ahead: it pulls
//! items into a buffer, from which helpers take them in order, and runs items itself only while the buffer is full
//! enough to keep the helpers busy. So it never waits for its producer while an item that it has pulled has no thread
//! to run on, and a producer may wait for the results of the items that it has given.

use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, needs_drop};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use super::cost_history::CostHistory;
use super::interrupt::Interrupt;
use super::placement::Placement;
use super::signal::Signal;
use super::stop::StopFlag;
use super::{BlockObserver, CHUNK_NS, Grain, MapWorkers, RunPlan};
use crate::pool::scoped::{self, Abandoned, Beside};
use crate::pool::work_span::WorkSpan;
use crate::pool::{Core, Kind, mark_cpu_work};
use crate::sys::clock::Moment;
use crate::sys::drop_all::DropSequence;

/// Items that take less, with the pulling, are run by the calling thread alone: passing an item to another thread costs
/// about as much.
const SHARED_ITEM_NS: u64 = 10;
/// A batch of the calling thread counts as a measurement if it takes this long, and grows until then.
const MEASURABLE_NS: u64 = 1_000;
/// The most items that the calling thread runs before it looks at the clock again: the next item may be slow.
const MAX_BATCH: usize = 32;
/// The work that is read ahead for each worker: some chunks.
const AHEAD_NS: u64 = 4 * CHUNK_NS;
/// How long the calling thread waits for the first helper where its own first item may be long: several times what
/// waking a thread takes.
const ARRIVAL_NS: u64 = 300_000;

/// The items of one window that were pulled for helpers and not taken yet. Dropping it drops them.
struct PulledItems<A> {
    items: Box<[UnsafeCell<MaybeUninit<A>>]>,
    /// The index in the window of the first item. Written by the calling thread before it adds an item.
    first: AtomicUsize,
    /// Items before this index were pulled. Written by the calling thread alone.
    pulled: OwnLine<AtomicUsize>,
    /// Items before this index were taken.
    taken: OwnLine<AtomicUsize>,
}

/// A value on a cache line of its own.
#[repr(align(128))]
struct OwnLine<T>(T);

impl<A> PulledItems<A> {
    fn new(len: usize) -> Self {
        let items = (0..len).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
        Self {
            items,
            first: AtomicUsize::new(0),
            pulled: OwnLine(AtomicUsize::new(0)),
            taken: OwnLine(AtomicUsize::new(0)),
        }
    }

    /// Adds an item. Called by the calling thread alone, and only while the buffer is not full.
    #[inline]
    fn push(&self, item: A) {
        let index = self.pulled.0.load(Ordering::Relaxed);
        // SAFETY: items at or above `pulled` are reached by the calling thread alone, by the contract of this function.
        unsafe { (*self.items[index].get()).write(item) };
        self.pulled.0.store(index + 1, Ordering::Release);
    }

    /// Items that no thread has taken.
    fn left(&self) -> usize {
        let taken = self.taken.0.load(Ordering::Relaxed);
        self.pulled.0.load(Ordering::Acquire).saturating_sub(taken)
    }

    /// Takes up to `most` items from the front.
    fn take(&self, most: usize) -> Option<(Range<usize>, TakenItems<'_, A>)> {
        let mut start = self.taken.0.load(Ordering::Relaxed);
        loop {
            let end = self.pulled.0.load(Ordering::Acquire).min(start.saturating_add(most));
            if start >= end {
                return None;
            }
            match self.taken.0.compare_exchange_weak(start, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let first = self.first.load(Ordering::Relaxed);
                    let items = TakenItems { from: &self.items, left: start..end };
                    return Some((first + start..first + end, items));
                }
                Err(other) => start = other,
            }
        }
    }
}

// SAFETY: the calling thread alone writes an item, before it counts it in `pulled` with a release; the thread that
// takes it alone reads it, after an acquire. That items may cross threads is the promise of `run_pulled`'s caller.
unsafe impl<A> Sync for PulledItems<A> {}

impl<A> Drop for PulledItems<A> {
    fn drop(&mut self) {
        let left = *self.taken.0.get_mut()..*self.pulled.0.get_mut();
        drop(TakenItems { from: &self.items, left });
    }
}

/// Some items, in order. Dropping it drops those that it has not given.
struct TakenItems<'a, A> {
    from: &'a [UnsafeCell<MaybeUninit<A>>],
    left: Range<usize>,
}

impl<A> Iterator for TakenItems<'_, A> {
    type Item = A;

    #[inline]
    fn next(&mut self) -> Option<A> {
        let index = self.left.next()?;
        // SAFETY: the item was pulled before it was taken, so it is initialised and visible, by the acquire load in
        // `take`; `taken` gives each index once, and `left` once to this call.
        Some(unsafe { (*self.from[index].get()).assume_init_read() })
    }
}

impl<A> Drop for TakenItems<'_, A> {
    fn drop(&mut self) {
        if needs_drop::<A>() {
            let mut drops = DropSequence::default();
            for item in self {
                drops.run(|| drop(item));
            }
            drops.finish();
        }
    }
}

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
    let stream = Stream {
        items: PulledItems::new(len - alone.done),
        block,
        max_chunk: match plan.grain {
            Grain::Size(size) => size,
            _ if matches!(workers.core.kind(), Kind::Io | Kind::Process) => 1,
            _ => usize::MAX,
        },
        rate: AtomicU64::new(alone.rate),
        arrived: AtomicUsize::new(0),
        inside: AtomicUsize::new(0),
        core: workers.core,
        has_ended: AtomicBool::new(false),
        stop: StopFlag::new(),
        more: Signal::new(),
        room: Signal::new(),
    };
    let placement = Placement::here(workers.count());
    let share = || {
        let _computing = workers.mark_computing();
        // A helper on the caller's CPU moves: the caller will most likely go on for long.
        if placement.arrive(|| u64::MAX).is_some() {
            stream.inside.fetch_add(1, Ordering::Relaxed);
            stream.arrived.fetch_add(1, Ordering::Relaxed);
            stream.work(true);
            stream.inside.fetch_sub(1, Ordering::Relaxed);
        }
    };
    let mut is_abandoned = false;
    scoped::lend_beside(workers.core, &share, |helpers| {
        let mut caller = workers.caller_works.then(|| placement.arrive(|| u64::MAX)).flatten();
        let stop = StopOnUnwind(&stream);
        if workers.caller_works {
            helpers.call();
            if let Some(caller) = &mut caller {
                caller.begin(alone.rate);
            }
            let mut now = Moment::now();
            let called = now;
            while is_first_long && stream.no_helper_has_arrived() && now.since(called) < ARRIVAL_NS {
                thread::yield_now();
                now = Moment::now();
            }
            while stream.no_helper_has_arrived() && alone.has_more && alone.done < len {
                now = alone.run(now, items, block);
                if let Some(caller) = &mut caller {
                    now = caller.yield_if_late(now);
                }
            }
        }
        stream.items.first.store(alone.done, Ordering::Relaxed);
        if alone.has_more {
            let room = len - alone.done;
            alone.has_more = stream.pull(&mut items.take(room), workers, helpers) == room;
        }
        std::mem::forget(stop);
        stream.end(false);
        if workers.caller_works {
            stream.work(false);
        } else {
            let done = || stream.items.left() == 0 || stream.stop.is_set() || helpers.is_abandoned();
            stream.room.wait(done, || stream.is_abandoned(helpers));
            is_abandoned = stream.items.left() > 0 && !stream.stop.is_set();
            if is_abandoned {
                stream.end(true);
            }
        }
    });
    if is_abandoned {
        return Err(Abandoned);
    }
    history.record(stream.rate.load(Ordering::Relaxed));
    let ran = alone.done + stream.items.taken.0.load(Ordering::Relaxed);
    Ok(PulledWindow { len: ran, has_more: alone.has_more && !stream.stop.is_set() })
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

/// A window while helpers run its items.
struct Stream<'a, A, B> {
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

impl<A, B: RunBlock<A>> Stream<'_, A, B> {
    /// Runs items until none is left, and as a helper until none will come.
    fn work(&self, is_helper: bool) {
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

    /// Pulls items until there are no more, or until the map stops. Returns their number.
    fn pull(&self, items: &mut impl Iterator<Item = A>, workers: MapWorkers<'_>, helpers: &Beside<'_>) -> usize {
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
                    self.items.push(item);
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

    fn no_helper_has_arrived(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) == 0
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
    fn end(&self, stop: bool) {
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
struct StopOnUnwind<'a, 'b, A, B: RunBlock<A>>(&'a Stream<'b, A, B>);

impl<A, B: RunBlock<A>> Drop for StopOnUnwind<'_, '_, A, B> {
    fn drop(&mut self) {
        self.0.end(true);
    }
}
