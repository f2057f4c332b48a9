//! `fold`: a deterministic fold with an accumulator of another type than the results, such as a map of counts.

use std::fmt;

use super::accumulator_blocks;
use super::block_fold::BlockFold;
use super::source::Source;
use super::{Map, MapFn};

/// A map whose results are folded, by [`Map::fold`]: end it with [`reduce`](Self::reduce).
#[must_use = "a fold is lazy: end it with `reduce`"]
pub struct MapFold<S, F, A, I, G> {
    map: Map<S, F, A>,
    init: I,
    fold: G,
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Folds the results into accumulators, on the workers: `fold(init(), first)`, and so on. End it with
    /// [`MapFold::reduce`], which merges the accumulators.
    ///
    /// Each block of neighbouring items has an accumulator of its own. There are 32 blocks, or one an item if there are
    /// fewer items; an iterator other than a range `a..b` of integers, whose length is not known, is cut into blocks
    /// that grow. [`chunk_size`](Self::chunk_size) and [`chunks`](Self::chunks) change nothing here.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use fanfold::Pool;
    ///
    /// let count = |mut counts: HashMap<usize, u32>, letters: usize| {
    ///     *counts.entry(letters).or_default() += 1;
    ///     counts
    /// };
    /// let counts = Pool::cpu_default().map(["one", "two", "three"], str::len).fold(HashMap::new, count).reduce(
    ///     |mut all, more| {
    ///         more.into_iter().for_each(|(letters, n)| *all.entry(letters).or_default() += n);
    ///         all
    ///     },
    /// );
    /// assert_eq!(counts, HashMap::from([(3, 2), (5, 1)]));
    /// ```
    #[doc(alias = "aggregate")]
    pub fn fold<T, I, G>(self, init: I, fold: G) -> MapFold<S, F, A, I, G>
    where
        T: Send,
        I: Fn() -> T + Sync,
        G: Fn(T, F::Out) -> T + Sync,
    {
        MapFold { map: self, init, fold }
    }
}

impl<S, F, A, I, G> fmt::Debug for MapFold<S, F, A, I, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapFold").field("map", &self.map).finish_non_exhaustive()
    }
}

impl<S, F, A, I, G> MapFold<S, F, A, I, G>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Runs the function on all items, folds the results, and merges the accumulators of neighbouring blocks, on the
    /// workers. Without items the result is `init()`.
    ///
    /// The same items from the same kind of source give the same result, to the last bit of a float, on every run and
    /// any number of threads.
    ///
    /// # Panics
    ///
    /// With the payload of the function, `init`, `fold` or `merge` if one panics: no further item starts, and all
    /// accumulators are dropped. And if the pool is closed before all items have run.
    #[track_caller]
    pub fn reduce<T, M>(self, merge: M) -> T
    where
        T: Send,
        I: Fn() -> T + Sync,
        G: Fn(T, F::Out) -> T + Sync,
        M: Fn(T, T) -> T + Sync,
    {
        let Self { map, init, fold } = self;
        map.fold_blocks(&AccumulatorFold { init: &init, fold: &fold, merge: &merge }).unwrap_or_else(init)
    }
}

struct AccumulatorFold<'a, I, G, M> {
    init: &'a I,
    fold: &'a G,
    merge: &'a M,
}

impl<R, T, I, G, M> BlockFold<R> for AccumulatorFold<'_, I, G, M>
where
    T: Send,
    I: Fn() -> T + Sync,
    G: Fn(T, R) -> T + Sync,
    M: Fn(T, T) -> T + Sync,
{
    type Folded = T;
    const MERGED_ON_WORKERS: bool = true;
    const MAX_WINDOW: usize = usize::MAX;
    const MAX_READ_AHEAD: usize = accumulator_blocks::MAX_READ_AHEAD;

    #[inline]
    fn block_len(&self, start: usize, of: Option<usize>) -> usize {
        accumulator_blocks::block_len(start, of)
    }

    #[inline]
    fn fold(&self, results: impl Iterator<Item = R>) -> T {
        results.fold((self.init)(), |folded, result| (self.fold)(folded, result))
    }

    #[inline]
    fn merge(&self, left: T, right: T) -> T {
        (self.merge)(left, right)
    }
}
