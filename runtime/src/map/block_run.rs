//! Maps whose blocks of items have state of their own: a list of results, where items give any number of them, or a
//! user's state that is made once for each worker.

use std::mem::take;
use std::ops::{ControlFlow, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::collect_run::{STOPPING_WINDOW, panic_pool_closed};
use super::first_error::FirstRefused;
use super::indexed::{Indexed, OwnedItems};
use super::progress::Bar;
use super::schedule::{Grain, MapWorkers, RunBlock, RunPlan, run_blocks, run_pulled};
use super::source::{Source, WindowVisitor};
use crate::pool::runtime_warning::warn_if_map_blocks;
use crate::sys::clock::Moment;
use crate::sys::drop_all::DropEach;
use crate::sys::{mutex, reserve};
use crate::task::send_proof::{AssertSend, CallProof};

/// What is done with the items of a block. Several threads use it at once.
pub(super) trait BlockWork<A> {
    /// The state of a block.
    type State;
    /// Why an item is refused.
    type Stop;
    /// The state for a block of so many items.
    fn begin(&self, items: usize) -> Self::State;
    /// Runs one item.
    fn run(&self, state: &mut Self::State, item: A) -> Result<(), Self::Stop>;
    /// Takes the state of a block that has run these items, of which none was refused.
    fn end(&self, items: Range<usize>, state: Self::State);
}

/// A map on threads, without its items.
pub(super) struct BlockRun<'a> {
    pub(super) workers: MapWorkers<'a>,
    /// The function's name, the key of its cost history.
    pub(super) name: &'static str,
    pub(super) grain: Grain,
    pub(super) bar: Option<&'a Bar<'a>>,
    /// Whether the work may refuse an item, so that most items may never run.
    pub(super) can_stop: bool,
}

impl BlockRun<'_> {
    /// Runs `work` on every item. `Err` is the reason of the first block in input order of which an item was refused.
    ///
    /// # Safety
    ///
    /// By `proof` items and results may cross threads. What `work` holds and the reasons of refused items may, too, or
    /// are made of results alone; and `work` may be shared by threads that call its methods.
    ///
    /// # Panics
    ///
    /// With the payload of `work`; and if the pool is closed.
    #[track_caller]
    pub(super) unsafe fn run<A, R, W: BlockWork<A>>(
        &self,
        source: impl Source<Item = A>,
        _proof: CallProof<A, R>,
        work: &W,
    ) -> Result<(), W::Stop> {
        warn_if_map_blocks(self.name);
        let mut visitor = BlockVisitor { run: self, work, items: 0, stop: None, is_abandoned: false, started: None };
        source.visit(&mut visitor);
        if visitor.is_abandoned {
            panic_pool_closed(self.name, self.workers.core);
        }
        visitor.stop.map_or(Ok(()), Err)
    }
}

/// Runs one window after the other.
struct BlockVisitor<'r, W, E> {
    run: &'r BlockRun<'r>,
    work: &'r W,
    /// The number of items in earlier windows.
    items: usize,
    stop: Option<E>,
    /// Whether the pool was closed before all items had run.
    is_abandoned: bool,
    /// When the first window of an iterator began.
    started: Option<Moment>,
}

impl<A, W: BlockWork<A>> WindowVisitor<A> for BlockVisitor<'_, W, W::Stop> {
    fn max_window(&self) -> usize {
        if self.run.can_stop { STOPPING_WINDOW } else { usize::MAX }
    }

    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()> {
        let BlockRun { workers, name, grain, bar, can_stop } = *self.run;
        let (len, first) = (items.len(), self.items);
        let stop = FirstRefused::new();
        // SAFETY: by the contract of `BlockRun::run` items, `work` and reasons may cross threads. Shared through `get`,
        // each block takes the items of its own indexes, and reaches `stop` under its lock.
        let shared = unsafe { AssertSend::new((&items, self.work, &stop)) };
        let body = |indexes: Range<usize>| {
            let (items, work, stop) = *shared.get();
            // SAFETY: `run_blocks` passes each index below `len` once, to `body` or to `discard`.
            let input = unsafe { items.take(indexes.clone()) };
            run_block(work, stop, bar, first, indexes, input).map_continue(|_| ())
        };
        let discard = |indexes: Range<usize>| {
            let (items, ..) = *shared.get();
            // SAFETY: `run_blocks` passes each index once, to `body` or here, so these were not taken.
            unsafe { items.discard(indexes) };
        };
        let done = run_blocks(RunPlan { workers, grain, can_stop, name }, len, &body, &discard);
        self.items += len;
        self.is_abandoned = done.is_err();
        self.stop = stop.into_reason();
        if self.is_abandoned || self.stop.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn pull(&mut self, items: &mut impl Iterator<Item = A>, len: usize) -> ControlFlow<()> {
        let BlockRun { workers, name, grain, bar, can_stop } = *self.run;
        if matches!(grain, Grain::Blocks(_)) {
            let window: Vec<_> = items.take(len).collect();
            let is_last = window.len() < len;
            self.window(OwnedItems::new(window))?;
            return if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        }
        let stop = FirstRefused::new();
        // SAFETY: as in `window`.
        let shared = unsafe { AssertSend::new((self.work, &stop)) };
        let block = PulledBlock { shared, bar, first: self.items };
        let started = *self.started.get_or_insert_with(Moment::now);
        // SAFETY: by the contract of `BlockRun::run` items may cross threads.
        let window = unsafe { run_pulled(RunPlan { workers, grain, can_stop, name }, started, len, items, &block) };
        self.is_abandoned = window.is_err();
        self.stop = stop.into_reason();
        match window {
            Ok(window) if self.stop.is_none() && window.has_more => {
                self.items += window.len;
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(()),
        }
    }
}

/// Runs the items of a block that were pulled from an iterator.
struct PulledBlock<'a, W, E> {
    shared: AssertSend<(&'a W, &'a FirstRefused<E>)>,
    bar: Option<&'a Bar<'a>>,
    first: usize,
}

