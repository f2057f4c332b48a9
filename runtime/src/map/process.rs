//! Maps whose items run in worker processes: sent in blocks, as one request for each item would cost more than most
//! items do.
//!
//! Blocks start in index order, from one counter. A worker's first block is a single item. Later ones grow to
//! [`BLOCK_TARGET`] by the measured time, limited to a share of the items left, so that all workers end together; but
//! not below [`LAST_BLOCK_TARGET`], where the round trip would be most of a request.

use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::collect_run::panic_pool_closed;
use super::first_error::FirstRefused;
use super::indexed::Indexed;
use super::output::MapOutput;
use super::progress::Bar;
use super::schedule::{Grain, Interrupt, StopFlag};
use super::source::{Source, WindowVisitor};
use super::value_list::ValueList;
use crate::error::TaskError;
use crate::pool::Core;
use crate::pool::runtime_warning::warn_if_map_blocks;
use crate::pool::scoped::{self, Abandoned};
use crate::pool::work_span::{Work, WorkKind, observed};
use crate::sys::drop_all::DropEach;
use crate::sys::unwind;
use crate::task::send_proof::AssertSend;

/// The target of a block: much longer than the round trip of a request.
const BLOCK_TARGET: Duration = Duration::from_micros(500);
/// The least target of the last blocks.
const LAST_BLOCK_TARGET: Duration = Duration::from_micros(100);
/// How many times longer than the one before a block may be.
const MAX_GROWTH: usize = 32;
/// The largest window: a range may be longer than memory, and end at its first item.
const LARGEST_WINDOW: usize = 1 << 20;

/// A function that runs on several items at once in another process.
pub trait ProcessBatches<A, R>: Sync {
    /// The function's name.
    fn name(&self) -> &'static str;
    /// The number of items in a block, if it does not depend on the time that they take.
    fn fixed_block(&self, _items: usize, _workers: usize) -> Option<usize> {
        None
    }
    /// Takes items until there are none, or until `give` breaks; gives each result in order. `start` is the index of
    /// the first item in the map, where that is known, for messages.
    fn run(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(R) -> ControlFlow<()>,
    );
    /// As [`run`](Self::run), with the error of each call that failed.
    fn outcomes(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(Result<R, TaskError>) -> ControlFlow<()>,
    );
}

/// A map in worker processes, without its items.
pub(super) struct ProcessRun<'a, A, R, K> {
    pub(super) core: &'a Arc<Core>,
    pub(super) function: &'a dyn ProcessBatches<A, R>,
    pub(super) grain: Grain,
    pub(super) bar: Option<&'a Bar<'a>>,
    pub(super) accept: K,
}

impl<A, R, K> ProcessRun<'_, A, R, K> {
    /// As [`CollectRun::collect`](super::CollectRun::collect).
    #[track_caller]
    pub(super) fn collect<T, E>(&self, source: impl Source<Item = A>) -> Result<Vec<T>, E>
    where
        K: Fn(R) -> Result<T, E> + Sync,
    {
        warn_if_map_blocks(self.function.name());
        let mut visitor = ProcessVisitor::new(self);
        source.visit(&mut visitor);
        visitor.finish()
    }

    /// As [`collect`](Self::collect), for the items of one window, but [`Abandoned`] if the pool is closed.
    pub(super) fn collect_window<T, E>(&self, items: impl Indexed<Item = A>) -> Result<Result<Vec<T>, E>, Abandoned>
    where
        K: Fn(R) -> Result<T, E> + Sync,
    {
        let mut visitor = ProcessVisitor::new(self);
        let _ = visitor.window(items);
        if visitor.is_abandoned { Err(Abandoned) } else { Ok(visitor.values.map(DropEach::into_vec)) }
    }
}

/// The results of the windows so far.
struct ProcessVisitor<'r, 'a, A, R, K, T, E> {
    run: &'r ProcessRun<'a, A, R, K>,
    values: Result<DropEach<T>, E>,
    /// Whether the pool was closed before all items had run.
    is_abandoned: bool,
}

impl<'r, 'a, A, R, K, T, E> ProcessVisitor<'r, 'a, A, R, K, T, E> {
    fn new(run: &'r ProcessRun<'a, A, R, K>) -> Self {
        Self { run, values: Ok(DropEach(Vec::new())), is_abandoned: false }
    }

    /// The results.
    ///
    /// # Panics
    ///
    /// If the pool was closed.
    #[track_caller]
    fn finish(self) -> Result<Vec<T>, E> {
        if self.is_abandoned {
            panic_pool_closed(self.run.function.name(), self.run.core);
        }
        self.values.map(DropEach::into_vec)
    }
}

