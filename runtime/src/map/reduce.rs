//! `reduce` and `sum`: deterministic folds, whose result depends only on the items and their order.
//!
//! Floating-point addition is not associative, so a fold in the order of the workers' timing would give another sum on
//! each run. Here the items are cut into blocks by their index, the same on every pool. Each block is folded from the
//! left, and the blocks' results are merged in a tree. The first blocks are small, because few items may each take
//! long; later ones are larger, because with many items the cost of a block matters.

use std::iter::Sum;
use std::marker::PhantomData;
use std::mem::needs_drop;

use super::accumulator_blocks;
use super::block_fold::BlockFold;
use super::source::{LAST_WINDOW, Source};
use super::{Map, MapFn};

/// Block sizes for results without a destructor: items below the first number are cut into blocks of the second.
/// Results that own memory are merged at a cost, so there the blocks are those of [`accumulator_blocks`].
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
    /// `identity` must be neutral, as 0 is for `+`: it is folded into each block once. `op` also merges the results of
    /// neighbouring blocks. Blocks depend only on the number of items; [`chunk_size`](Self::chunk_size) and
    /// [`chunks`](Self::chunks) change nothing here.
    ///
    /// The same items give the same result, to the last bit of a float, on every run and any number of threads.
    ///
    /// To gather items in a collection, [`fold`](Self::fold) does without a collection for each item.
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
    #[track_caller]
    pub fn reduce<I, O>(self, identity: I, op: O) -> F::Out
    where
        I: Fn() -> F::Out + Sync,
        O: Fn(F::Out, F::Out) -> F::Out + Sync,
    {
        self.fold_blocks(&ReduceFold { identity: &identity, op: &op }).unwrap_or_else(identity)
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
    #[track_caller]
    pub fn sum<T>(self) -> T
    where
        T: Sum<F::Out> + Sum<T> + Send,
    {
        self.fold_blocks(&SumFold(PhantomData::<fn() -> T>)).unwrap_or_else(|| std::iter::empty::<T>().sum())
    }
}

/// Of each window the bounds of its blocks are stored, so a range may be longer than memory.
const MAX_WINDOW: usize = 1 << 24;

struct ReduceFold<'a, I, O> {
    identity: &'a I,
    op: &'a O,
}

impl<R, I: Fn() -> R + Sync, O: Fn(R, R) -> R + Sync> BlockFold<R> for ReduceFold<'_, I, O> {
    type Folded = R;
    const MERGED_ON_WORKERS: bool = needs_drop::<R>();
    const MAX_WINDOW: usize = if needs_drop::<R>() { usize::MAX } else { MAX_WINDOW };
    const MAX_READ_AHEAD: usize = if needs_drop::<R>() { accumulator_blocks::MAX_READ_AHEAD } else { LAST_WINDOW };

    #[inline]
    fn block_len(&self, start: usize, of: Option<usize>) -> usize {
        if needs_drop::<R>() { accumulator_blocks::block_len(start, of) } else { block_len(start) }
    }

    #[inline]
    fn fold(&self, results: impl Iterator<Item = R>) -> R {
        results.fold((self.identity)(), |folded, result| (self.op)(folded, result))
    }

    #[inline]
    fn merge(&self, left: R, right: R) -> R {
        (self.op)(left, right)
    }
}

struct SumFold<T>(PhantomData<fn() -> T>);

impl<R, T: Sum<R> + Sum<T> + Send> BlockFold<R> for SumFold<T> {
    type Folded = T;
    const MERGED_ON_WORKERS: bool = false;
    const MAX_WINDOW: usize = MAX_WINDOW;
    const MAX_READ_AHEAD: usize = LAST_WINDOW;

    #[inline]
    fn block_len(&self, start: usize, _: Option<usize>) -> usize {
        block_len(start)
    }

    #[inline]
    fn fold(&self, results: impl Iterator<Item = R>) -> T {
        results.sum()
    }

    #[inline]
    fn merge(&self, left: T, right: T) -> T {
        [left, right].into_iter().sum()
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
