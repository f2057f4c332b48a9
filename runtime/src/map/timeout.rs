//! Maps whose items have a time limit each.

use std::fmt;
use std::time::Duration;

use super::function::Batched;
use super::source::Source;
use super::{Collect, Detach, Map, MapFn, MapIter};
use crate::error::TaskError;
use crate::task::send_proof::CallProof;

/// A map whose items have a time limit each, counted from the item's start on its worker.
///
/// A function of `timeout = ".."` maps to one, and [`Map::timeout`] makes one. An item that takes longer gives a
/// [`TaskError::TimedOut`] in its place. Its thread is told (see [`cancelled()`](crate::cancelled)) and left behind,
/// and another takes its place in the pool; so items and results are owned.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fanfold::{Pool, TaskError, cancelled};
///
/// let answers: Vec<Result<u32, TaskError>> = Pool::io_default()
///     .map([1, 2, 3], |n| {
///         while n == 2 && !cancelled() {
///             std::thread::yield_now(); // never done
///         }
///         n * 10
///     })
///     .timeout(Duration::from_millis(20))
///     .collect();
/// assert!(matches!(answers[..], [Ok(10), Err(TaskError::TimedOut { .. }), Ok(30)]));
/// ```
#[must_use = "a map is lazy: end it with `collect` or `for_each`, or iterate it"]
pub struct TimedMap<S, F: MapFn<A>, A> {
    map: Map<S, F, A>,
    late: fn(TaskError) -> F::Out,
}

impl<S, F: MapFn<A>, A> TimedMap<S, F, A> {
    pub(crate) fn new(map: Map<S, F, A>, limit: Duration, late: fn(TaskError) -> F::Out) -> Self {
        Self { map: map.with_limit(limit), late }
    }
}

impl<S, F, A> TimedMap<S, F, A>
where
    S: Source<Item = A>,
    F: Detach<A>,
    A: 'static,
    F::Out: 'static,
{
    /// As [`Map::unordered`].
    pub fn unordered(mut self) -> Self {
        self.map = self.map.unordered();
        self
    }

    /// As [`Map::buffer`].
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    pub fn buffer(mut self, items: usize) -> Self {
        self.map = self.map.buffer(items);
        self
    }

    /// As [`Map::progress`].
    pub fn progress(mut self, label: &'static str) -> Self {
        self.map = self.map.progress(label);
        self
    }

    /// As [`Map::collect`], in input order.
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics.
    pub fn collect<C: Collect<F::Out>>(mut self) -> C {
        self.map.unordered = false;
        C::finish(self.into_iter().map(C::keep).collect())
    }

    /// Runs `op` on each result, in input order unless [`unordered`](Self::unordered), on the calling thread.
    ///
    /// # Panics
    ///
    /// With the function's own payload, or that of `op`.
    pub fn for_each(self, op: impl FnMut(F::Out)) {
        self.into_iter().for_each(op);
    }
}

impl<S, F, A> IntoIterator for TimedMap<S, F, A>
where
    S: Source<Item = A>,
    F: Detach<A>,
    A: 'static,
    F::Out: 'static,
{
    type Item = F::Out;
    type IntoIter = MapIter<S::Iter, F::Out>;

    fn into_iter(self) -> Self::IntoIter {
        self.map.into_iter().with_late(self.late)
    }
}

impl<S, F: MapFn<A>, A> fmt::Debug for TimedMap<S, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedMap").finish_non_exhaustive()
    }
}

/// A function whose calls can run out of time: what it returns, in `Ok`.
pub struct Tried<F>(F);

impl<A, F: MapFn<A>> MapFn<A> for Tried<F> {
    type Out = Result<F::Out, TaskError>;

    fn call(&self, item: A) -> Self::Out {
        Ok(self.0.call(item))
    }

    fn call_proof(&self) -> CallProof<A, Self::Out> {
        // SAFETY: the function's own results may cross, and an error is `Send`.
        unsafe { CallProof::vouched() }
    }
}

impl<A: 'static, F: Detach<A>> Detach<A> for Tried<F>
where
    F::Out: 'static,
{
    fn detach(self) -> Batched<A, Self::Out>
    where
        A: 'static,
        Self::Out: 'static,
    {
        let function = self.0.detach();
        std::sync::Arc::new(move |items, results: &mut Vec<Self::Out>| {
            let mut plain = Vec::with_capacity(items.len());
            function(items, &mut plain);
            results.extend(plain.into_iter().map(Ok));
        })
    }
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: Detach<A>,
{
    /// Gives each item `limit`, from its start on its worker. Items are then sent one by one, whatever
    /// [`chunk_size`](Self::chunk_size) says.
    pub fn timeout(self, limit: Duration) -> TimedMap<S, Tried<F>, A> {
        TimedMap::new(self.with_function(Tried), limit, Err)
    }
}