impl<A, W: BlockWork<A>> RunBlock<A> for PulledBlock<'_, W, W::Stop> {
    #[inline]
    fn run(&self, block: Range<usize>, items: impl Iterator<Item = A>) -> ControlFlow<(), usize> {
        let (work, stop) = *self.shared.get();
        run_block(work, stop, self.bar, self.first, block, items)
    }
}

/// Runs a block of a window whose items begin at `first`. Breaks if an item is refused.
#[inline]
fn run_block<A, W: BlockWork<A>>(
    work: &W,
    stop: &FirstRefused<W::Stop>,
    bar: Option<&Bar<'_>>,
    first: usize,
    block: Range<usize>,
    items: impl Iterator<Item = A>,
) -> ControlFlow<(), usize> {
    let start = first + block.start;
    let mut state = work.begin(block.len());
    let mut count = 0;
    for (_, item) in block.zip(items) {
        if let Err(reason) = work.run(&mut state, item) {
            stop.refuse(start, reason);
            return ControlFlow::Break(());
        }
        count += 1;
    }
    work.end(start..start + count, state);
    if let Some(bar) = bar {
        bar.advance(count);
    }
    ControlFlow::Continue(count)
}

/// Results of blocks of items that give any number of them.
pub(super) struct BlockLists<T>(Mutex<BlockListsState<T>>);

struct BlockListsState<T> {
    lists: Vec<(usize, DropEach<T>)>,
    /// The number of items in all blocks that ended, and that of their results.
    items: usize,
    results: usize,
}

impl<T> BlockLists<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(BlockListsState { lists: Vec::new(), items: 0, results: 0 }))
    }

    /// A list for the results of a block of so many items, with room for as many as earlier items gave, and an eighth
    /// more. Without it a list grows, and its results are copied to more memory each time.
    pub(super) fn list(&self, items: usize) -> DropEach<T> {
        let (before, results) = {
            let state = self.lock();
            (state.items, state.results)
        };
        let expected = (results as u128 * items as u128) / before.max(1) as u128;
        let expected = usize::try_from(expected + expected / 8).unwrap_or(0);
        let mut list = Vec::new();
        let _ = list.try_reserve_exact(expected);
        DropEach(list)
    }

    /// Adds the results of a block.
    pub(super) fn add(&self, items: Range<usize>, results: DropEach<T>) {
        let mut state = reserve::lock_with_capacity(|| self.lock(), |state| &mut state.lists, 1);
        state.items += items.len();
        state.results += results.0.len();
        if !results.0.is_empty() {
            state.lists.push((items.start, results));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BlockListsState<T>> {
        mutex::lock(&self.0)
    }

    /// All results, in input order.
    pub(super) fn into_results(mut self) -> Vec<T> {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut lists = take(&mut state.lists);
        lists.sort_unstable_by_key(|(start, _)| *start);
        let len = lists.iter().map(|(_, results)| results.0.len()).sum::<usize>();
        let mut lists = lists.into_iter().map(|(_, results)| results.into_vec());
        let mut results = lists.next().unwrap_or_default();
        results.reserve_exact(len - results.len());
        lists.for_each(|mut list| results.append(&mut list));
        results
    }
}

impl<T> Drop for BlockLists<T> {
    fn drop(&mut self) {
        // All of them even if destructors panic.
        drop(DropEach(take(&mut self.0.get_mut().unwrap_or_else(PoisonError::into_inner).lists)));
    }
}
