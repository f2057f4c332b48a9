//! [`CollectRun`]: runs a map on threads and collects its results.

use std::ops::{ControlFlow, Range};

use super::first_error::FirstRefused;
use super::indexed::{Indexed, OwnedItems};
use super::output::MapOutput;
use super::progress::Bar;
use super::schedule::{Grain, MapWorkers, RunBlock, RunPlan, run_blocks, run_pulled};
use super::source::{Source, WindowVisitor};
use super::value_list::ValueList;
use crate::pool::Core;
use crate::pool::runtime_warning::warn_if_map_blocks;
#[cfg(feature = "polars")]
use crate::pool::scoped::Abandoned;
use crate::sys::clock::Moment;
use crate::sys::drop_all::DropEach;
use crate::task::send_proof::{AssertSend, CallProof};

/// A map on threads, without its items. Workers write each result straight to its element of the output.
pub(crate) struct CollectRun<'a, F, K> {
    pub(crate) workers: MapWorkers<'a>,
    /// The function's name, the key of its cost history.
    pub(crate) name: &'static str,
    pub(crate) grain: Grain,
    pub(crate) bar: Option<&'a Bar<'a>>,
    pub(crate) call: F,
    pub(crate) accept: K,
    /// Whether `accept` may refuse a result, so that most items may never run.
    pub(crate) can_stop: bool,
}

/// The largest window where a result may be refused: a range may be longer than memory, and end at its first item.
pub(super) const STOPPING_WINDOW: usize = 1 << 20;

/// The results of the windows so far.
pub(super) struct CollectVisitor<'r, 'a, F, K, L, E> {
    run: &'r CollectRun<'a, F, K>,
    values: Result<L, E>,
    /// Whether the pool was closed before all items had run.
    is_abandoned: bool,
    /// When the first window of an iterator began.
    started: Option<Moment>,
}

impl<'r, 'a, F, K, L: ValueList, E> CollectVisitor<'r, 'a, F, K, L, E> {
    pub(super) fn new(run: &'r CollectRun<'a, F, K>) -> Self {
        Self { run, values: Ok(L::with_capacity(0)), is_abandoned: false, started: None }
    }

    /// Adds the results of a window.
    fn append(&mut self, results: L) {
        if let Ok(values) = &mut self.values {
            if values.is_empty() {
                *values = results;
            } else {
                values.append(results);
            }
        }
    }

    /// The results.
    ///
    /// # Panics
    ///
    /// If the pool was closed.
    #[track_caller]
    pub(super) fn finish(self) -> Result<L, E> {
        if self.is_abandoned {
            panic_pool_closed(self.run.name, self.run.workers.core);
        }
        self.values
    }
}

/// Panics with the names of a function and of its pool.
#[cold]
#[track_caller]
pub(crate) fn panic_pool_closed(name: &str, core: &Core) -> ! {
    panic!(
        "`{name}` cannot run on all items: its pool was closed: call it before the {core:?} is shut down, or on \
         another pool"
    )
}

impl<F, K> CollectRun<'_, F, K> {
    /// Runs `call` on every item and `accept` on every result. `Err` is the reason of the first item in input order
    /// whose result was refused; at most one block a worker behind that item has run then.
    ///
    /// # Panics
    ///
    /// With the payload of `call` or `accept`; and if the pool is closed.
    #[track_caller]
    pub(crate) fn collect<A, R, T, E>(&self, source: impl Source<Item = A>, proof: CallProof<A, R>) -> Result<Vec<T>, E>
    where
        F: Fn(A) -> R + Sync,
        K: Fn(R) -> Result<T, E> + Sync,
    {
        self.collect_list::<_, _, DropEach<T>, _>(source, proof).map(DropEach::into_vec)
    }

    /// As [`collect`](Self::collect), into any list.
    ///
    /// # Panics
    ///
    /// As `collect`.
    #[track_caller]
    pub(super) fn collect_list<A, R, L: ValueList, E>(
        &self,
        source: impl Source<Item = A>,
        _: CallProof<A, R>,
    ) -> Result<L, E>
    where
        F: Fn(A) -> R + Sync,
        K: Fn(R) -> Result<L::Value, E> + Sync,
    {
        warn_if_map_blocks(self.name);
        let mut visitor = CollectVisitor::new(self);
        source.visit(&mut visitor);
        visitor.finish()
    }

    /// As [`collect`](Self::collect), but [`Abandoned`] if the pool is closed.
    #[cfg(feature = "polars")]
    pub(crate) fn try_collect<A, R, T, E>(
        &self,
        source: impl Source<Item = A>,
        _: CallProof<A, R>,
    ) -> Result<Result<Vec<T>, E>, Abandoned>
    where
        F: Fn(A) -> R + Sync,
        K: Fn(R) -> Result<T, E> + Sync,
    {
        let mut visitor = CollectVisitor::<_, _, DropEach<T>, _>::new(self);
        source.visit(&mut visitor);
        if visitor.is_abandoned { Err(Abandoned) } else { Ok(visitor.values.map(DropEach::into_vec)) }
    }
}

