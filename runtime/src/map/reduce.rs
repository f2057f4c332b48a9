//! `reduce` and `sum`: deterministic folds, whose result depends only on the items and their order.
//!
//! Floating-point addition is not associative, so a fold in the order of the workers' timing would give another sum on
//! each run. Here the items are cut into blocks by their index, the same on every pool. Each block is folded from the
//! left, and the blocks' results are folded in order. The first blocks are small, because few items may each take long;
//! later ones are larger, because with many items the cost of a block matters.

use std::any::type_name;
use std::iter::Sum;
use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};

use super::indexed::Indexed;
#[cfg(feature = "process")]
use super::process::ProcessRun;
use super::progress::Bar;
use super::source::{Source, WindowVisitor};
use super::{CollectRun, Grain, Map, MapFn, MapWorkers};
use crate::sys::drop_all::DropEach;
use crate::task::send_proof::CallProof;

/// Block sizes: items below the first number are cut into blocks of the second.
const STEPS: [(usize, usize); 4] = [(64, 1), (1 << 10, 8), (1 << 14, 64), (usize::MAX, 1 << 10)];

/// The length of the block that begins at item `start`, which is the first item of a block.
#[inline]
fn block_len(start: usize) -> usize {
    STEPS.iter().find(|(end, _)| start < *end).map_or(1, |(_, block)| *block)
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Runs the function on all items and folds the results, each block of items from `identity()`.
    ///
    /// `identity` must be neutral, as 0 is for `+`: it is folded into each block once, and once more into the whole.
    /// The number of blocks depends only on the number of items; [`chunk_size`](Self::chunk_size) and
    /// [`chunks`](Self::chunks) change nothing here.
    ///
    /// The same items give the same result, to the last bit of a float, on every run and any number of threads.
    ///
    /// # Panics
    ///
    /// With the payload of the function, `identity` or `op` if one panics; and if the pool is closed before all items
    /// have run.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let halves = Pool::cpu_default().map(0..1_000_u32, |n| f64::from(n) / 2.0);
    /// assert_eq!(halves.reduce(|| 0.0, |a, b| a + b), 249_750.0);
    /// ```
    pub fn reduce<I, O>(self, identity: I, op: O) -> F::Out
    where
        I: Fn() -> F::Out + Sync,
        O: Fn(F::Out, F::Out) -> F::Out + Sync,
    {
        let folded = self.fold_blocks(&ReduceFold { identity: &identity, op: &op });
        folded.into_iter().fold(identity(), &op)
    }

    /// Runs the function on all items and adds up the results, in the blocks of [`reduce`](Self::reduce) and as
    /// deterministically.
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics; and if the pool is closed before all items have run.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let squares: u64 = Pool::cpu_default().map(1..=10_u64, |n| n * n).sum();
    /// assert_eq!(squares, 385);
    /// ```
    pub fn sum<T>(self) -> T
    where
        T: Sum<F::Out> + Sum<T> + Send,
    {
        self.fold_blocks(&SumFold(PhantomData::<fn() -> T>)).into_iter().sum()
    }

    /// The folds of all blocks, in order.
    fn fold_blocks<G: Fold<F::Out>>(self, fold: &G) -> Vec<G::Folded> {
        let bar = Bar::new(self.label, self.source.count());
        let mut blocks = FoldVisitor {
            bar: bar.as_ref(),
            #[cfg(feature = "process")]
            core: &self.core,
            workers: MapWorkers::of(&self.core, self.options.own_worker),
            function: &self.function,
            fold,
            seen: 0,
            folded: DropEach(Vec::new()),
        };
        self.source.visit(&mut blocks);
        blocks.folded.into_vec()
    }
}

/// The fold of one block's results. A trait, so that the loop over a block is compiled for each fold.
trait Fold<R>: Sync {
    type Folded;
    fn fold(&self, results: impl Iterator<Item = R>) -> Self::Folded;
}

struct ReduceFold<'a, I, O> {
    identity: &'a I,
    op: &'a O,
}

impl<R, I: Fn() -> R + Sync, O: Fn(R, R) -> R + Sync> Fold<R> for ReduceFold<'_, I, O> {
    type Folded = R;

    #[inline]
    fn fold(&self, results: impl Iterator<Item = R>) -> R {
        results.fold((self.identity)(), self.op)
    }
}

struct SumFold<T>(PhantomData<fn() -> T>);

impl<R, T: Sum<R>> Fold<R> for SumFold<T> {
    type Folded = T;

