//! Deterministic folds: the items are cut into blocks by their index alone, each block is folded from the left, and the
//! results of the blocks are merged in a tree of fixed shape.

use std::any::type_name;
use std::convert::Infallible;
use std::ops::{ControlFlow, Range};

use super::collect_run::{CollectRun, CollectVisitor};
use super::indexed::{Indexed, OwnedItems};
use super::merge_tree::MergeTree;
use super::output::MapOutput;
#[cfg(feature = "process")]
use super::process::ProcessRun;
use super::progress::Bar;
use super::schedule::{RunPlan, run_blocks};
use super::source::{Source, WindowVisitor};
use super::value_list::ValueList;
use super::{Grain, Map, MapFn, MapWorkers, panic_pool_closed};
use crate::pool::runtime_warning::warn_if_map_blocks;
use crate::sys::clock::Moment;
use crate::sys::drop_all::DropEach;
use crate::task::send_proof::AssertSend;

/// Each item of a window runs when it was pulled, before a fold, if pulling has taken this long...
const SLOW_NS: u64 = 50_000;
/// ...and this long for each item. A fast iterator is read first, so that results need not be stored.
const SLOW_ITEM_NS: u64 = 1_000;

/// The fold of a map's results `R`. A trait, so that the loop over a block is compiled for each fold.
pub(super) trait BlockFold<R>: Sync {
    /// The result of a block. It may be sent to another thread if results of the function may be.
    type Folded;
    /// Whether results of blocks are merged on the workers, in a tree. Otherwise the caller merges them in order, which
    /// is faster where merging costs some nanoseconds.
    const MERGED_ON_WORKERS: bool;
    /// The most items in a window. The bounds of a window's blocks are stored.
    const MAX_WINDOW: usize;
    /// The most items in a window that is pulled from an iterator: several of the longest blocks.
    const MAX_READ_AHEAD: usize;
    /// The length of the block that begins at item `start`, which is the first item of a block; `of` is the number of
    /// items, if it is known.
    fn block_len(&self, start: usize, of: Option<usize>) -> usize;
    /// Folds the results of a block.
    fn fold(&self, results: impl Iterator<Item = R>) -> Self::Folded;
    /// Merges the results of two neighbours, blocks or trees of blocks.
    fn merge(&self, left: Self::Folded, right: Self::Folded) -> Self::Folded;
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// The merged result of all blocks; `None` if there are no items.
    #[track_caller]
    pub(super) fn fold_blocks<G: BlockFold<F::Out>>(self, fold: &G) -> Option<G::Folded> {
        warn_if_map_blocks(self.name);
        let bar = Bar::new(self.label, self.function.on_progress(), self.source.count());
        let mut visitor = FoldVisitor {
            workers: MapWorkers::begin(&self.core, self.options.own_worker),
            name: self.name,
            function: &self.function,
            fold,
            bar: bar.as_ref(),
            items: 0,
            blocks: 0,
            tree: MergeTree::new(),
            results: DropEach(Vec::new()),
            is_abandoned: false,
        };
        self.source.visit(&mut visitor);
        if visitor.is_abandoned {
            panic_pool_closed(self.name, &self.core);
        }
        let FoldVisitor { tree, results, .. } = visitor;
        let merge = |left, right| fold.merge(left, right);
        let merged = tree.into_merged(&merge).or_else(|| results.into_vec().into_iter().reduce(merge));
        bar.iter().for_each(Bar::finish);
        merged
    }
}

/// Folds the blocks of one window after the other.
struct FoldVisitor<'a, F, G, T> {
    workers: MapWorkers<'a>,
    /// The function's name.
    name: &'static str,
    function: &'a F,
    fold: &'a G,
    bar: Option<&'a Bar<'a>>,
    /// The numbers of items and of blocks in earlier windows.
    items: usize,
    blocks: usize,
    tree: MergeTree<T>,
    /// The results of blocks that are not merged in the tree.
    results: DropEach<T>,
    /// Whether the pool was closed before all items had run.
    is_abandoned: bool,
}

