//! [`FlatMap`]: a map whose items give any number of results each, made by `filter`, `filter_map` and `flat_map`.
//!
//! All ends but `collect` (in `flat_collect.rs`) are those of a [`Map`] whose results are what a stage makes of each.
//! `ends.rs` has those that are the same for both.

use std::fmt;
use std::iter::{Flatten as FlattenIter, Sum, once};

use super::collect_async::start_map;
use super::stage::{Chain, Filter, Flatten, Stage};
use super::{Collect, Detach, Map, MapFn, MapFold, MapIter, Source};
use crate::error::{TaskError, panics};
use crate::pool::Pool;
use crate::task::Task;

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

    /// As [`collect`](Self::collect), for pairs: into a collection of all first values, and one of all second values.
    ///
    /// # Panics
    ///
    /// As `collect`.
    #[track_caller]
    pub fn unzip<T, U, C, D>(self) -> (C, D)
    where
        P: Stage<F::Out, Out = (T, U)>,
        T: Send,
        U: Send,
        (C, D): Collect<(T, U)>,
    {
        self.collect()
    }

    /// As [`Map::for_each`].
    ///
    /// # Panics
    ///
    /// As [`Map::for_each`].
    #[track_caller]
    pub fn for_each(self, op: impl Fn(P::Out) + Sync) {
        let Self { map, stage } = self;
        map.for_each(|result| stage.fold(result, (), |(), result| op(result)));
    }

    /// As [`Map::for_each_init`].
    ///
    /// # Panics
    ///
    /// As [`Map::for_each_init`].
    #[track_caller]
    pub fn for_each_init<T, I, O>(self, init: I, op: O)
    where
        T: Send,
        I: Fn() -> T + Sync,
        O: Fn(&mut T, P::Out) + Sync,
    {
        let Self { map, stage } = self;
        map.for_each_init(init, |state, result| stage.fold(result, (), |(), result| op(state, result)));
    }

    /// As [`Map::for_each_with`].
    ///
    /// # Panics
    ///
    /// As [`Map::for_each_with`].
    #[track_caller]
    pub fn for_each_with<T, O>(self, state: T, op: O)
    where
        T: Clone + Send + Sync,
        O: Fn(&mut T, P::Out) + Sync,
    {
        self.for_each_init(|| state.clone(), op);
    }

    /// As [`Map::for_each_ordered`].
    ///
    /// # Panics
    ///
    /// As [`Map::for_each_ordered`].
    #[track_caller]
    pub fn for_each_ordered(self, consume: impl FnMut(P::Out))
    where
        P::Out: Send,
    {
        let (map, mut consume) = (self.lists(), consume);
        map.for_each_ordered(|list| list.into_iter().for_each(&mut consume));
    }

    /// As [`Map::try_for_each_ordered`].
    ///
    /// # Errors
    ///
    /// The error of `consume`.
    ///
    /// # Panics
    ///
    /// As [`Map::try_for_each_ordered`].
    #[track_caller]
    pub fn try_for_each_ordered<E>(self, consume: impl FnMut(P::Out) -> Result<(), E>) -> Result<(), E>
    where
        P::Out: Send,
    {
        let (map, mut consume) = (self.lists(), consume);
        map.try_for_each_ordered(|list| list.into_iter().try_for_each(&mut consume))
    }

    /// A list of results for each item.
    fn lists(self) -> Map<S, impl MapFn<A, Out = Vec<P::Out>>, A>
    where
        P::Out: Send,
    {
        let Self { map, stage } = self;
        map.then(move |result| list(&stage, result))
    }

    /// Folds the results into accumulators, in the blocks of items of [`Map::fold`].
    pub fn fold<T, I, G>(self, init: I, fold: G) -> MapFold<S, F, A, I, impl Fn(T, F::Out) -> T + Sync>
    where
        T: Send,
        I: Fn() -> T + Sync,
        G: Fn(T, P::Out) -> T + Sync,
    {
        let Self { map, stage } = self;
        map.fold(init, move |folded, result| stage.fold(result, folded, &fold))
    }

    /// Folds the results, in the blocks of items of [`Map::fold`], each from `identity()`. As deterministic as
    /// [`Map::reduce`].
    ///
    /// # Panics
    ///
    /// As [`Map::reduce`].
    #[track_caller]
    pub fn reduce<I, O>(self, identity: I, op: O) -> P::Out
    where
        P::Out: Send,
        I: Fn() -> P::Out + Sync,
        O: Fn(P::Out, P::Out) -> P::Out + Sync,
    {
        self.fold(identity, &op).reduce(&op)
    }

    /// Adds up the results, in the blocks of items of [`Map::fold`]. As deterministic as [`Map::sum`].
    ///
    /// # Panics
    ///
    /// As [`Map::sum`].
    ///
    /// # Examples
    ///
    /// ```
    /// let sum: u64 = fanfold::map(0..10_u64, |n| n * n).filter(|square| square % 2 == 1).sum();
    /// assert_eq!(sum, 1 + 9 + 25 + 49 + 81);
    /// ```
    #[track_caller]
    pub fn sum<T>(self) -> T
    where
        T: Sum<P::Out> + Sum<T> + Send,
    {
        let add = |a: T, b: T| [a, b].into_iter().sum();
        self.fold(|| std::iter::empty::<T>().sum(), |sum, result| add(sum, once(result).sum())).reduce(add)
    }

    /// The number of results.
    ///
    /// # Panics
    ///
    /// As [`Map::count`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(fanfold::map(0..10, |n: i32| n * n).filter(|square| square % 2 == 0).count(), 5);
    /// ```
    #[track_caller]
    pub fn count(self) -> usize {
        let Self { map, stage } = self;
        map.then(|result| stage.fold(result, 0, |count: usize, _| count + 1)).sum()
    }

    /// As [`Map::find_first`].
    ///
    /// # Panics
    ///
    /// As [`Map::find_first`].
    ///
    /// # Examples
    ///
    /// ```
    /// let word = fanfold::map(["a b", "cc d"], str::trim).flat_map(|line| line.split(' ')).find_first(|w| w.len() > 1);
    /// assert_eq!(word, Some("cc"));
    /// ```
    #[track_caller]
    pub fn find_first<Q>(self, is_match: Q) -> Option<P::Out>
    where
        Q: Fn(&P::Out) -> bool + Sync,
        P::Out: Send,
    {
        let Self { map, stage } = self;
        let stop = |(), result| if is_match(&result) { Err(result) } else { Ok(()) };
        map.then(|result| stage.try_fold(result, (), &mut { stop })).collect::<Result<(), _>>().err()
    }

    /// As [`Map::any`].
    ///
    /// # Panics
    ///
    /// As [`Map::any`].
    #[track_caller]
    pub fn any<Q>(self, is_match: Q) -> bool
    where
        Q: Fn(P::Out) -> bool + Sync,
    {
        let Self { map, stage } = self;
        let stop = |(), result| if is_match(result) { Err(()) } else { Ok(()) };
        map.then(|result| stage.try_fold(result, (), &mut { stop })).collect::<Result<(), ()>>().is_err()
    }

    /// As [`Map::outcomes`], of all results: an item whose function or adaptors panic has one error in place of its
    /// results.
    ///
    /// # Panics
    ///
    /// As [`Map::outcomes`].
    ///
    /// # Examples
    ///
    /// ```
    /// let outcomes = fanfold::map([8, 0, 3], |n: i32| 16 / n).filter(|n| n % 2 == 0).outcomes();
    /// assert!(matches!(outcomes[..], [Ok(2), Err(fanfold::TaskError::Panicked { .. })]));
    /// ```
    #[track_caller]
    pub fn outcomes(self) -> Vec<Result<P::Out, TaskError>>
    where
        P::Out: Send,
    {
        let Self { map, stage } = self;
        let name = map.name;
        let of_item = |outcome: Result<F::Out, TaskError>| {
            outcome.and_then(|result| panics::catch(name, || list(&stage, result)))
        };
        let lists: Vec<Result<Vec<P::Out>, TaskError>> = map.caught().then(of_item).collect();
        let mut outcomes = Vec::with_capacity(lists.len());
        for list in lists {
            match list {
                Ok(list) => outcomes.extend(list.into_iter().map(Ok)),
                Err(error) => outcomes.push(Err(error)),
            }
        }
        outcomes
    }

    /// As [`Map::collect_async`].
    ///
    /// # Errors
    ///
    /// As [`Map::collect_async`].
    ///
    /// # Panics
    ///
    /// As [`Map::collect_async`].
    #[track_caller]
    pub fn collect_async<C>(self) -> Task<C>
    where
        S: Send + 'static,
        F: Send + 'static,
        A: 'static,
        P: Send + 'static,
        P::Out: Send,
        C: Collect<P::Out> + Send + 'static,
    {
        let (core, name) = (self.map.core.clone(), self.map.name);
        start_map(&core, name, move || self.collect())
    }
}

/// What a stage makes of a result.
pub(super) fn list<R, P: Stage<R>>(stage: &P, result: R) -> Vec<P::Out> {
    stage.fold(result, Vec::new(), |mut list, result| {
        list.push(result);
        list
    })
}

/// Iterates over the results, as a [`Map`] does.
impl<S, F, A, P> IntoIterator for FlatMap<S, F, A, P>
where
    S: Source<Item = A>,
    F: Detach<A>,
    F::Out: 'static,
    A: 'static,
    P: Stage<F::Out> + Send + 'static,
    P::Out: Send + 'static,
{
    type Item = P::Out;
    type IntoIter = FlattenIter<MapIter<S::Iter, Vec<P::Out>>>;

    fn into_iter(self) -> Self::IntoIter {
        let Self { map, stage } = self;
        map.then(move |result| list(&stage, result)).into_iter().flatten()
    }
}