    #[inline]
    fn fold(&self, results: impl Iterator<Item = R>) -> T {
        results.sum()
    }
}

/// Folds the blocks of one window after the other.
struct FoldVisitor<'a, F, G, T> {
    #[cfg(feature = "process")]
    core: &'a std::sync::Arc<crate::pool::Core>,
    workers: MapWorkers<'a>,
    function: &'a F,
    fold: &'a G,
    bar: Option<&'a Bar>,
    /// The number of items in earlier windows.
    seen: usize,
    folded: DropEach<T>,
}

impl<A, F, G> WindowVisitor<A> for FoldVisitor<'_, F, G, G::Folded>
where
    F: MapFn<A>,
    G: Fold<F::Out>,
{
    fn max_window(&self) -> usize {
        // Of each window one result a block is stored, so a range may be longer than memory.
        1 << 24
    }

    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()> {
        let mut cuts = Vec::with_capacity(items.len().min(64) + 1);
        cuts.push(0);
        let mut start = 0;
        while start < items.len() {
            start = (start + block_len(self.seen + start)).min(items.len());
            cuts.push(start);
        }
        self.seen += items.len();
        #[cfg(feature = "process")]
        if let Some(function) = self.function.process_batches() {
            let accept = Ok::<F::Out, std::convert::Infallible>;
            let run = ProcessRun { core: self.core, function, grain: Grain::Adaptive, bar: self.bar, accept };
            let Ok(results) = run.collect_window(items);
            let mut results = results.into_iter();
            self.folded.0.extend(cuts.windows(2).map(|cut| self.fold.fold(results.by_ref().take(cut[1] - cut[0]))));
            return ControlFlow::Continue(());
        }
        let blocks = BlockedItems { cuts, items };
        let run = CollectRun {
            workers: self.workers,
            // The cost history is that of blocks, which take as long as many of the function's items.
            name: type_name::<G>(),
            grain: Grain::Adaptive,
            bar: None,
            call: |block: S::Iter<'_>| {
                let Some(bar) = self.bar else { return self.fold.fold(block.map(|item| self.function.call(item))) };
                let mut items = 0;
                let folded = self.fold.fold(block.inspect(|_| items += 1).map(|item| self.function.call(item)));
                bar.advance(items);
                folded
            },
            accept: Ok::<G::Folded, std::convert::Infallible>,
            can_stop: false,
        };
        // SAFETY: by the function's own proof items and results may cross threads; a block is made of items only, and
        // its fold of results (a `T` of `sum` is `Send`).
        let proof: CallProof<S::Iter<'_>, G::Folded> = unsafe { CallProof::new_unchecked() };
        let Ok(folded) = run.collect_window(FoldBlocks(&blocks), proof);
        self.folded.0.extend(folded);
        ControlFlow::Continue(())
    }
}

/// The items of a window, and the bounds of its blocks.
struct BlockedItems<S> {
    cuts: Vec<usize>,
    items: S,
}

/// The blocks of a window as the items of a map.
struct FoldBlocks<'a, S>(&'a BlockedItems<S>);

// SAFETY: disjoint ranges of blocks are disjoint ranges of items, whose source is `Indexed` itself.
unsafe impl<'s, S: Indexed> Indexed for FoldBlocks<'s, S> {
    type Item = S::Iter<'s>;
    type Iter<'a>
        = BlocksIter<'s, S>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.0.cuts.len() - 1
    }

    unsafe fn take(&self, indexes: Range<usize>) -> BlocksIter<'s, S> {
        BlocksIter { blocks: self.0, left: indexes }
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
        // SAFETY: `left` gives each block once, and by the contract of `take` no other iterator has it.
        Some(unsafe { items.take(cuts[block]..cuts[block + 1]) })
    }
}

impl<S: Indexed> Drop for BlocksIter<'_, S> {
    fn drop(&mut self) {
        let BlockedItems { cuts, items } = self.blocks;
        // SAFETY: the blocks in `left` were not given, and by the contract of `take` no other iterator has them.
        unsafe { items.discard(cuts[self.left.start]..cuts[self.left.end]) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_block_straddles_two_steps_or_two_windows() {
        // The length of each step is a multiple of its block size. Windows of iterators begin at multiples of 1,024.
        let mut start = 0;
        while start < 1 << 16 {
            let end = start + block_len(start);
            for (step, _) in STEPS {
                assert!(start >= step || end <= step, "{start}..{end} straddles {step}");
            }
            assert!(start >> 10 == (end - 1) >> 10, "{start}..{end} straddles a window");
            start = end;
        }
    }
}