impl<A, R, F, K, L, E> WindowVisitor<A> for CollectVisitor<'_, '_, F, K, L, E>
where
    F: Fn(A) -> R + Sync,
    K: Fn(R) -> Result<L::Value, E> + Sync,
    L: ValueList,
{
    fn max_window(&self) -> usize {
        if self.run.can_stop { STOPPING_WINDOW } else { usize::MAX }
    }

    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()> {
        let CollectRun { workers, name, grain, bar, ref call, ref accept, can_stop } = *self.run;
        let len = items.len();
        let output = MapOutput::<L>::new(len);
        let stop = FirstRefused::new();
        // SAFETY: the caller of `collect` gave a `CallProof` that items and results may cross threads. Shared through
        // `get`, each block takes the items of its own indexes, writes the elements of its own indexes, and reaches
        // `stop` under its lock.
        let shared = unsafe { AssertSend::new((&items, &output, &stop)) };
        let body = |indexes: Range<usize>| {
            let (items, output, stop) = *shared.get();
            let (start, count) = (indexes.start, indexes.len());
            // SAFETY: `run_blocks` passes each index below `len` once, to `body` or to `discard`.
            let input = unsafe { items.take(indexes.clone()) };
            // SAFETY: the block's indexes are below `len` and belong to no other block: `run_blocks` passes each once.
            if let Err(refused) = unsafe { output.fill(indexes, input, |item| accept(call(item))) } {
                let index = start + refused.index;
                stop.refuse(index, refused.reason);
                return ControlFlow::Break(());
            }
            if let Some(bar) = bar {
                bar.advance(count);
            }
            ControlFlow::Continue(())
        };
        let discard = |indexes: Range<usize>| {
            let (items, ..) = *shared.get();
            // SAFETY: `run_blocks` passes each index once, to `body` or here, so these were not taken.
            unsafe { items.discard(indexes) };
        };
        let done = run_blocks(RunPlan { workers, grain, can_stop, name }, len, &body, &discard);
        if done.is_err() {
            self.is_abandoned = true;
            return ControlFlow::Break(());
        }
        if let Some(reason) = stop.into_reason() {
            self.values = Err(reason);
            return ControlFlow::Break(());
        }
        // SAFETY: `run_blocks` returned without a panic and no block stopped, so blocks that cover `0..len` ended, and
        // each has written its elements.
        self.append(unsafe { output.into_list() });
        ControlFlow::Continue(())
    }

    fn pull(&mut self, items: &mut impl Iterator<Item = A>, len: usize) -> ControlFlow<()> {
        let CollectRun { workers, name, grain, bar, ref call, ref accept, can_stop } = *self.run;
        if matches!(grain, Grain::Blocks(_)) {
            let window: Vec<_> = items.take(len).collect();
            let is_last = window.len() < len;
            self.window(OwnedItems::new(window))?;
            return if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        }
        let len = items.size_hint().1.map_or(len, |most| len.min(most.saturating_add(1)));
        let output = MapOutput::<L>::new(len);
        let stop = FirstRefused::new();
        // SAFETY: as in `window`.
        let block = CollectBlock { shared: unsafe { AssertSend::new((&output, &stop)) }, call, accept, bar };
        let plan = RunPlan { workers, grain, can_stop, name };
        let started = *self.started.get_or_insert_with(Moment::now);
        // SAFETY: the caller of `collect` gave a `CallProof` that items may cross threads.
        let Ok(window) = (unsafe { run_pulled(plan, started, len, items, &block) }) else {
            self.is_abandoned = true;
            return ControlFlow::Break(());
        };
        if let Some(reason) = stop.into_reason() {
            self.values = Err(reason);
            return ControlFlow::Break(());
        }
        // SAFETY: `run_pulled` returned without a panic and no block stopped, so the blocks that ran have written the
        // elements below `window.len`.
        self.append(unsafe { output.into_list_of(window.len) });
        if window.has_more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Runs the items of a block that were pulled from an iterator, and writes their results.
struct CollectBlock<'a, F, K, L: ValueList, E> {
    shared: AssertSend<(&'a MapOutput<L>, &'a FirstRefused<E>)>,
    call: &'a F,
    accept: &'a K,
    bar: Option<&'a Bar<'a>>,
}

impl<A, R, F, K, L, E> RunBlock<A> for CollectBlock<'_, F, K, L, E>
where
    F: Fn(A) -> R + Sync,
    K: Fn(R) -> Result<L::Value, E> + Sync,
    L: ValueList,
{
    #[inline]
    fn run(&self, block: Range<usize>, items: impl Iterator<Item = A>) -> ControlFlow<(), usize> {
        let (output, stop) = *self.shared.get();
        let start = block.start;
        // SAFETY: `run_pulled` passes each index once.
        match unsafe { output.fill_front(block, items, |item| (self.accept)((self.call)(item))) } {
            Ok(count) => {
                if let Some(bar) = self.bar {
                    bar.advance(count);
                }
                ControlFlow::Continue(count)
            }
            Err(refused) => {
                stop.refuse(start + refused.index, refused.reason);
                ControlFlow::Break(())
            }
        }
    }
}
