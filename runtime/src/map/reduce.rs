//! `reduce` and `sum`: folds whose result depends on the items and their order alone.
//!
//! Floating-point addition is not associative, so a fold that follows the workers' timing gives another sum each
//! time. Here the items are cut into blocks by their index, whatever the pool: each block is folded from the left,
//! and the blocks' results are folded in their order. The first blocks are small, as few items may each take long;
//! later ones are larger, as many items make a block's cost matter.

use std::iter::Sum;
use std::ops::{ControlFlow, Range};

#[cfg(feature = "process")]
use super::batches::BatchRun;
use super::items::{Indexed, Source, Visitor};
use super::{Grain, Hands, Map, MapFn, Run};
use crate::sent::Crossing;

/// The blocks: so many items are cut into blocks of so many, then the next ones.
const STEPS: [(usize, usize); 4] = [(64, 1), (1 << 10, 8), (1 << 14, 64), (usize::MAX, 1 << 10)];

/// The block that begins at this item, which is the first of one.
fn block_at(start: usize) -> usize {
    STEPS.iter().find(|(end, _)| start < *end).map_or(1, |(_, block)| *block)
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Runs the function on all items and folds the results, each block of items from `identity()`.
    ///
    /// The same items give the same result, to the last bit of a float, on every run and any number of threads.
    ///
    /// # Panics
    ///
    /// With the payload of the function, `identity` or `op` if one panics.
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
        let fold = |results: &mut dyn Iterator<Item = F::Out>| results.fold(identity(), &op);
        self.fold_blocks(fold).into_iter().fold(identity(), &op)
    }

    /// Runs the function on all items and adds the results up; deterministic as [`reduce`](Self::reduce).
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics.
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
        self.fold_blocks(|results: &mut dyn Iterator<Item = F::Out>| results.sum::<T>()).into_iter().sum()
    }

    /// The folds of all blocks, in order.
    fn fold_blocks<T>(self, fold: impl Fn(&mut dyn Iterator<Item = F::Out>) -> T + Sync) -> Vec<T> {
        let mut blocks = Blocks {
            #[cfg(feature = "process")]
            core: &self.core,
            hands: Hands::of(&self.core, self.terms.own_worker),
            function: &self.function,
            fold: &fold,
            seen: 0,
            folded: Vec::new(),
        };
        self.source.visit(&mut blocks);
        blocks.folded
    }
}

/// Folds each window's blocks.
struct Blocks<'a, F, G, T> {
    #[cfg(feature = "process")]
    core: &'a std::sync::Arc<crate::workers::Core>,
    hands: Hands<'a>,
    function: &'a F,
    fold: &'a G,
    /// Items of earlier windows.
    seen: usize,
    folded: Vec<T>,
}

impl<A, F, G, T> Visitor<A> for Blocks<'_, F, G, T>
where
    F: MapFn<A>,
    G: Fn(&mut dyn Iterator<Item = F::Out>) -> T + Sync,
{
    fn largest(&self) -> usize {
        // A fold of a range longer than memory keeps one result a block.
        1 << 24
    }

    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()> {
        let mut cuts = vec![0];
        let mut start = 0;
        while start < items.len() {
            start = (start + block_at(self.seen + start)).min(items.len());
            cuts.push(start);
        }
        self.seen += items.len();
        #[cfg(feature = "process")]
        if let Some(function) = self.function.batches() {
            let keep = Ok::<F::Out, std::convert::Infallible>;
            let run = BatchRun { core: self.core, function, grain: Grain::Adaptive, bar: None, keep };
            let Ok(results) = run.collect_window(items);
            let mut results = results.into_iter();
            self.folded.extend(cuts.windows(2).map(|cut| (self.fold)(&mut results.by_ref().take(cut[1] - cut[0]))));
            return ControlFlow::Continue(());
        }
        let blocks = BlockItems { cuts, items };
        let run = Run {
            hands: self.hands,
            grain: Grain::Adaptive,
            bar: None,
            call: |mut block: BlockOf<'_, S>| {
                (self.fold)(&mut std::iter::from_fn(|| block.next()).map(|item| self.function.call(item)))
            },
            keep: Ok::<T, std::convert::Infallible>,
            stops: false,
        };
        // SAFETY: the items and the function's results may cross, as its own proof says; a block is made of items, and
        // a fold of results.
        let crossing: Crossing<BlockOf<'_, S>, T> = unsafe { Crossing::vouched() };
        let Ok(folded) = run.collect_window(BlockRefs(&blocks), crossing);
        self.folded.extend(folded);
        ControlFlow::Continue(())
    }
}

/// A window's items, and where its blocks begin and end.
struct BlockItems<S> {
    cuts: Vec<usize>,
    items: S,
}

/// The blocks of a window as items of their own.
struct BlockRefs<'a, S>(&'a BlockItems<S>);

// SAFETY: different blocks are different items.
unsafe impl<'a, S: Indexed> Indexed for BlockRefs<'a, S> {
    type Item = BlockOf<'a, S>;

    fn len(&self) -> usize {
        self.0.cuts.len() - 1
    }

    unsafe fn take(&self, index: usize) -> BlockOf<'a, S> {
        BlockOf { items: &self.0.items, left: self.0.cuts[index]..self.0.cuts[index + 1] }
    }

    unsafe fn discard(&self, indexes: Range<usize>) {
        let items = self.0.cuts[indexes.start]..self.0.cuts[indexes.end];
        // SAFETY: the blocks are discarded, and with them their items.
        unsafe { self.0.items.discard(items) };
    }
}

/// One block's items; those not taken are dropped with it.
struct BlockOf<'a, S: Indexed> {
    items: &'a S,
    left: Range<usize>,
}

impl<S: Indexed> BlockOf<'_, S> {
    fn next(&mut self) -> Option<S::Item> {
        let index = self.left.next()?;
        // SAFETY: each block is taken once, and gives each of its items once.
        Some(unsafe { self.items.take(index) })
    }
}

impl<S: Indexed> Drop for BlockOf<'_, S> {
    fn drop(&mut self) {
        // SAFETY: of this block, and not taken.
        unsafe { self.items.discard(self.left.clone()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_begin_where_blocks_end_whatever_the_window() {
        // Each step's length is a number of its blocks, so that no block straddles two steps; windows of iterators
        // begin at multiples of 1,024.
        let mut start = 0;
        while start < 1 << 16 {
            let end = start + block_at(start);
            for (step, _) in STEPS {
                assert!(start >= step || end <= step, "{start}..{end} straddles {step}");
            }
            assert!(start >> 10 == (end - 1) >> 10, "{start}..{end} straddles a window");
            start = end;
        }
    }
}
