//! [`as_completed`]: an iterator over the results of tasks, in the order of completion, with their keys.

use std::fmt;
use std::mem::take;
use std::time::{Duration, Instant};

use super::completions::{CLAIM_LOOKAHEAD, Completions};
use super::{CancelOnDrop, Task};
use crate::error::TaskError;
use crate::pool;
use crate::sys::drop_all::drop_all;

/// Gives the results of tasks in the order of completion. The tasks may be paired with keys, in any type: each result
/// comes with the key of its task, or with its index where tasks have no keys.
///
/// A worker that waits in it runs a task itself if the task has not started and its pool has no other thread for it.
/// Dropping the iterator detaches the tasks that are left: they go on by themselves. Those that
/// [cancel on drop](Task::cancel_on_drop) are cancelled.
///
/// # Panics
///
/// In `next()`, if the result of a task was already taken by awaiting that very task.
///
/// # Examples
///
/// ```
/// use fanfold::{as_completed, parallel};
///
/// #[parallel(kind = "io")]
/// fn fetch(page: usize) -> String {
///     format!("page {page}")
/// }
///
/// for (number, page) in as_completed([2, 4, 8].map(|number| (number, fetch::submit(number)))) {
///     assert_eq!(page.unwrap(), format!("page {number}")); // whichever came first
/// }
///
/// let mut pages = vec![String::new(); 3];
/// for (index, page) in as_completed((0..3).map(fetch::submit)) {
///     pages[index] = page.unwrap(); // without keys: the index of the task
/// }
/// assert_eq!(pages, ["page 0", "page 1", "page 2"]);
/// ```
#[doc(alias = "select_all")]
pub fn as_completed<I>(tasks: I) -> AsCompleted<<I::Item as KeyedTask>::Output, <I::Item as KeyedTask>::Key>
where
    I: IntoIterator<Item: KeyedTask>,
{
    let cancels_on_drop = I::Item::CANCELS_ON_DROP;
    // Collected as they are: if the iterator panics, those that cancel on drop do.
    let tasks: Vec<_> = tasks.into_iter().collect();
    let tasks: Vec<_> = tasks.into_iter().enumerate().map(|(index, task)| Some(task.with_key(index))).collect();
    let completions = Completions::new();
    for (index, entry) in tasks.iter().enumerate() {
        if let Some((_, task)) = entry {
            completions.watch(index, task);
        }
    }
    let remaining = tasks.len();
    AsCompleted {
        tasks,
        completions,
        remaining,
        needs_all: false,
        cancels_on_drop,
        limit: None,
        unclaimed: 0,
        started: 0,
        not_timed_out: 0,
    }
}

/// What [`as_completed`] takes: a [`Task`], whose key is its index, or a pair of a key and a task. The task may be one
/// that [cancels on drop](CancelOnDrop).
#[diagnostic::on_unimplemented(
    message = "`as_completed` cannot wait for `{Self}`",
    label = "neither a `Task` nor a pair `(key, Task)`",
    note = "give it tasks, as `name::submit(..)` returns them, or pairs `(key, name::submit(..))`",
    note = "a task that was flattened goes in as it was before: without `.flatten()`, or by `.into_task()`"
)]
pub trait KeyedTask: sealed::Sealed {
    /// What comes with the result.
    type Key;
    /// The result of the task.
    type Output;
    /// Whether the task is cancelled when it is dropped.
    #[doc(hidden)]
    const CANCELS_ON_DROP: bool = false;
    /// The key and the task, which is the one of this index.
    #[doc(hidden)]
    fn with_key(self, index: usize) -> (Self::Key, Task<Self::Output>);
}

impl<T> KeyedTask for Task<T> {
    type Key = usize;
    type Output = T;
    fn with_key(self, index: usize) -> (usize, Task<T>) {
        (index, self)
    }
}

impl<K, T> KeyedTask for (K, Task<T>) {
    type Key = K;
    type Output = T;
    fn with_key(self, _: usize) -> Self {
        self
    }
}

impl<T> KeyedTask for CancelOnDrop<T> {
    type Key = usize;
    type Output = T;
    const CANCELS_ON_DROP: bool = true;
    fn with_key(self, index: usize) -> (usize, Task<T>) {
        (index, self.into_task())
    }
}

impl<K, T> KeyedTask for (K, CancelOnDrop<T>) {
    type Key = K;
    type Output = T;
    const CANCELS_ON_DROP: bool = true;
    fn with_key(self, _: usize) -> (K, Task<T>) {
        (self.0, self.1.into_task())
    }
}

mod sealed {
    /// Only Fanfold's types can be waited for.
    pub trait Sealed {}
    impl<T> Sealed for super::Task<T> {}
    impl<K, T> Sealed for (K, super::Task<T>) {}
    impl<T> Sealed for super::CancelOnDrop<T> {}
    impl<K, T> Sealed for (K, super::CancelOnDrop<T>) {}
}

