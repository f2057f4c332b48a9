//! [`TaskSet`]: a set of tasks that grows, and gives results in the order of completion.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::Task;
use super::completions::{CLAIM_LOOKAHEAD, Completions};
use super::slot::TaskId;
use crate::error::TaskError;
use crate::pool::{self, Pool};
use crate::sys::drop_all::drop_all;

/// A set of tasks that grows while results are taken from it, in the order of completion. Dropping it cancels what is
/// left: tasks in a queue never run, tasks that run see [`cancelled()`](crate::cancelled), worker processes are killed.
///
/// [`as_completed`](crate::as_completed) is the simpler form for tasks that are all known at once.
///
/// # Examples
///
/// A crawler, which finds new pages in those that it has read:
///
/// ```
/// use fanfold::{TaskSet, parallel};
///
/// #[parallel(kind = "io")]
/// fn links(page: u32) -> Vec<u32> {
///     (2 * page..=2 * page + 1).filter(|page| *page < 100).collect()
/// }
///
/// # pollster::block_on(async {
/// let mut pages = TaskSet::new();
/// pages.push(links::submit(1));
/// let mut read = 0;
/// while let Some(found) = pages.next().await { // on a thread: `pages.join_next()`
///     read += 1;
///     pages.extend(found.unwrap().into_iter().map(links::submit));
/// }
/// assert_eq!(read, 99);
/// # });
/// ```
#[doc(alias = "JoinSet")]
#[doc(alias = "FuturesUnordered")]
pub struct TaskSet<T> {
    /// By their keys in `completions`, which are in the order of insertion.
    tasks: BTreeMap<usize, Task<T>>,
    next_key: usize,
    completions: Completions,
}

