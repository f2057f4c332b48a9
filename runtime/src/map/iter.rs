//! Iterating a map: results as they come, input pulled lazily, and so many items in flight at most.
//!
//! The calling thread pulls the source inside `next()`, packs items into tasks, and takes results out. Tasks of a cpu
//! pool hold as many items as fill [`BATCH`], so that cheap items do not pay for a task each; those of an io pool hold
//! one, as each may wait for long.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::function::Batched;
use super::progress::Bar;
use super::source::Source;
use super::{Detach, Map};
use crate::error::TaskError;
use crate::error::panics;
use crate::pool::{self, Core, Kind};
use crate::sys::drop_all::{DropRest, drop_all};
use crate::task::Task;
use crate::task::completions::Completions;
use crate::task::send_proof::CallProof;
use crate::task::slot::{Slot, TaskOptions};

/// Tasks start in about their order: before one is run here, so many are looked at to see that none of them runs.
const LOOKED_AT: usize = 16;

/// How long a task of several items is to take.
const BATCH: Duration = Duration::from_micros(100);
/// Items in a task at most.
const LARGEST: usize = 4_096;

/// The results of a map, as they come; made by iterating a [`Map`].
pub struct MapIter<I: Iterator, R> {
    source: I,
    exhausted: bool,
    spawn: Spawn<I::Item, R>,
    in_flight: InFlight<R>,
    /// Items that were pulled and whose results were not given out.
    held: usize,
    /// Items that may be held; `None`: as many as keep the workers busy.
    buffer: Option<usize>,
    workers: usize,
    batch: usize,
    one_by_one: bool,
    results: Results<R>,
    /// What a task that ran out of time gives in its place.
    late: Option<fn(TaskError) -> R>,
    /// To be thrown on once `results` are given out.
    panic: Option<Box<dyn Any + Send>>,
    bar: Option<Bar>,
}

/// Results that were not given out.
type Results<R> = DropRest<std::vec::IntoIter<R>>;

/// Submits a task of several items.
type Spawn<A, R> = Box<dyn Fn(Vec<A>) -> Task<Batch<R>>>;

/// What a task gives: its results, and how long they took.
struct Batch<R> {
    results: Results<R>,
    took: Duration,
    /// What the function panicked with on the item behind the last result.
    panic: Option<Box<dyn Any + Send>>,
}

/// Tasks that have been submitted and not taken.
enum InFlight<R> {
    Ordered(VecDeque<Task<Batch<R>>>),
    Unordered {
        tasks: Vec<Option<Task<Batch<R>>>>,
        free: Vec<usize>,
        ended: Completions,
        /// No task stands before this place.
        first: usize,
    },
}

impl<R> InFlight<R> {
    fn len(&self) -> usize {
        match self {
            Self::Ordered(tasks) => tasks.len(),
            Self::Unordered { tasks, free, .. } => tasks.len() - free.len(),
        }
    }

    fn add(&mut self, task: Task<Batch<R>>) {
        match self {
            Self::Ordered(tasks) => tasks.push_back(task),
            Self::Unordered { tasks, free, ended, first } => {
                let key = free.pop().unwrap_or_else(|| {
                    tasks.push(None);
                    tasks.len() - 1
                });
                ended.watch(key, &task);
                tasks[key] = Some(task);
                *first = (*first).min(key);
            }
        }
    }

    /// Waits for the next task: the oldest, or whichever ends first.
    fn next(&mut self) -> Option<Result<Batch<R>, TaskError>> {
        match self {
            Self::Ordered(tasks) => tasks.pop_front().map(Task::join),
            Self::Unordered { tasks, free, ended, first } => {
                if tasks.len() == free.len() {
                    return None;
                }
                // A worker runs what nobody else can, while no other result may come.
                if pool::is_worker() && ended.is_empty() {
                    while tasks.get(*first).is_some_and(Option::is_none) {
                        *first += 1;
                    }
                    let oldest = || tasks[*first..].iter().take(LOOKED_AT).flatten();
                    if oldest().all(Task::may_be_claimed) {
                        let _ = oldest().next().is_some_and(Task::claim_alone);
                    }
                }
                let key = ended.next_of(1, None, || tasks.iter().flatten().any(Task::claim_refused))?;
                free.push(key);
                tasks[key].take()?.take_outcome()
            }
        }
    }
}

impl<I: Iterator, R> MapIter<I, R> {
    /// Gives `late` in the place of a task that ran out of time.
    pub(super) fn with_late(mut self, late: fn(TaskError) -> R) -> Self {
        self.late = Some(late);
        self
    }

    /// Pulls and submits as long as there is room.
    fn fill(&mut self) {
        loop {
            let room = match self.buffer {
                Some(buffer) => buffer.saturating_sub(self.held),
                // Two tasks a worker: one to run, one to take next.
                None => (2 * self.workers).saturating_sub(self.in_flight.len()).saturating_mul(self.batch),
            };
            let size = match self.buffer {
                // Small enough that all workers have some of what may be held.
                Some(buffer) => self.batch.min((buffer / (2 * self.workers)).max(1)).min(room),
                None => self.batch.min(room),
            };
            if self.exhausted || size == 0 {
                return;
            }
            let items: Vec<_> = self.source.by_ref().take(size).collect();
            self.exhausted = items.len() < size;
            if !items.is_empty() {
                self.held += items.len();
                let task = (self.spawn)(items);
                self.in_flight.add(task);
            }
        }
    }