/// An iterator over the results of tasks in the order of completion; [`as_completed`] makes one.
#[must_use = "it is an iterator"]
pub struct AsCompleted<T, K = usize> {
    /// The tasks with their keys. Each is taken out when its result is yielded.
    pub(super) tasks: Vec<Option<(K, Task<T>)>>,
    pub(super) completions: Completions,
    /// The number of results that were not yielded.
    pub(super) remaining: usize,
    /// Whether results are of use only once all are there, so that the waiting thread is woken once.
    pub(super) needs_all: bool,
    /// Whether tasks that are left are cancelled when they are dropped.
    cancels_on_drop: bool,
    pub(super) limit: Option<TimeLimit>,
    /// All tasks before this index were claimed or had started. `usize::MAX` keeps this from claiming any.
    pub(super) unclaimed: usize,
    /// The number of tasks before `unclaimed` that had started and whose results were not yielded.
    started: usize,
    /// All tasks before this index have timed out or were yielded.
    not_timed_out: usize,
}

/// The time limit of [`AsCompleted::timeout`].
#[derive(Clone, Copy)]
pub(super) struct TimeLimit {
    pub(super) after: Duration,
    /// `None` if it is too far for an `Instant`.
    pub(super) deadline: Option<Instant>,
}

impl<T, K> AsCompleted<T, K> {
    /// Limits the wait to `limit` from now. Once it is over, each task that is pending gives [`TaskError::TimedOut`],
    /// in the order of the tasks, and goes on by itself, or is cancelled if it [cancels on drop](Task::cancel_on_drop).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use fanfold::{Pool, TaskError, as_completed};
    ///
    /// let (release, released) = std::sync::mpsc::channel::<()>();
    /// let slow = Pool::io_default().submit(move || released.recv().is_ok());
    /// let mut results = as_completed([slow]).timeout(Duration::from_millis(1));
    /// assert!(matches!(results.next(), Some((0, Err(TaskError::TimedOut { .. })))));
    /// assert!(results.next().is_none());
    /// # drop(release);
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(TimeLimit { after: limit, deadline: Instant::now().checked_add(limit) });
        self
    }

    /// Cancels the tasks that are left, the last one first: a worker that stops its task must not find the next of them
    /// in the queue.
    pub(super) fn cancel_remaining(&self) {
        for (_, task) in self.tasks.iter().flatten().rev() {
            task.cancel();
        }
    }

    /// The item for a task that has ended; `None` if it was yielded as timed out.
    pub(super) fn take_result(&mut self, index: usize) -> Option<(K, Result<T, TaskError>)> {
        let (key, task) = self.tasks[index].take()?;
        self.remaining -= 1;
        self.started -= usize::from(index < self.unclaimed && self.started > 0);
        Some((key, task.into_outcome()))
    }

    /// The item for the first pending task, as timed out.
    pub(super) fn time_out_next(&mut self, after: Duration) -> Option<(K, Result<T, TaskError>)> {
        let pending = self.tasks[self.not_timed_out..].iter().position(Option::is_some)?;
        let index = self.not_timed_out + pending;
        self.not_timed_out = index + 1;
        self.remaining -= 1;
        let (key, task) = self.tasks[index].take()?;
        if self.cancels_on_drop {
            task.cancel();
        }
        Some((key, Err(TaskError::TimedOut { after })))
    }

    /// The time limit, if it is over.
    fn elapsed_limit(&self) -> Option<Duration> {
        let limit = self.limit?;
        limit.deadline.filter(|deadline| Instant::now() >= *deadline).map(|_| limit.after)
    }

    /// Runs the first task that has not started, if its pool has no other thread for it and no other task runs: a long
    /// task would keep this thread from the results of others. Returns whether it ran one.
    fn claim_first(&mut self) -> bool {
        while let Some(entry) = self.tasks.get(self.unclaimed) {
            if let Some((_, task)) = entry.as_ref().filter(|(_, task)| task.is_claimable()) {
                let mut next = self.tasks[self.unclaimed..].iter().take(CLAIM_LOOKAHEAD).flatten();
                return self.started == 0
                    && next.all(|(_, next)| next.is_queued_with(task))
                    && task.claim_if_no_other_thread();
            }
            self.started += usize::from(entry.is_some());
            self.unclaimed += 1;
        }
        false
    }
}

impl<T, K> Iterator for AsCompleted<T, K> {
    type Item = (K, Result<T, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.remaining > 0 {
            if let Some(index) = self.completions.try_next() {
                match self.take_result(index) {
                    None => continue,
                    result => return result,
                }
            }
            if let Some(after) = self.elapsed_limit() {
                return self.time_out_next(after);
            }
            let deadline = self.limit.and_then(|limit| limit.deadline);
            if deadline.is_none() && pool::is_worker() && self.claim_first() {
                continue;
            }
            let enough = if self.needs_all { self.remaining } else { 1 };
            let claim = || self.tasks.iter().flatten().any(|(_, task)| task.claim_if_threads_refused());
            if let Some(index) = self.completions.wait_next(enough, deadline, claim)
                && let result @ Some(_) = self.take_result(index)
            {
                return result;
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<T, K> ExactSizeIterator for AsCompleted<T, K> {}

/// Drops results that were not yielded, each of them even if the destructor of another panics.
impl<T, K> Drop for AsCompleted<T, K> {
    fn drop(&mut self) {
        if self.remaining > 0 {
            if self.cancels_on_drop {
                self.cancel_remaining();
            }
            drop_all(take(&mut self.tasks).into_iter().flatten());
        }
    }
}

impl<T, K> fmt::Debug for AsCompleted<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
