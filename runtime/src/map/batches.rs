//! The tasks of a map that is iterated: each runs the function on a batch of items.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::function::BatchFn;
use crate::error::TaskError;
use crate::pool::{self, Core};
use crate::sys::drop_all::{DropRest, drop_all};
use crate::task::Task;
use crate::task::cancel::CallerTask;
use crate::task::completions::{CLAIM_LOOKAHEAD, Completions};
use crate::task::send_proof::CallProof;
use crate::task::slot::{Slot, TaskOptions};

/// Results of one task that were not yet yielded.
pub(super) type BatchResults<R> = DropRest<std::vec::IntoIter<R>>;

/// The outcome of a task of several items.
pub(super) struct Batch<R> {
    pub(super) results: BatchResults<R>,
    pub(super) took: Duration,
    /// The payload of a panic of the function, on the item behind the last result.
    pub(super) panic: Option<Box<dyn Any + Send>>,
}

impl<R> Batch<R> {
    /// Runs the function on all items. It pushes its results one by one.
    pub(super) fn run<A>(items: Vec<A>, function: impl FnOnce(Vec<A>, &mut Vec<R>)) -> Self {
        let start = Instant::now();
        let mut results = Vec::with_capacity(items.len());
        let call = || {
            // SAFETY: this frame calls `here`.
            let _part_of_a_map = unsafe { CallerTask::here().enter() };
            function(items, &mut results);
        };
        let panic = catch_unwind(AssertUnwindSafe(call)).err();
        Self { results: DropRest(results.into_iter()), took: start.elapsed(), panic }
    }
}

/// Tasks that were submitted and whose outcome was not yet taken.
pub(super) enum BatchesInFlight<R> {
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
    pub(super) fn new(unordered: bool) -> Self {
        if unordered {
            let completions = Completions::new();
            Self::Unordered { tasks: Vec::new(), free: Vec::new(), completions, first: 0 }
        } else {
            Self::Ordered(VecDeque::new())
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ordered(tasks) => tasks.len(),
            Self::Unordered { tasks, free, .. } => tasks.len() - free.len(),
        }
    }

    pub(super) fn add(&mut self, task: Task<Batch<R>>) {
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
    pub(super) fn next(&mut self) -> Option<Result<Batch<R>, TaskError>> {
        match self {
            Self::Ordered(tasks) => tasks.pop_front().map(Task::join_in_silence),
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

    /// The outcome of the next task, as [`next`](Self::next); or has the context's waker woken once there may be one.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Batch<R>, TaskError>>> {
        match self {
            Self::Ordered(tasks) => {
                let Some(oldest) = tasks.front_mut() else { return Poll::Ready(None) };
                let outcome = ready!(Pin::new(oldest).poll(context));
                tasks.pop_front();
                Poll::Ready(Some(outcome))
            }
            Self::Unordered { tasks, free, completions, .. } => {
                if tasks.len() == free.len() {
                    return Poll::Ready(None);
                }
                // Registered before the look: a task that ends in between wakes this waker.
                completions.wake_on_next(context.waker());
                let Some(key) = completions.try_next() else {
                    completions.check_fork();
                    return Poll::Pending;
                };
                free.push(key);
                Poll::Ready(tasks[key].take().and_then(Task::take_outcome))
            }
        }
    }

    /// Cancels the tasks that have not started, asks those that run to stop, and drops all of them.
    pub(super) fn cancel_all(&mut self) {
        match self {
            Self::Ordered(tasks) => {
                tasks.iter().for_each(Task::request_cancel);
                drop_all(take(tasks).into_iter());
            }
            Self::Unordered { tasks, completions, .. } => {
                // A forked child has no thread that runs them, and their ends would be told to the parent's queue.
                if !completions.is_from_parent() {
                    tasks.iter().flatten().for_each(Task::request_cancel);
                }
                drop_all(take(tasks).into_iter());
            }
        }
    }
}

/// Submits a task that runs the function on each item.
pub(super) fn submit_batch<A: 'static, R: 'static>(
    core: &Arc<Core>,
    name: &'static str,
    options: TaskOptions,
    function: &BatchFn<A, R>,
    items: Vec<A>,
) -> Task<Batch<R>> {
    let function = Arc::clone(function);
    let work = move || Batch::run(items, |items, results| function(items, results));
    // SAFETY: the map was made with a `CallProof` that items and results may cross threads; the task's closure is made
    // of those items and of a `BatchFn`, which is `Send`, and its result of those results, a time and a `Send` payload.
    let proof = unsafe { CallProof::new_unchecked() };
    Task::start(core, Slot::new(Arc::clone(core), name, options, work, proof))
}