impl<T> TaskSet<T> {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self { tasks: BTreeMap::new(), next_key: 0, completions: Completions::new() }
    }

    /// Adds a task, and returns its number.
    #[doc(alias = "insert")]
    pub fn push(&mut self, task: Task<T>) -> TaskId {
        let (id, key) = (task.id(), self.next_key);
        self.next_key += 1;
        self.completions.watch(key, &task);
        self.tasks.insert(key, task);
        id
    }

    /// Runs a closure on the default cpu pool, as a task of the set.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`].
    #[doc(alias = "spawn")]
    #[doc(alias = "spawn_blocking")]
    #[track_caller]
    pub fn submit(&mut self, work: impl FnOnce() -> T + Send + 'static) -> TaskId
    where
        T: Send + 'static,
    {
        self.submit_on(Pool::cpu_default(), work)
    }

    /// Runs a closure on a pool, as a task of the set.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`].
    #[track_caller]
    pub fn submit_on(&mut self, pool: &Pool, work: impl FnOnce() -> T + Send + 'static) -> TaskId
    where
        T: Send + 'static,
    {
        self.push(pool.submit(work))
    }

    /// The number of tasks whose results were not taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether all results were taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The result of a task that has ended; `None` if there is none now.
    ///
    /// # Errors
    ///
    /// The inner one is that of the task: see [`Task::join`].
    ///
    /// # Panics
    ///
    /// If the result was taken before, by awaiting that very task before it was pushed.
    pub fn try_next(&mut self) -> Option<Result<T, TaskError>> {
        self.try_next_with_id().map(|(_, result)| result)
    }

    /// As [`try_next`](Self::try_next), with the number of the task.
    ///
    /// # Panics
    ///
    /// As [`try_next`](Self::try_next).
    pub fn try_next_with_id(&mut self) -> Option<(TaskId, Result<T, TaskError>)> {
        loop {
            let key = self.completions.try_next()?;
            if let next @ Some(_) = self.take_result(key) {
                return next;
            }
        }
    }

    /// Waits for the next result; `None` if the set is empty. Dropping the future loses no result.
    ///
    /// # Panics
    ///
    /// As [`try_next`](Self::try_next).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::TaskSet;
    ///
    /// # pollster::block_on(async {
    /// let mut squares = TaskSet::new();
    /// for n in 0..3_u32 {
    ///     squares.submit(move || n * n);
    /// }
    /// let mut sum = 0;
    /// while let Some(square) = squares.next().await {
    ///     sum += square.unwrap();
    /// }
    /// assert_eq!(sum, 5);
    /// # });
    /// ```
    #[doc(alias = "join_next")]
    pub async fn next(&mut self) -> Option<Result<T, TaskError>> {
        self.next_with_id().await.map(|(_, result)| result)
    }

    /// As [`next`](Self::next), with the number of the task.
    ///
    /// # Panics
    ///
    /// As [`try_next`](Self::try_next).
    pub async fn next_with_id(&mut self) -> Option<(TaskId, Result<T, TaskError>)> {
        poll_fn(|cx| self.poll_next_with_id(cx)).await
    }

    /// Waits for the next result on this thread; `None` if the set is empty. A worker that waits in it runs a task
    /// itself if the task has not started and its pool has no other thread for it.
    ///
    /// # Panics
    ///
    /// As [`Task::join`].
    pub fn join_next(&mut self) -> Option<Result<T, TaskError>> {
        self.join_next_with_id().map(|(_, result)| result)
    }

    /// As [`join_next`](Self::join_next), with the number of the task.
    ///
    /// # Panics
    ///
    /// As [`Task::join`].
    pub fn join_next_with_id(&mut self) -> Option<(TaskId, Result<T, TaskError>)> {
        while !self.tasks.is_empty() {
            if let next @ Some(_) = self.try_next_with_id() {
                return next;
            }
            if pool::is_worker() && self.claim_first() {
                continue;
            }
            let claim = || self.tasks.values().any(Task::claim_if_threads_refused);
            if let Some(key) = self.completions.wait_next(1, None, claim)
                && let next @ Some(_) = self.take_result(key)
            {
                return next;
            }
        }
        None
    }

    /// Waits for the next result on this thread, for at most `limit`; `None` if there is none then, or if the set is
    /// empty. Unlike [`join_next`](Self::join_next) it runs no task itself.
    ///
    /// # Panics
    ///
    /// As [`Task::join`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use fanfold::TaskSet;
    ///
    /// let mut tasks = TaskSet::new();
    /// let (release, released) = std::sync::mpsc::channel::<()>();
    /// tasks.submit(move || released.recv().is_ok());
    /// assert!(tasks.join_next_timeout(Duration::from_millis(1)).is_none());
    /// release.send(()).ok();
    /// assert!(tasks.join_next().unwrap()?);
    /// assert!(tasks.join_next_timeout(Duration::MAX).is_none()); // the set is empty
    /// # Ok::<(), fanfold::TaskError>(())
    /// ```
    pub fn join_next_timeout(&mut self, limit: Duration) -> Option<Result<T, TaskError>> {
        let Some(deadline) = Instant::now().checked_add(limit) else { return self.join_next() };
        while !self.tasks.is_empty() {
            if let result @ Some(_) = self.try_next() {
                return result;
            }
            if Instant::now() >= deadline {
                return None;
            }
            if let Some(key) = self.completions.wait_next(1, Some(deadline), || false)
                && let Some((_, result)) = self.take_result(key)
            {
                return Some(result);
            }
        }
        None
    }

    /// Cancels all tasks, the last one first. They stay in the set, and their results can be taken.
    #[doc(alias = "abort_all")]
    pub fn cancel_all(&self) {
        for task in self.tasks.values().rev() {
            task.cancel();
        }
    }

    /// Empties the set without cancelling the tasks, which go on by themselves.
    pub fn detach_all(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        // First, as the destructor of a result may panic. A task that ends later must not leave its key behind.
        let tasks = take(&mut self.tasks);
        self.completions.forget_all();
        drop_all(tasks.into_values());
    }

    /// The result of a task that has ended; `None` if it was detached.
    fn take_result(&mut self, key: usize) -> Option<(TaskId, Result<T, TaskError>)> {
        let task = self.tasks.remove(&key)?;
        Some((task.id(), task.into_outcome()))
    }

    fn poll_next_with_id(&mut self, cx: &mut Context<'_>) -> Poll<Option<(TaskId, Result<T, TaskError>)>> {
        // Registered before the check: a task that ends in between wakes this waker.
        self.completions.wake_on_next(cx.waker());
        let next = self.try_next_with_id();
        if next.is_none() && !self.tasks.is_empty() {
            self.completions.check_fork();
            return Poll::Pending;
        }
        Poll::Ready(next)
    }

    /// Runs the first task here if neither it nor one of those behind it runs, and its pool has no other thread for it:
    /// a long task would keep this thread from the results of others. Returns whether it ran.
    fn claim_first(&self) -> bool {
        let mut first = self.tasks.values().take(CLAIM_LOOKAHEAD);
        let Some(task) = first.next().filter(|task| task.is_claimable()) else { return false };
        first.all(|next| next.is_queued_with(task)) && task.claim_if_no_other_thread()
    }
}

/// The results of a set as a stream, which ends when the set is empty and goes on if tasks are added.
impl<T> Stream for TaskSet<T> {
    type Item = Result<T, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_with_id(cx).map(|next| next.map(|(_, result)| result))
    }
}

impl<T> Default for TaskSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Extend<Task<T>> for TaskSet<T> {
    fn extend<I: IntoIterator<Item = Task<T>>>(&mut self, tasks: I) {
        for task in tasks {
            self.push(task);
        }
    }
}

impl<T> FromIterator<Task<T>> for TaskSet<T> {
    fn from_iter<I: IntoIterator<Item = Task<T>>>(tasks: I) -> Self {
        let mut set = Self::new();
        set.extend(tasks);
        set
    }
}

impl<T> Drop for TaskSet<T> {
    fn drop(&mut self) {
        // A forked child has no thread that runs them, and their ends would be told to the parent's queue.
        if !self.completions.is_from_parent() {
            self.cancel_all();
        }
        drop_all(take(&mut self.tasks).into_values());
    }
}

impl<T> fmt::Debug for TaskSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSet").field("tasks", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_detached_task_leaves_nothing_in_the_set() {
        let pool = Pool::io("detached").threads(1).build().expect("a thread starts");
        let (end, ends) = mpsc::channel::<()>();
        let mut set = TaskSet::new();
        set.submit_on(&pool, move || ends.recv().is_err());
        set.detach_all();
        drop(end);
        // The pool's one thread has told the set of the task before it runs the next one.
        pool.install(|| ());
        assert!(set.is_empty() && set.completions.is_empty());
        set.submit_on(&pool, || true);
        assert!(set.join_next().expect("one task").expect("no panic"));
        assert!(set.join_next().is_none());
    }
}
