//! [`MapIter`]: a map as an iterator, which pulls its input lazily and limits the items in flight.
//!
//! The calling thread pulls the source inside `next()`, submits tasks of several items, and takes their results. A task
//! on a cpu pool holds as many items as take [`TASK_TARGET`], so that cheap items do not pay for a task each. A task on
//! an io pool holds one item, as each may wait for long.

use std::any::Any;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use super::batches::{Batch, BatchResults, BatchesInFlight, submit_batch};
use super::progress::Bar;
use super::source::Source;
use super::{Detach, Map};
use crate::error::TaskError;
use crate::error::panics;
use crate::pool::Kind;
use crate::sys::drop_all::DropRest;
use crate::task::Task;

/// The target of a task of several items.
const TASK_TARGET: Duration = Duration::from_micros(100);
/// The most items in a task.
const MAX_BATCH: usize = 4_096;

/// An iterator over the results of a map; iterating a [`Map`] makes one.
pub struct MapIter<I: Iterator, R> {
    source: I,
    exhausted: bool,
    submit: SubmitBatch<I::Item, R>,
    in_flight: BatchesInFlight<R>,
    /// Items that were pulled and whose results were not yet yielded.
    pending: usize,
    /// The limit of `pending`; `None` is as many as keep the workers busy.
    buffer: Option<usize>,
    workers: usize,
    /// The items of the next task.
    batch_len: usize,
    /// Whether `batch_len` does not follow the measured time.
    has_fixed_batch: bool,
    results: BatchResults<R>,
    /// Makes the result of a task that timed out.
    on_timeout: Option<fn(TaskError) -> R>,
    /// To be resumed once `results` were yielded.
    panic: Option<Box<dyn Any + Send>>,
    bar: Option<Bar>,
}

/// Submits a task of several items.
type SubmitBatch<A, R> = Box<dyn Fn(Vec<A>) -> Task<Batch<R>>>;

impl<I: Iterator, R> MapIter<I, R> {
    /// Makes a task that times out give `on_timeout` of its error, instead of a panic.
    pub(super) fn with_timeout_result(mut self, on_timeout: fn(TaskError) -> R) -> Self {
        self.on_timeout = Some(on_timeout);
        self
    }

    /// Pulls items and submits tasks until the limit of items in flight is reached.
    fn fill(&mut self) {
        loop {
            let room = match self.buffer {
                Some(buffer) => buffer.saturating_sub(self.pending),
                // Two tasks a worker: one that runs, and one to take next.
                None => (2 * self.workers).saturating_sub(self.in_flight.len()).saturating_mul(self.batch_len),
            };
            let size = match self.buffer {
                // Small enough that each worker has some of the items in flight.
                Some(buffer) => self.batch_len.min((buffer / (2 * self.workers)).max(1)).min(room),
                None => self.batch_len.min(room),
            };
            if self.exhausted || size == 0 {
                return;
            }
            let items: Vec<_> = self.source.by_ref().take(size).collect();
            self.exhausted = items.len() < size;
            if !items.is_empty() {
                self.pending += items.len();
                let task = (self.submit)(items);
                self.in_flight.add(task);
            }
        }
    }

    /// Adjusts the length of the next tasks after one of `items` items that took `took`.
    fn adjust_batch_len(&mut self, items: usize, took: Duration) {
        if self.has_fixed_batch {
            return;
        }
        let per_item = took.as_nanos() / (items.max(1) as u128);
        let fitting = TASK_TARGET.as_nanos().checked_div(per_item).unwrap_or(u128::MAX);
        // At most twice the last length: a single measurement may be far off.
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX).min(self.batch_len * 2);
        self.batch_len = fitting.clamp(1, MAX_BATCH);
    }
}

impl<I: Iterator, R> Iterator for MapIter<I, R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        loop {
            if let Some(result) = self.results.0.next() {
                self.pending -= 1;
                if let Some(bar) = &self.bar {
                    bar.advance(1);
                }
                return Some(result);
            }
            if let Some(payload) = self.panic.take() {
                match (panics::init_error(payload), self.on_timeout) {
                    (Ok(error), Some(on_timeout)) => {
                        self.results = DropRest(vec![on_timeout(error)].into_iter());
                        continue;
                    }
                    (Ok(error), None) => panic!("{error}"),
                    (Err(payload), _) => resume_unwind(payload),
                }
            }
            self.fill();
            match self.in_flight.next()? {
                Ok(batch) => {
                    self.adjust_batch_len(batch.results.0.len(), batch.took);
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
                Err(error) => panic!("the map cannot go on: {error}"),
            }
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
        f.debug_struct("MapIter").field("pending", &self.pending).finish_non_exhaustive()
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
        let function = self.function.detach();
        let core = Arc::clone(&self.core);
        let io = core.kind() == Kind::Io;
        let workers = core.threads();
        let (name, options) = (self.name, self.options);
        let bar = Bar::new(self.label, self.source.count());
        let submit = Box::new(move |items: Vec<A>| submit_batch(&core, name, options, &function, items));
        let in_flight = BatchesInFlight::new(self.unordered);
        MapIter {
            source: self.source.into_iter(),
            exhausted: false,
            submit,
            in_flight,
            pending: 0,
            buffer: self.buffer,
            workers,
            batch_len: match self.grain {
                // With a time limit each item is a task, so that the limit is its own.
                super::Grain::Size(size) if options.timeout.is_none() => size,
                _ => 1,
            },
            has_fixed_batch: io || options.timeout.is_some() || matches!(self.grain, super::Grain::Size(_)),
            results: DropRest(Vec::new().into_iter()),
            on_timeout: None,
            panic: None,
            bar,
        }
    }
}