impl<A, F, G> WindowVisitor<A> for FoldVisitor<'_, F, G, G::Folded>
where
    F: MapFn<A>,
    G: BlockFold<F::Out>,
{
    fn max_window(&self) -> usize {
        G::MAX_WINDOW
    }

    fn max_read_ahead(&self) -> usize {
        G::MAX_READ_AHEAD
    }

    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()> {
        let len = items.len();
        self.call_and_fold(items, Some(len))
    }

    fn pull(&mut self, items: &mut impl Iterator<Item = A>, len: usize) -> ControlFlow<()> {
        #[cfg(feature = "process")]
        let can_stream = self.function.process_batches().is_none();
        #[cfg(not(feature = "process"))]
        let can_stream = true;
        let most = items.size_hint().1.map_or(len, |most| len.min(most.saturating_add(1)));
        let (started, mut window, mut is_slow) = (Moment::now(), Vec::with_capacity(most), false);
        while window.len() < len && !is_slow {
            // The clock is read as often as that costs little.
            let count = window.len();
            window.extend(items.by_ref().take(count.clamp(1, 64).min(len - count)));
            if window.len() == count {
                break;
            }
            let took = Moment::now().since(started);
            is_slow = can_stream && took > SLOW_NS && took / window.len() as u64 > SLOW_ITEM_NS;
        }
        if !is_slow {
            let is_last = window.len() < len;
            self.call_and_fold(OwnedItems::new(window), None)?;
            return if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        }
        let function = self.function;
        let run = CollectRun {
            workers: self.workers,
            name: self.name,
            grain: Grain::Adaptive,
            bar: self.bar,
            call: |item| function.call(item),
            accept: Ok::<F::Out, Infallible>,
            can_stop: false,
        };
        let mut results = CollectVisitor::<_, _, DropEach<F::Out>, _>::new(&run);
        let flow = results.pull(&mut window.into_iter().chain(items), len);
        let Ok(results) = results.finish();
        self.fold_window(self.workers, None, OwnedItems::new(results.into_vec()), None, |result| result)?;
        flow
    }
}

