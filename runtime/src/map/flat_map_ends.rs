//! The ends of a [`FlatMap`]: those of a [`Map`] whose results are what a stage makes of each.
//!
//! `collect` is in `flat_collect.rs`, and `ends.rs` has the ends that are the same for both.

use std::iter::{Flatten as FlattenIter, Sum, once};

use super::collect_async::start_map;
use super::stage::Stage;
use super::{Collect, Detach, FlatMap, Map, MapFn, MapFold, MapIter, Source};
use crate::error::{TaskError, panics};
use crate::task::Task;

impl<S, F, A, P> FlatMap<S, F, A, P>
where
    S: Source<Item = A>,
    F: MapFn<A>,
    P: Stage<F::Out>,
{
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
    /// let words = fanfold::map(["a b", "cc d"], str::trim).flat_map(|line| line.split(' '));
    /// let word = words.find_first(|word| word.len() > 1);
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
