//! Maps whose results go on to another function on the workers, and ends that look for one result or keep failures.

#[cfg(feature = "process")]
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::function::{BatchFn, Detach, MapFn};
#[cfg(feature = "process")]
use super::process::ProcessBatches;
use super::progress::ProgressFn;
use super::{Collect, Map, Source};
use crate::error::{TaskError, panics};
use crate::sys::drop_all::{DropEach, DropRest};
use crate::task::send_proof::CallProof;

/// Two functions, one after the other, as the function of a map; [`Map::then`] makes one.
pub struct Then<F, G> {
    first: F,
    next: G,
}

impl<A, F: MapFn<A>, G: Fn(F::Out) -> R + Sync, R: Send> MapFn<A> for Then<F, G> {
    type Out = R;

    #[inline]
    fn call(&self, item: A) -> R {
        (self.next)(self.first.call(item))
    }

    fn call_proof(&self) -> CallProof<A, R> {
        let _items_may_cross = self.first.call_proof();
        // SAFETY: items are arguments in the proof above, and results are `Send`. What the first function returns stays
        // on the thread that called it.
        unsafe { CallProof::new_unchecked() }
    }

    fn runs_in_processes(&self) -> Option<bool> {
        self.first.runs_in_processes()
    }

    #[cfg(feature = "process")]
    fn process_batches(&self) -> Option<&dyn ProcessBatches<A, R>> {
        self.first.process_batches().map(|_| self as &dyn ProcessBatches<A, R>)
    }

    fn on_progress(&self) -> Option<ProgressFn<'_>> {
        self.first.on_progress()
    }
}

/// The second function runs in this process.
#[cfg(feature = "process")]
impl<A, F: MapFn<A>, G: Fn(F::Out) -> R + Sync, R: Send> ProcessBatches<A, R> for Then<F, G> {
    fn name(&self) -> &'static str {
        self.first.process_batches().map_or("", ProcessBatches::name)
    }

    fn run(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(R) -> ControlFlow<()>,
    ) {
        if let Some(first) = self.first.process_batches() {
            first.run(start, next, &mut |result| give((self.next)(result)));
        }
    }

    fn outcomes(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(Result<R, TaskError>) -> ControlFlow<()>,
    ) {
        if let Some(first) = self.first.process_batches() {
            let name = first.name();
            let second = |result| panics::catch(name, || (self.next)(result));
            first.outcomes(start, next, &mut |outcome| give(outcome.and_then(second)));
        }
    }
}

impl<A: 'static, F, G, R> Detach<A> for Then<F, G>
where
    F: Detach<A>,
    F::Out: 'static,
    G: Fn(F::Out) -> R + Send + Sync + 'static,
    R: Send,
{
    fn detach(self) -> BatchFn<A, R>
    where
        R: 'static,
    {
        let Self { first, next } = self;
        let first = first.detach();
        Arc::new(move |items: Vec<A>, results: &mut Vec<R>| {
            let mut between = DropEach(Vec::with_capacity(items.len()));
            // The results before a panic are kept.
            let panic = catch_unwind(AssertUnwindSafe(|| first(items, &mut between.0))).err();
            let mut between = DropRest(between.into_vec().into_iter());
            results.extend(between.0.by_ref().map(&next));
            if let Some(payload) = panic {
                resume_unwind(payload);
            }
        })
    }

    fn detached_on_progress(&self) -> Option<ProgressFn<'static>> {
        self.first.detached_on_progress()
    }
}

/// A function whose panics are results, as the function of a map; [`Map::outcomes`] makes one.
struct Caught<F> {
    function: F,
    name: &'static str,
}

impl<A, F: MapFn<A>> MapFn<A> for Caught<F> {
    type Out = Result<F::Out, TaskError>;

    fn call(&self, item: A) -> Self::Out {
        panics::catch(self.name, || self.function.call(item))
    }

    fn call_proof(&self) -> CallProof<A, Self::Out> {
        let _proof = self.function.call_proof();
        // SAFETY: items and values are those in the proof above, and errors are `Send`.
        unsafe { CallProof::new_unchecked() }
    }

    fn runs_in_processes(&self) -> Option<bool> {
        self.function.runs_in_processes()
    }

    #[cfg(feature = "process")]
    fn process_batches(&self) -> Option<&dyn ProcessBatches<A, Self::Out>> {
        self.function.process_batches().map(|_| self as &dyn ProcessBatches<A, Self::Out>)
    }

    fn on_progress(&self) -> Option<ProgressFn<'_>> {
        self.function.on_progress()
    }
}