impl<F, G, T> FoldVisitor<'_, F, G, T> {
    /// Runs the function on the items of one window, of a source that has `of` items, and folds the results.
    fn call_and_fold<A, S>(&mut self, items: S, of: Option<usize>) -> ControlFlow<()>
    where
        F: MapFn<A>,
        G: BlockFold<F::Out, Folded = T>,
        S: Indexed<Item = A>,
    {
        let Self { workers, function, bar, .. } = *self;
        #[cfg(feature = "process")]
        if let Some(function) = function.process_batches() {
            let accept = Ok::<F::Out, Infallible>;
            let run = ProcessRun { core: workers.core, function, grain: Grain::Adaptive, bar, accept };
            let Ok(Ok(results)) = run.collect_window(items) else {
                self.is_abandoned = true;
                return ControlFlow::Break(());
            };
            return self.fold_window(workers.only_caller(), None, OwnedItems::new(results), of, |result| result);
        }
        self.fold_window(workers, bar, items, of, |item| function.call(item))
    }

    /// Folds what `call` makes of the items of one window.
    fn fold_window<A, R, S>(
        &mut self,
        workers: MapWorkers<'_>,
        bar: Option<&Bar<'_>>,
        items: S,
        of: Option<usize>,
        call: impl Fn(A) -> R + Sync,
    ) -> ControlFlow<()>
    where
        G: BlockFold<R, Folded = T>,
        S: Indexed<Item = A>,
    {
        let fold = self.fold;
        let mut cuts = Vec::with_capacity(items.len().min(64) + 1);
        cuts.push(0);
        let mut start = 0;
        while start < items.len() {
            start = (start + fold.block_len(self.items + start, of)).min(items.len());
            cuts.push(start);
        }
        let first_block = self.blocks;
        self.items += items.len();
        self.blocks += cuts.len() - 1;
        let merge = |left, right| fold.merge(left, right);
        let blocks = BlockedItems { cuts, items };
        let output = MapOutput::<DropEach<T>>::new(if G::MERGED_ON_WORKERS { 0 } else { blocks.count() });
        // SAFETY: by the function's own proof items and results may cross threads, and so may the blocks' results by
        // the contract of `BlockFold`. Shared through `get`, each thread takes its own blocks, writes the elements of
        // its own blocks, and reaches the results of others under the lock of the tree.
        let shared = unsafe { AssertSend::new((&blocks, &self.tree, &output)) };
        let body = |indexes: Range<usize>| {
            let (blocks, tree, output) = *shared.get();
            // SAFETY: `run_blocks` passes each block once, to `body` or to `discard`.
            let mut input = unsafe { blocks.take(indexes.clone()) };
            let block = |items: S::Iter<'_>| fold.fold(items.map(&call));
            if G::MERGED_ON_WORKERS {
                let numbers = first_block + indexes.start..first_block + indexes.end;
                let next = || match input.next() {
                    Some(items) => block(items),
                    None => unreachable!("the tree asks for each block once"),
                };
                tree.add(numbers, next, &merge);
            } else {
                // SAFETY: the indexes are below the number of blocks, and `run_blocks` passes each once.
                let Ok(()) = unsafe { output.fill(indexes.clone(), input, |items| Ok::<T, Infallible>(block(items))) };
            }
            if let Some(bar) = bar {
                bar.advance(blocks.cuts[indexes.end] - blocks.cuts[indexes.start]);
            }
            ControlFlow::Continue(())
        };
        let discard = |indexes: Range<usize>| {
            let (blocks, ..) = *shared.get();
            // SAFETY: `run_blocks` passes each block once, to `body` or here, so these were not taken.
            drop(unsafe { blocks.take(indexes) });
        };
        let plan = RunPlan {
            workers,
            grain: Grain::Adaptive,
            can_stop: false,
            // The cost history is that of blocks, which take as long as many of the function's items.
            name: type_name::<G>(),
        };
        if run_blocks(plan, blocks.count(), &body, &discard).is_err() {
            self.is_abandoned = true;
            return ControlFlow::Break(());
        }
        if !G::MERGED_ON_WORKERS {
            // SAFETY: `run_blocks` returned without a panic, and no block stopped, so all blocks have written their
            // elements.
            self.results.append(unsafe { output.into_list() });
        }
        ControlFlow::Continue(())
    }
}

/// The items of a window, and the bounds of its blocks.
struct BlockedItems<S> {
    cuts: Vec<usize>,
    items: S,
}

impl<S: Indexed> BlockedItems<S> {
    fn count(&self) -> usize {
        self.cuts.len() - 1
    }

    /// Some of the blocks.
    ///
    /// # Safety
    ///
    /// The blocks are below `count`, and none of them was taken before.
    unsafe fn take(&self, blocks: Range<usize>) -> BlocksIter<'_, S> {
        BlocksIter { blocks: self, left: blocks }
    }
}

/// Some blocks of a window. Dropping it drops the items of blocks that it has not given.
struct BlocksIter<'s, S: Indexed> {
    blocks: &'s BlockedItems<S>,
    left: Range<usize>,
}

impl<'s, S: Indexed> Iterator for BlocksIter<'s, S> {
    type Item = S::Iter<'s>;

    #[inline]
    fn next(&mut self) -> Option<S::Iter<'s>> {
        let block = self.left.next()?;
        let BlockedItems { cuts, items } = self.blocks;
        // SAFETY: `left` gives each block once, and by the contract of `BlockedItems::take` no other iterator has it.
        Some(unsafe { items.take(cuts[block]..cuts[block + 1]) })
    }
}

impl<S: Indexed> Drop for BlocksIter<'_, S> {
    fn drop(&mut self) {
        let BlockedItems { cuts, items } = self.blocks;
        // SAFETY: the blocks in `left` were not given, and by the contract of `BlockedItems::take` no other iterator
        // has them.
        unsafe { items.discard(cuts[self.left.start]..cuts[self.left.end]) };
    }
}
