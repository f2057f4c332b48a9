//! [`FlatMap`]: a map whose items give any number of results each, made by `filter`, `filter_map` and `flat_map`.
//!
//! `flat_map_ends.rs` and `flat_collect.rs` have its ends.

use std::fmt;
use std::iter::once;

use super::stage::{Chain, Filter, Flatten, Stage};
use super::{Map, MapFn, Source};
use crate::pool::Pool;

/// A [`Map`] whose items give any number of results each: [`Map::filter`], [`Map::filter_map`] and [`Map::flat_map`]
/// make one.
///
/// Everything runs on the worker that has the item, in one pass. Results come in input order. Options such as
/// [`Map::chunk_size`] and [`Map::progress`] are set before, and count items, not results. So do [`Map::enumerate`] and
/// [`Map::zip`]: the number of a result is known only when those before it are, so number what is collected or
/// iterated.
///
/// `P` is what makes the results of an item, a `Stage`, and `P::Out` a result; [`Map`] explains the other bounds.
///
/// # Examples
///
/// ```
/// use fanfold::parallel;
///
/// #[parallel(kind = "cpu")]
/// fn parse(text: &str) -> Option<i64> {
///     text.parse().ok()
/// }
///
/// let numbers: Vec<i64> = parse::map(["7", "x", "-1", "4"]).filter_map(|n| n).filter(|n| *n > 0).collect();
/// assert_eq!(numbers, [7, 4]);
/// ```
#[must_use = "a map is lazy: end it with `collect`, `for_each`, `reduce` or `sum`, or iterate it"]
pub struct FlatMap<S, F, A, P> {
    pub(super) map: Map<S, F, A>,
    pub(super) stage: P,
}

impl<S, F, A, P> fmt::Debug for FlatMap<S, F, A, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatMap").field("map", &self.map).finish_non_exhaustive()
    }
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Keeps the results for which `is_kept` holds.
    ///
    /// # Examples
    ///
    /// ```
    /// let even: Vec<u32> = fanfold::map(0..6, |n: u32| n * n).filter(|square| square % 2 == 0).collect();
    /// assert_eq!(even, [0, 4, 16]);
    /// ```
    pub fn filter<P>(self, is_kept: P) -> FlatMap<S, F, A, impl Stage<F::Out, Out = F::Out>>
    where
        P: Fn(&F::Out) -> bool + Sync,
    {
        FlatMap { map: self, stage: Filter(is_kept) }
    }

    /// Keeps the values for which `next` returns `Some`.
    ///
    /// # Examples
    ///
    /// ```
    /// let numbers: Vec<u8> = fanfold::map(["1", "x", "3"], str::parse).filter_map(Result::ok).collect();
    /// assert_eq!(numbers, [1, 3]);
    /// ```
    pub fn filter_map<G, R>(self, next: G) -> FlatMap<S, F, A, impl Stage<F::Out, Out = R>>
    where
        G: Fn(F::Out) -> Option<R> + Sync,
    {
        FlatMap { map: self, stage: Flatten(next) }
    }

    /// Makes any number of results of each one: the items of what `next` returns, which are pulled on the worker that
    /// called it.
    ///
    /// # Examples
    ///
    /// ```
    /// let words: Vec<&str> = fanfold::map(["a b", "", "c"], str::trim).flat_map(str::split_whitespace).collect();
    /// assert_eq!(words, ["a", "b", "c"]);
    /// ```
    #[doc(alias = "flat_map_iter")]
    #[doc(alias = "flatten")]
    pub fn flat_map<G, I>(self, next: G) -> FlatMap<S, F, A, impl Stage<F::Out, Out = I::Item>>
    where
        G: Fn(F::Out) -> I + Sync,
        I: IntoIterator,
    {
        FlatMap { map: self, stage: Flatten(next) }
    }
}

impl<S, F, A, P> FlatMap<S, F, A, P>
where
    S: Source<Item = A>,
    F: MapFn<A>,
    P: Stage<F::Out>,
{
    fn with_stage<Q: Stage<P::Out>>(self, next: Q) -> FlatMap<S, F, A, impl Stage<F::Out, Out = Q::Out>> {
        FlatMap { map: self.map, stage: Chain(self.stage, next) }
    }

    /// Runs the map on `pool` instead of the function's own pool: [`Map::on`].
    ///
    /// # Panics
    ///
    /// As [`Map::on`].
    pub fn on(self, pool: &Pool) -> Self {
        Self { map: self.map.on(pool), stage: self.stage }
    }

    /// As [`Map::filter`].
    pub fn filter<Q>(self, is_kept: Q) -> FlatMap<S, F, A, impl Stage<F::Out, Out = P::Out>>
    where
        Q: Fn(&P::Out) -> bool + Sync,
    {
        self.with_stage(Filter(is_kept))
    }

    /// As [`Map::filter_map`].
    pub fn filter_map<G, R>(self, next: G) -> FlatMap<S, F, A, impl Stage<F::Out, Out = R>>
    where
        G: Fn(P::Out) -> Option<R> + Sync,
    {
        self.with_stage(Flatten(next))
    }

    /// As [`Map::flat_map`].
    pub fn flat_map<G, I>(self, next: G) -> FlatMap<S, F, A, impl Stage<F::Out, Out = I::Item>>
    where
        G: Fn(P::Out) -> I + Sync,
        I: IntoIterator,
    {
        self.with_stage(Flatten(next))
    }

    /// Runs `next` on each result, as [`Map::then`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// let roots: Vec<f64> = fanfold::map([-1.0, 4.0], |x: f64| x).filter(|x| *x >= 0.0).then(f64::sqrt).collect();
    /// assert_eq!(roots, [2.0]);
    /// ```
    pub fn then<G, R>(self, next: G) -> FlatMap<S, F, A, impl Stage<F::Out, Out = R>>
    where
        G: Fn(P::Out) -> R + Sync,
    {
        self.with_stage(Flatten(move |result| once(next(result))))
    }
}