    /// Fits the size of the next tasks to what this one took.
    fn fit(&mut self, items: usize, took: Duration) {
        if self.one_by_one {
            return;
        }
        let per_item = took.as_nanos() / (items.max(1) as u128);
        let fitting = BATCH.as_nanos().checked_div(per_item).unwrap_or(u128::MAX);
        // At most twice as many as before: one measurement may be far off.
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX).min(self.batch * 2);
        self.batch = fitting.clamp(1, LARGEST);
    }
}

impl<I: Iterator, R> Iterator for MapIter<I, R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        loop {
            if let Some(result) = self.results.0.next() {
                self.held -= 1;
                if let Some(bar) = &self.bar {
                    bar.advance(1);
                }
                return Some(result);
            }
            if let Some(payload) = self.panic.take() {
                match (panics::init_error(payload), self.late) {
                    (Ok(error), Some(late)) => {
                        self.results = DropRest(vec![late(error)].into_iter());
                        continue;
                    }
                    (Ok(error), None) => panic!("{error}"),
                    (Err(payload), _) => resume_unwind(payload),
                }
            }
            self.fill();
            match self.in_flight.next()? {
                Ok(batch) => {
                    self.fit(batch.results.0.len(), batch.took);
                    self.results = batch.results;
                    self.panic = batch.panic;
                    // An item that has a place for its error does not end the map.
                    self.exhausted |=
                        self.panic.as_ref().is_some_and(|panic| self.late.is_none() || !panics::is_init(panic));
                }
                Err(error @ TaskError::TimedOut { .. }) if self.late.is_some() => {
                    self.results =
                        DropRest(self.late.map(|late| late(error)).into_iter().collect::<Vec<_>>().into_iter());
                }
                Err(error) => panic!("the map cannot go on: {error}"),
            }
        }
    }
}

impl<I: Iterator, R> FusedIterator for MapIter<I, R> {}

/// What is in flight and not begun does not run; what runs goes on by itself.
impl<I: Iterator, R> Drop for MapIter<I, R> {
    fn drop(&mut self) {
        match &mut self.in_flight {
            InFlight::Ordered(tasks) => {
                tasks.iter().for_each(cancel);
                drop_all(take(tasks).into_iter());
            }
            InFlight::Unordered { tasks, .. } => {
                tasks.iter().flatten().for_each(cancel);
                drop_all(take(tasks).into_iter());
            }
        }
    }
}

fn cancel<T>(task: &Task<T>) {
    task.withdraw();
}

impl<I: Iterator, R> fmt::Debug for MapIter<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapIter").field("held", &self.held).finish_non_exhaustive()
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

    /// Gives the results as they come: in input order, or with [`unordered`](Map::unordered) as they end.
    ///
    /// Input is pulled inside `next()`, as far as [`buffer`](Map::buffer) allows; so an infinite source works, in
    /// constant memory. Items and results are owned: an iterator can be forgotten while workers run.
    ///
    /// # Panics
    ///
    /// In `next()`, with the function's own payload if it panics.
    fn into_iter(self) -> Self::IntoIter {
        let function = self.function.detach();
        let core = Arc::clone(&self.core);
        let io = core.kind() == Kind::Io;
        let workers = core.threads();
        let (name, terms) = (self.name, self.terms);
        let bar = Bar::new(self.label, self.source.count());
        let spawn = Box::new(move |items: Vec<A>| submit(&core, name, terms, &function, items));
        let in_flight = if self.unordered {
            InFlight::Unordered { tasks: Vec::new(), free: Vec::new(), ended: Completions::new(), first: 0 }
        } else {
            InFlight::Ordered(VecDeque::new())
        };
        MapIter {
            source: self.source.into_iter(),
            exhausted: false,
            spawn,
            in_flight,
            held: 0,
            buffer: self.buffer,
            workers,
            batch: match self.grain {
                // Each item has a time of its own.
                super::Grain::Size(size) if terms.timeout.is_none() => size,
                _ => 1,
            },
            one_by_one: io || terms.timeout.is_some() || matches!(self.grain, super::Grain::Size(_)),
            results: DropRest(Vec::new().into_iter()),
            late: None,
            panic: None,
            bar,
        }
    }
}

/// Submits a task that runs the function on each item.
fn submit<A: 'static, R: 'static>(
    core: &Arc<Core>,
    name: &'static str,
    terms: TaskOptions,
    function: &Batched<A, R>,
    items: Vec<A>,
) -> Task<Batch<R>> {
    let function = Arc::clone(function);
    let work = move || {
        let start = Instant::now();
        let mut results = Vec::with_capacity(items.len());
        let panic = catch_unwind(AssertUnwindSafe(|| function(items, &mut results))).err();
        Batch { results: DropRest(results.into_iter()), took: start.elapsed(), panic }
    };
    // SAFETY: items and results may cross, as the proof says that the map was made with; the function is `Send`.
    let proof = unsafe { CallProof::vouched() };
    Task::start(core, Slot::new(Arc::clone(core), name, terms, work, proof))
}
