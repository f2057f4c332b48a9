//! [`MapIter`]: a map as an iterator, which pulls its input lazily and limits the items in flight.
//!
//! The calling thread pulls the source inside `next()`, submits tasks of several items, and takes their results. Cheap
//! items do not pay for a task each: [`TaskWindow`] says how many items a task holds.

use std::any::Any;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::{Poll, ready};

use super::batches::{Batch, BatchResults, BatchesInFlight, submit_batch};
use super::progress::Bar;
use super::schedule::end_cancelled_task;
use super::source::Source;
use super::task_window::TaskWindow;
use super::{Detach, Map};
use crate::error::TaskError;
use crate::error::panics;
use crate::sys::drop_all::DropRest;
use crate::task::Task;

/// An iterator over the results of a map; iterating a [`Map`] makes one.
pub struct MapIter<I: Iterator, R> {
    source: I,
    exhausted: bool,
    submit: SubmitBatch<I::Item, R>,
    in_flight: BatchesInFlight<R>,
    window: TaskWindow,
    results: BatchResults<R>,
    /// Makes the result of a task that timed out.
    on_timeout: Option<fn(TaskError) -> R>,
    /// To be resumed once `results` were yielded.
    panic: Option<Box<dyn Any + Send>>,
    bar: Option<Bar<'static>>,
}

/// Submits a task of several items.
type SubmitBatch<A, R> = Box<dyn Fn(Vec<A>) -> Task<Batch<R>> + Send + Sync>;

impl<I: Iterator, R> MapIter<I, R> {
    /// Makes a task that times out give `on_timeout` of its error, instead of a panic.
    pub(super) fn with_timeout_result(mut self, on_timeout: fn(TaskError) -> R) -> Self {
        self.on_timeout = Some(on_timeout);
        self
    }

    /// The number of items that were pulled and whose results were not yet taken.
    pub(super) fn pending(&self) -> usize {
        self.window.in_flight()
    }

    /// Pulls items and submits tasks until the limit of items in flight is reached.
    fn fill(&mut self) {
        while !self.exhausted {
            let (items, has_more) = self.window.pull(self.in_flight.len(), &mut self.source);
            self.exhausted = !has_more;
            if items.is_empty() {
                return;
            }
            let task = (self.submit)(items);
            self.in_flight.add(task);
        }
    }
}

impl<I: Iterator, R> MapIter<I, R> {
    /// The next result. `next_batch` waits for the next task, in its own way.
    #[track_caller]
    pub(super) fn advance(
        &mut self,
        mut next_batch: impl FnMut(&mut BatchesInFlight<R>) -> NextBatch<R>,
    ) -> Poll<Option<R>> {
        loop {
            if let Some(result) = self.results.0.next() {
                self.window.took_one();
                if let Some(bar) = &self.bar {
                    bar.advance(1);
                }
                return Poll::Ready(Some(result));
            }
            if let Some(payload) = self.panic.take() {
                match (panics::own_error(payload), self.on_timeout) {
                    (Ok(error), Some(on_timeout)) => {
                        self.results = DropRest(vec![on_timeout(error)].into_iter());
                        continue;
                    }
                    (Ok(error), None) => panic!("{error}"),
                    (Err(payload), _) => resume_unwind(payload),
                }
            }
            self.fill();
            let Some(batch) = ready!(next_batch(&mut self.in_flight)) else {
                if let Some(bar) = self.bar.take() {
                    bar.finish();
                }
                return Poll::Ready(None);
            };
            match batch {
                Ok(batch) => {
                    self.window.adjust(batch.results.0.len(), batch.took);
                    self.results = batch.results;
                    self.panic = batch.panic;
                    // A panic ends the map, except that of a failed `init` where its error can be a result.
                    self.exhausted |=
                        self.panic.as_ref().is_some_and(|panic| self.on_timeout.is_none() || !panics::is_init(panic));
                }
                Err(error @ TaskError::TimedOut { .. }) if self.on_timeout.is_some() => {
                    self.results = DropRest(
                        self.on_timeout.map(|on_timeout| on_timeout(error)).into_iter().collect::<Vec<_>>().into_iter(),
                    );
                }
                Err(TaskError::PoolClosed | TaskError::Cancelled) => panic!(
                    "the map cannot run on all items: its pool was closed: iterate it before the pool is shut down, or on another \
                     pool"
                ),
                Err(error) => panic!("the map cannot go on: {error}"),
            }
        }
    }
}

/// The outcome of the next task of a map; `None` if no task is in flight.
type NextBatch<R> = Poll<Option<Result<Batch<R>, TaskError>>>;

impl<I: Iterator, R> Iterator for MapIter<I, R> {
    type Item = R;

    #[track_caller]
    fn next(&mut self) -> Option<R> {
        let next_batch = |in_flight: &mut BatchesInFlight<R>| {
            end_cancelled_task();
            Poll::Ready(in_flight.next())
        };
        match self.advance(next_batch) {
            Poll::Ready(result) => result,
            Poll::Pending => unreachable!("the wait for a task blocks"),
        }
    }
}

impl<I: Iterator, R> FusedIterator for MapIter<I, R> {}

/// Tasks that have not started are cancelled; those that run are asked to stop and go on by themselves.
impl<I: Iterator, R> Drop for MapIter<I, R> {
    fn drop(&mut self) {
        self.in_flight.cancel_all();
    }
}

impl<I: Iterator, R> fmt::Debug for MapIter<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapIter").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

impl<S, F, A> IntoIterator for Map<S, F, A>
where
    S: Source<Item = A>,
    F: Detach<A>,
    A: 'static,
    F::Out: 'static,
{
    type Item = F::Out;
    type IntoIter = MapIter<S::Iter, F::Out>;

    /// An iterator over the results: in input order, or with [`unordered`](Map::unordered) in the order of completion.
    ///
    /// Input is pulled inside `next()`, as far as [`buffer`](Map::buffer) allows, so an infinite source works in
    /// constant memory. Items and results must be owned, because an iterator can be forgotten while workers run.
    ///
    /// # Panics
    ///
    /// In `next()`, with the function's own payload if it panics; and if the pool is closed before all items have run.
    fn into_iter(self) -> Self::IntoIter {
        let bar = Bar::new(self.label, self.function.detached_on_progress(), self.source.count());
        let function = self.function.detach();
        let core = Arc::clone(&self.core);
        let (name, options) = (self.name, self.options);
        let window = TaskWindow::new(&core, self.grain, options, self.buffer);
        let submit = Box::new(move |items: Vec<A>| submit_batch(&core, name, options, &function, items));
        let in_flight = BatchesInFlight::new(self.unordered);
        MapIter {
            source: self.source.into_iter(),
            exhausted: false,
            submit,
            in_flight,
            window,
            results: DropRest(Vec::new().into_iter()),
            on_timeout: None,
            panic: None,
            bar,
        }
    }
}
