//! [`MapIter`]: a map as an iterator, which pulls its input lazily and limits the items in flight.
//!
//! The calling thread pulls the source inside `next()`, submits tasks of several items, and takes their results. A task
//! on a cpu pool holds as many items as take [`TASK_TARGET`], so that cheap items do not pay for a task each. A task on
//! an io pool holds one item, as each may wait for long.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::function::BatchFn;
use super::progress::Bar;
use super::source::Source;
use super::{Detach, Map};
use crate::error::TaskError;
use crate::error::panics;
use crate::pool::{self, Core, Kind};
use crate::sys::drop_all::{Rest, drop_all};
use crate::task::Task;
use crate::task::completions::{CLAIM_LOOKAHEAD, Completions};
use crate::task::send_proof::CallProof;
use crate::task::slot::{Slot, TaskOptions};

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
    results: Results<R>,
    /// Makes the result of a task that timed out.
    on_timeout: Option<fn(TaskError) -> R>,
    /// To be resumed once `results` were yielded.
    panic: Option<Box<dyn Any + Send>>,
    bar: Option<Bar>,
}

/// Results of one task that were not yet yielded.
type Results<R> = Rest<std::vec::IntoIter<R>>;

/// Submits a task of several items.
type SubmitBatch<A, R> = Box<dyn Fn(Vec<A>) -> Task<Batch<R>>>;

/// The outcome of a task of several items.
struct Batch<R> {
    results: Results<R>,
    took: Duration,
    /// The payload of a panic of the function, on the item behind the last result.
    panic: Option<Box<dyn Any + Send>>,
}

/// Tasks that were submitted and whose outcome was not yet taken.
enum BatchesInFlight<R> {
    Ordered(VecDeque<Task<Batch<R>>>),
    Unordered {
        tasks: Vec<Option<Task<Batch<R>>>>,
        free: Vec<usize>,
        completions: Completions,
        /// All entries of `tasks` before this index are empty.
        first: usize,
    },
}

impl<R> BatchesInFlight<R> {
    fn len(&self) -> usize {
        match self {
            Self::Ordered(tasks) => tasks.len(),
            Self::Unordered { tasks, free, .. } => tasks.len() - free.len(),
        }
    }

    fn add(&mut self, task: Task<Batch<R>>) {
        match self {
            Self::Ordered(tasks) => tasks.push_back(task),
            Self::Unordered { tasks, free, completions, first } => {
                let key = free.pop().unwrap_or_else(|| {
                    tasks.push(None);
                    tasks.len() - 1
                });
                completions.watch(key, &task);
                tasks[key] = Some(task);
                *first = (*first).min(key);
            }
        }
    }

    /// Waits for the next task: the oldest one, or if unordered the first to complete.
    fn next(&mut self) -> Option<Result<Batch<R>, TaskError>> {
        match self {
            Self::Ordered(tasks) => tasks.pop_front().map(Task::join),
            Self::Unordered { tasks, free, completions, first } => {
                if tasks.len() == free.len() {
                    return None;
                }
                // A worker runs the oldest task itself if no other thread can, and no other task is about to complete.
                if pool::is_worker() && completions.is_empty() {
                    while tasks.get(*first).is_some_and(Option::is_none) {
                        *first += 1;
                    }
                    let oldest = || tasks[*first..].iter().take(CLAIM_LOOKAHEAD).flatten();
                    if oldest().all(Task::is_claimable) {
                        let _ = oldest().next().is_some_and(Task::claim_if_no_other_thread);
                    }
                }
                let key =
                    completions.wait_next(1, None, || tasks.iter().flatten().any(Task::claim_if_threads_refused))?;
                free.push(key);
                tasks[key].take()?.take_outcome()
            }
        }
    }
}

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
                        self.results = Rest(vec![on_timeout(error)].into_iter());
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
                    self.results = Rest(
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
        match &mut self.in_flight {
            BatchesInFlight::Ordered(tasks) => {
                tasks.iter().for_each(cancel);
                drop_all(take(tasks).into_iter());
            }
            BatchesInFlight::Unordered { tasks, .. } => {
                tasks.iter().flatten().for_each(cancel);
                drop_all(take(tasks).into_iter());
            }
        }
    }
}

fn cancel<T>(task: &Task<T>) {
    task.request_cancel();
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
        let in_flight = if self.unordered {
            let completions = Completions::new();
            BatchesInFlight::Unordered { tasks: Vec::new(), free: Vec::new(), completions, first: 0 }
        } else {
            BatchesInFlight::Ordered(VecDeque::new())
        };
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
            results: Rest(Vec::new().into_iter()),
            on_timeout: None,
            panic: None,
            bar,
        }
    }
}

/// Submits a task that runs the function on each item.
fn submit_batch<A: 'static, R: 'static>(
    core: &Arc<Core>,
    name: &'static str,
    options: TaskOptions,
    function: &BatchFn<A, R>,
    items: Vec<A>,
) -> Task<Batch<R>> {
    let function = Arc::clone(function);
    let work = move || {
        let start = Instant::now();
        let mut results = Vec::with_capacity(items.len());
        let panic = catch_unwind(AssertUnwindSafe(|| function(items, &mut results))).err();
        Batch { results: Rest(results.into_iter()), took: start.elapsed(), panic }
    };
    // SAFETY: the map was made with a `CallProof` that items and results may cross threads; the task's closure is made
    // of those items and of a `BatchFn`, which is `Send`, and its result of those results, a time and a `Send` payload.
    let proof = unsafe { CallProof::new_unchecked() };
    Task::start(core, Slot::new(Arc::clone(core), name, options, work, proof))
}