impl<A, R, K, T, E> WindowVisitor<A> for ProcessVisitor<'_, '_, A, R, K, T, E>
where
    K: Fn(R) -> Result<T, E> + Sync,
{
    fn max_window(&self) -> usize {
        LARGEST_WINDOW
    }

    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()> {
        let ProcessRun { core, function, grain, bar, ref accept } = *self.run;
        let len = items.len();
        let grain = match (grain, function.fixed_block(len, core.threads())) {
            (Grain::Adaptive, Some(size)) => Grain::Size(size),
            (grain, _) => grain,
        };
        // The items of earlier windows.
        let earlier = self.values.as_ref().map_or(0, |values| values.0.len());
        let started = AtomicUsize::new(0);
        let blocks = BlockCounter { len, workers: core.threads(), grain, started: &started, stop: StopFlag::new() };
        let unstarted = DiscardUnstarted { items: &items, started: &started };
        let output = MapOutput::<DropEach<T>>::new(len);
        let stop = FirstRefused::new();
        let interrupt = Interrupt::of(core);
        let is_interrupted = || interrupt.as_ref().is_some_and(Interrupt::is_raised);
        // SAFETY: the function's own proof says that arguments and results may cross threads. Shared through `get`,
        // each block takes the items of its own indexes, writes the elements of its own indexes, and reaches `stop`
        // under its lock.
        let shared = unsafe { AssertSend::new((&items, &output, &stop, function)) };
        let work = || {
            let (items, output, stop, function) = *shared.get();
            let stop_on_unwind = blocks.stop.set_on_unwind();
            let mut sizes = BlockSizes { most: 1, least: 1 };
            while !is_interrupted()
                && let Some(block) = blocks.take(&sizes)
            {
                let begun = Instant::now();
                let count = block.len();
                // SAFETY: the counter gives each index below `len` to one block, and only indexes at or above it are
                // discarded.
                let mut input = unsafe { items.take(block.clone()) };
                // SAFETY: the counter gives each index to one block.
                let mut output = unsafe { output.block(block.clone()) };
                let mut index = block.start;
                let mut refused = false;
                let mut give = |result| {
                    if is_interrupted() {
                        refused = true;
                        return ControlFlow::Break(());
                    }
                    match accept(result) {
                        Ok(result) => output.push(result),
                        Err(reason) => {
                            stop.refuse(index, reason);
                            refused = true;
                            return ControlFlow::Break(());
                        }
                    }
                    index += 1;
                    ControlFlow::Continue(())
                };
                // The calls of workers that an interrupt kills fail, which is no panic of the map.
                let run = AssertUnwindSafe(|| {
                    let work = Work { kind: WorkKind::Block, function: function.name(), core, items: count };
                    observed(work, None, || function.run(Some(earlier + block.start), &mut || input.next(), &mut give));
                });
                match catch_unwind(run) {
                    Ok(()) => {}
                    Err(payload) if is_interrupted() => {
                        unwind::discard(payload);
                        refused = true;
                    }
                    Err(payload) => resume_unwind(payload),
                }
                if refused {
                    blocks.stop.set();
                    break;
                }
                output.finish();
                if let Some(bar) = bar {
                    bar.advance(count);
                }
                sizes = BlockSizes::after(count, begun.elapsed());
            }
            stop_on_unwind.disarm();
        };
        if len > 0 {
            let helpers = core.threads().min(blocks.count());
            let done = scoped::lend(core, helpers, false, &work);
            drop(unstarted);
            self.is_abandoned = match &interrupt {
                Some(interrupt) => interrupt.end(done).is_err(),
                None => done.is_err(),
            };
        }
        if self.is_abandoned {
            return ControlFlow::Break(());
        }
        if let Some(reason) = stop.into_reason() {
            self.values = Err(reason);
            return ControlFlow::Break(());
        }
        // SAFETY: `lend` returned without a panic and no result was refused, so blocks that cover `0..len` finished.
        let results = unsafe { output.into_list() };
        match &mut self.values {
            // Most maps have one window: its results are not copied.
            Ok(values) if values.0.is_empty() => *values = results,
            Ok(values) => values.append(results),
            Err(_) => {}
        }
        ControlFlow::Continue(())
    }
}

/// The limits, in items, of a worker's next block.
struct BlockSizes {
    /// Takes about [`BLOCK_TARGET`].
    most: usize,
    /// Takes about [`LAST_BLOCK_TARGET`].
    least: usize,
}

impl BlockSizes {
    /// The limits after a block of `count` items that took `took`.
    fn after(count: usize, took: Duration) -> Self {
        let items_in = |time: Duration| {
            let fitting = time.as_nanos() * count as u128 / took.as_nanos().max(1);
            usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, count.saturating_mul(MAX_GROWTH))
        };
        Self { most: items_in(BLOCK_TARGET), least: items_in(LAST_BLOCK_TARGET) }
    }
}

/// Discards the items of a window that no block took, on every path out of it.
struct DiscardUnstarted<'a, S: Indexed> {
    items: &'a S,
    started: &'a AtomicUsize,
}

impl<S: Indexed> Drop for DiscardUnstarted<'_, S> {
    fn drop(&mut self) {
        let started = self.started.load(Ordering::Relaxed).min(self.items.len());
        // SAFETY: `lend` has returned or unwound, so no worker takes items any more; blocks took only indexes below
        // `started`.
        unsafe { self.items.discard(started..self.items.len()) };
    }
}

/// The counter from which workers take blocks.
struct BlockCounter<'a> {
    len: usize,
    workers: usize,
    grain: Grain,
    /// The end of the last block that a worker took.
    started: &'a AtomicUsize,
    stop: StopFlag,
}

impl BlockCounter<'_> {
    fn take(&self, sizes: &BlockSizes) -> Option<Range<usize>> {
        let mut start = self.started.load(Ordering::Relaxed);
        loop {
            if start >= self.len || self.stop.is_set() {
                return None;
            }
            let rest = self.len - start;
            let size = match self.grain {
                Grain::Adaptive => sizes.most.min(sizes.least.max(rest / (2 * self.workers))).min(rest),
                Grain::Size(size) => size.clamp(1, rest),
                Grain::Blocks(blocks) => {
                    let blocks = blocks.clamp(1, self.len);
                    let (each, more) = (self.len / blocks, self.len % blocks);
                    if start < more * (each + 1) { each + 1 } else { each }
                }
            };
            match self.started.compare_exchange_weak(start, start + size, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(start..start + size),
                Err(other) => start = other,
            }
        }
    }

    /// An upper bound of the number of blocks.
    fn count(&self) -> usize {
        match self.grain {
            Grain::Adaptive => self.len,
            Grain::Size(size) => self.len.div_ceil(size.max(1)),
            Grain::Blocks(blocks) => blocks.max(1),
        }
    }
}
