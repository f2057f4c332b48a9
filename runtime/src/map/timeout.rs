//! [`TimedMap`]: a map with a time limit for each item.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::function::BatchFn;
use super::iterated_ends::iterated_ends;
use super::progress::{ProgressFn, WithProgress};
use super::source::Source;
use super::value_list::ValueList;
use super::{Collect, Detach, Map, MapFn, MapIter, MapStream};
use crate::error::TaskError;
use crate::pool::runtime_warning::warn_if_map_blocks;
use crate::sys::drop_all::DropEach;
use crate::task::send_proof::CallProof;

/// A map with a time limit for each item, from the item's start on its worker.
///
/// `name::map` of a function with `timeout = ".."` returns one, and so does [`Map::timeout`]. An item that takes longer
/// gives [`TaskError::TimedOut`] as its result. Its function sees [`cancelled()`](crate::cancelled) become `true`; its
/// thread leaves the pool, which starts another. So items and results must be owned. [`Map`] explains the bounds.
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
///             std::thread::yield_now(); // never ends by itself
///         }
///         n * 10
///     })
///     .timeout(Duration::from_millis(20))
///     .collect();
/// assert!(matches!(answers[..], [Ok(10), Err(TaskError::TimedOut { .. }), Ok(30)]));
///
/// // Its adaptors and ends are those of its iterator, on the calling thread.
/// let squares = fanfold::map(0..10, |n: u32| n * n).timeout(Duration::from_secs(60));
/// assert_eq!(squares.filter_map(Result::ok).filter(|n| n % 2 == 1).count(), 5);
/// ```
#[must_use = "a map is lazy: end it with `collect` or `for_each`, or iterate it"]
pub struct TimedMap<S, F: MapFn<A>, A> {
    map: Map<S, F, A>,
    on_timeout: fn(TaskError) -> F::Out,
}

impl<S, F: MapFn<A>, A> TimedMap<S, F, A> {
    pub(crate) fn new(map: Map<S, F, A>, limit: Duration, on_timeout: fn(TaskError) -> F::Out) -> Self {
        Self { map: map.with_time_limit(limit), on_timeout }
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

    /// As [`Map::on_progress`].
    pub fn on_progress(
        self,
        report: impl Fn(usize, Option<usize>) + Send + Sync + 'static,
    ) -> TimedMap<S, WithProgress<'static, F>, A> {
        TimedMap { map: self.map.on_progress(report), on_timeout: self.on_timeout }
    }

    /// As [`Map::collect`], in input order.
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics; and if the pool is closed before all items have run.
    #[track_caller]
    pub fn collect<C: Collect<F::Out>>(mut self) -> C {
        warn_if_map_blocks(self.map.name);
        self.map.unordered = false;
        let mut values = Vec::new();
        for result in self {
            match C::accept(result) {
                Ok(value) => values.push(value),
                Err(stop) => return C::finish(Err(stop)),
            }
        }
        C::finish(Ok(C::Values::from_values(values)))
    }

    /// As [`collect`](Self::collect), for async code: awaits all results, and blocks no thread. Dropping the future
    /// cancels the items that have not started, and asks those that run to stop.
    ///
    /// # Panics
    ///
    /// As `collect`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # pollster::block_on(async {
    /// let squares = fanfold::map([1, 2, 3], |n: u64| n * n).timeout(Duration::from_secs(20));
    /// let squares: Result<Vec<u64>, _> = squares.collect_async().await;
    /// assert_eq!(squares.unwrap(), [1, 4, 9]);
    /// # });
    /// ```
    pub async fn collect_async<C: Collect<F::Out>>(mut self) -> C {
        self.map.unordered = false;
        let mut results = self.stream();
        let mut values = Vec::new();
        let stop = loop {
            match results.next().await.map(C::accept) {
                Some(Ok(value)) => values.push(value),
                Some(Err(stop)) => break Some(stop),
                None => break None,
            }
        };
        // A failure cancels the items in flight before it is returned.
        drop(results);
        C::finish(match stop {
            Some(stop) => Err(stop),
            None => Ok(C::Values::from_values(values)),
        })
    }

    /// Runs `op` on each result, on the calling thread: in input order, or with [`unordered`](Self::unordered) in the
    /// order of completion.
    ///
    /// # Panics
    ///
    /// As [`collect`](Self::collect), and with the payload of `op`.
    #[track_caller]
    pub fn for_each(self, mut op: impl FnMut(F::Out)) {
        warn_if_map_blocks(self.map.name);
        for result in self {
            op(result);
        }
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
        self.map.into_iter().with_timeout_result(self.on_timeout)
    }
}

impl<S, F, A> TimedMap<S, F, A>
where
    S: Source<Item = A>,
    F: Detach<A>,
    A: 'static,
    F::Out: 'static,
{
    /// Turns the map into an async stream of the results: [`Map::stream`](super::Map::stream).
    pub fn stream(self) -> MapStream<S::Iter, F::Out> {
        MapStream::new(self.into_iter())
    }
}

iterated_ends!(TimedMap<S, F, A>, F::Out, S: Source<Item = A>, F: Detach<A>, A: 'static, F::Out: 'static);

impl<S, F: MapFn<A>, A> fmt::Debug for TimedMap<S, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedMap").finish_non_exhaustive()
    }
}

/// A function whose results are wrapped in `Ok`, beside the errors of items that timed out.
pub struct OkFn<F>(F);

impl<A, F: MapFn<A>> MapFn<A> for OkFn<F> {
    type Out = Result<F::Out, TaskError>;

    fn call(&self, item: A) -> Self::Out {
        Ok(self.0.call(item))
    }

    fn call_proof(&self) -> CallProof<A, Self::Out> {
        // SAFETY: by the function's own proof its items and results may cross threads, and `TaskError` is `Send`.
        unsafe { CallProof::new_unchecked() }
    }

    fn on_progress(&self) -> Option<ProgressFn<'_>> {
        self.0.on_progress()
    }
}

impl<A: 'static, F: Detach<A>> Detach<A> for OkFn<F>
where
    F::Out: 'static,
{
    fn detach(self) -> BatchFn<A, Self::Out>
    where
        A: 'static,
        Self::Out: 'static,
    {
        let function = self.0.detach();
        std::sync::Arc::new(move |items, results: &mut Vec<Self::Out>| {
            let mut plain = DropEach(Vec::with_capacity(items.len()));
            // The results before a panic are kept.
            let panic = catch_unwind(AssertUnwindSafe(|| function(items, &mut plain.0))).err();
            results.extend(plain.into_vec().into_iter().map(Ok));
            if let Some(payload) = panic {
                resume_unwind(payload);
            }
        })
    }

    fn detached_on_progress(&self) -> Option<ProgressFn<'static>> {
        self.0.detached_on_progress()
    }
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: Detach<A>,
{
    /// Limits the time of each item to `limit`, from its start on its worker. Each item is then a task of its own, and
    /// [`chunk_size`](Self::chunk_size) changes nothing.
    pub fn timeout(self, limit: Duration) -> TimedMap<S, OkFn<F>, A> {
        TimedMap::new(self.with_function(OkFn), limit, Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Closure;

    #[test]
    fn results_before_a_panic_are_kept() {
        let function =
            OkFn(Closure::new(|n: u32| if n == 3 { panic!("no {n}") } else { n }, CallProof::from_bounds())).detach();
        let mut results = Vec::new();
        let ended = catch_unwind(AssertUnwindSafe(|| function(vec![1, 2, 3, 4], &mut results)));
        assert!(ended.is_err());
        assert_eq!(results.into_iter().flatten().collect::<Vec<_>>(), [1, 2]);
    }
}
