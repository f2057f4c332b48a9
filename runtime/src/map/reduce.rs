//! `reduce` and `sum`: folds whose result depends on the items and their order alone.
//!
//! Floating-point addition is not associative, so a fold that follows the workers' timing gives another sum each
//! time. Here the items are cut into blocks by their index, whatever the pool: each block is folded from the left,
//! and the blocks' results are folded in their order. The first blocks are small, as few items may each take long;
//! later ones are larger, as many items make a block's cost matter.

use std::any::type_name;
use std::iter::Sum;
use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};

use super::indexed::Indexed;
#[cfg(feature = "process")]
use super::process::BatchRun;
use super::progress::Bar;
use super::source::{Source, Visitor};
use super::{Grain, Hands, Map, MapFn, Run};
use crate::sys::drop_all::DropEach;
use crate::task::send_proof::CallProof;

/// The blocks: so many items are cut into blocks of so many, then the next ones.
const STEPS: [(usize, usize); 4] = [(64, 1), (1 << 10, 8), (1 << 14, 64), (usize::MAX, 1 << 10)];

/// The block that begins at this item, which is the first of one.
#[inline]
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
    /// `identity` must be neutral, as 0 is for `+`: it goes into each block once, and once more into the whole. How many
    /// blocks there are depends on the number of items alone; [`chunk_size`](Self::chunk_size) and
    /// [`chunks`](Self::chunks) change nothing here.
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
        let folded = self.fold_blocks(&Reduce { identity: &identity, op: &op });
        folded.into_iter().fold(identity(), &op)
    }

    /// Runs the function on all items and adds the results up; deterministic as [`reduce`](Self::reduce), and in the
    /// same blocks.
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
        self.fold_blocks(&Add(PhantomData::<fn() -> T>)).into_iter().sum()
    }

    /// The folds of all blocks, in order.
    fn fold_blocks<G: Fold<F::Out>>(self, fold: &G) -> Vec<G::Folded> {
        let bar = Bar::new(self.label, self.source.count());
        let mut blocks = Blocks {
            bar: bar.as_ref(),
            #[cfg(feature = "process")]
            core: &self.core,
            hands: Hands::of(&self.core, self.terms.own_worker),
            function: &self.function,
            fold,
            seen: 0,
            folded: DropEach(Vec::new()),
        };
        self.source.visit(&mut blocks);
        blocks.folded.into_vec()
    }
}

/// What is made of a block's results. A trait of its own, so that the loop over a block is as tight as one by hand.
trait Fold<R>: Sync {
    type Folded;
    fn fold(&self, results: impl Iterator<Item = R>) -> Self::Folded;
}

struct Reduce<'a, I, O> {
    identity: &'a I,
    op: &'a O,
}

impl<R, I: Fn() -> R + Sync, O: Fn(R, R) -> R + Sync> Fold<R> for Reduce<'_, I, O> {
    type Folded = R;

    #[inline]
    fn fold(&self, results: impl Iterator<Item = R>) -> R {
        results.fold((self.identity)(), self.op)
    }
}

struct Add<T>(PhantomData<fn() -> T>);

impl<R, T: Sum<R>> Fold<R> for Add<T> {
    type Folded = T;

    #[inline]
    fn fold(&self, results: impl Iterator<Item = R>) -> T {
        results.sum()
    }
}

/// Folds each window's blocks.
struct Blocks<'a, F, G, T> {
    #[cfg(feature = "process")]
    core: &'a std::sync::Arc<crate::pool::Core>,
    hands: Hands<'a>,
    function: &'a F,
    fold: &'a G,
    bar: Option<&'a Bar>,
    /// Items of earlier windows.
    seen: usize,
    folded: DropEach<T>,
}

impl<A, F, G> Visitor<A> for Blocks<'_, F, G, G::Folded>
where
    F: MapFn<A>,
    G: Fold<F::Out>,
{
    fn largest(&self) -> usize {
        // A fold of a range longer than memory keeps one result a block.
        1 << 24
    }

    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()> {
        let mut cuts = Vec::with_capacity(items.len().min(64) + 1);
        cuts.push(0);
        let mut start = 0;
        while start < items.len() {
            start = (start + block_at(self.seen + start)).min(items.len());
            cuts.push(start);
        }
        self.seen += items.len();
        #[cfg(feature = "process")]
        if let Some(function) = self.function.batches() {
            let keep = Ok::<F::Out, std::convert::Infallible>;
            let run = BatchRun { core: self.core, function, grain: Grain::Adaptive, bar: self.bar, keep };
            let Ok(results) = run.collect_window(items);
            let mut results = results.into_iter();
            self.folded.0.extend(cuts.windows(2).map(|cut| self.fold.fold(results.by_ref().take(cut[1] - cut[0]))));
            return ControlFlow::Continue(());
        }
        let blocks = BlockItems { cuts, items };
        let run = Run {
            hands: self.hands,
            // Its items are blocks, and take as long as many of the function's.
            name: type_name::<G>(),
            grain: Grain::Adaptive,
            bar: None,
            call: |block: S::Run<'_>| {
                let Some(bar) = self.bar else { return self.fold.fold(block.map(|item| self.function.call(item))) };
                let mut items = 0;
                let folded = self.fold.fold(block.inspect(|_| items += 1).map(|item| self.function.call(item)));
                bar.advance(items);
                folded
            },
            keep: Ok::<G::Folded, std::convert::Infallible>,
            stops: false,
        };
        // SAFETY: the items and the function's results may cross, as its own proof says; a block is made of items, and
        // a fold of results.
        let proof: CallProof<S::Run<'_>, G::Folded> = unsafe { CallProof::vouched() };
        let Ok(folded) = run.collect_window(BlockRefs(&blocks), proof);
        self.folded.0.extend(folded);
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
unsafe impl<'s, S: Indexed> Indexed for BlockRefs<'s, S> {
    type Item = S::Run<'s>;
    type Run<'a>
        = BlockRun<'s, S>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.0.cuts.len() - 1
    }

    unsafe fn run(&self, indexes: Range<usize>) -> BlockRun<'s, S> {
        BlockRun { blocks: self.0, left: indexes }
    }
}

/// A run of blocks; the items of those not given are dropped with it.
struct BlockRun<'s, S: Indexed> {
    blocks: &'s BlockItems<S>,
    left: Range<usize>,
}

impl<'s, S: Indexed> Iterator for BlockRun<'s, S> {
    type Item = S::Run<'s>;

    #[inline]
    fn next(&mut self) -> Option<S::Run<'s>> {
        let block = self.left.next()?;
        let BlockItems { cuts, items } = self.blocks;
        // SAFETY: each block is given once, and with it its items.
        Some(unsafe { items.run(cuts[block]..cuts[block + 1]) })
    }
}

impl<S: Indexed> Drop for BlockRun<'_, S> {
    fn drop(&mut self) {
        let BlockItems { cuts, items } = self.blocks;
        // SAFETY: of these blocks none was given.
        unsafe { items.discard(cuts[self.left.start]..cuts[self.left.end]) };
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