#[cfg(feature = "process")]
impl<A, F: MapFn<A>> ProcessBatches<A, Result<F::Out, TaskError>> for Caught<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(Result<F::Out, TaskError>) -> ControlFlow<()>,
    ) {
        if let Some(function) = self.function.process_batches() {
            function.outcomes(start, next, give);
        }
    }

    fn outcomes(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(Result<Result<F::Out, TaskError>, TaskError>) -> ControlFlow<()>,
    ) {
        self.run(start, next, &mut |outcome| give(Ok(outcome)));
    }
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Runs `next` on each result, on the worker that has it: two functions in one pass over the items.
    ///
    /// Results of both functions are `Send`. After a function in worker processes, `next` runs in this process.
    ///
    /// # Examples
    ///
    /// ```
    /// let lengths: Vec<usize> = fanfold::map(["1", "22"], |text: &str| text.repeat(3)).then(|text| text.len()).collect();
    /// assert_eq!(lengths, [3, 6]);
    /// ```
    #[doc(alias = "map")]
    #[doc(alias = "and_then")]
    pub fn then<G, R>(self, next: G) -> Map<S, Then<F, G>, A>
    where
        G: Fn(F::Out) -> R + Sync,
        R: Send,
    {
        self.with_function(|first| Then { first, next })
    }

    /// Runs the function on all items, and returns what became of each: its result, or the error of a call that
    /// panicked. One item that fails keeps no other from running. The item of a worker process that died has
    /// [`TaskError::WorkerDied`], also where the function's own result could hold that error.
    ///
    /// # Panics
    ///
    /// If the pool is closed before all items have run, or the iterator of the items panics.
    ///
    /// # Examples
    ///
    /// ```
    /// let outcomes = fanfold::map([8, 0, 2], |n: i32| 16 / n).outcomes();
    /// assert_eq!(outcomes.iter().flatten().copied().collect::<Vec<_>>(), [2, 8]);
    /// assert!(matches!(outcomes[1], Err(fanfold::TaskError::Panicked { .. })));
    /// ```
    #[doc(alias = "return_exceptions")]
    #[doc(alias = "try_collect")]
    #[track_caller]
    pub fn outcomes(self) -> Vec<Result<F::Out, TaskError>> {
        self.caught().collect()
    }

    /// This map with the panics of its function as results.
    pub(super) fn caught(self) -> Map<S, impl MapFn<A, Out = Result<F::Out, TaskError>>, A> {
        let name = self.name;
        self.with_function(|function| Caught { function, name })
    }

    /// The first result, in the order of the items, for which `is_match` holds. Items behind it may have run: at most
    /// one block a worker.
    ///
    /// # Panics
    ///
    /// With the payload of the function or of `is_match` if one panics, also on an item behind the result which a worker
    /// had started already; whether it had depends on timing. And if the pool is closed before the result is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let square = fanfold::map(1_u64.., |n| n * n).find_first(|square| *square > 1_000);
    /// assert_eq!(square, Some(1_024));
    /// ```
    #[track_caller]
    pub fn find_first<P>(self, is_match: P) -> Option<F::Out>
    where
        P: Fn(&F::Out) -> bool + Sync,
        F::Out: Send,
    {
        let stop = |result| if is_match(&result) { Err(result) } else { Ok(()) };
        self.then(stop).collect::<Result<(), _>>().err()
    }

    /// Whether `is_match` holds for a result. It stops as [`find_first`](Self::find_first) does.
    ///
    /// # Panics
    ///
    /// As `find_first`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(fanfold::map(["1", "x"], |text: &str| text.parse::<i32>()).any(|parsed| parsed.is_err()));
    /// ```
    #[track_caller]
    pub fn any<P>(self, is_match: P) -> bool
    where
        P: Fn(F::Out) -> bool + Sync,
    {
        let stop = |result| if is_match(result) { Err(()) } else { Ok(()) };
        self.then(stop).collect::<Result<(), ()>>().is_err()
    }

    /// Runs the function on all items and returns their number. After [`filter`](Self::filter) it is that of the
    /// results which were kept.
    ///
    /// # Panics
    ///
    /// With the payload of the function if it panics; and if the pool is closed before all items have run.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(fanfold::map(0..10, |n: i32| n * n).count(), 10);
    /// ```
    #[track_caller]
    pub fn count(self) -> usize {
        self.then(|_| 1_usize).sum()
    }

    /// Collects pairs into two collections: one of all first values, and one of all second values.
    /// [`collect`](Self::collect) into a pair of collections does the same.
    ///
    /// # Panics
    ///
    /// As `collect`.
    ///
    /// # Examples
    ///
    /// ```
    /// let (halves, rests): (Vec<u32>, Vec<u32>) = fanfold::map([4, 7], |n: u32| (n / 2, n % 2)).unzip();
    /// assert_eq!((halves, rests), (vec![2, 3], vec![0, 1]));
    /// ```
    #[track_caller]
    pub fn unzip<T, U, C, D>(self) -> (C, D)
    where
        F: MapFn<A, Out = (T, U)>,
        (C, D): Collect<(T, U)>,
    {
        self.collect()
    }
}
