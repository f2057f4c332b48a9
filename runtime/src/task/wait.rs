//! Waiting for several tasks: as they end, for some of them, for all, or for the first.

use std::fmt;
use std::mem::take;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::Task;
use super::completions::Completions;
use crate::error::TaskError;
use crate::pool;
use crate::pool::timer::{self, Expire};
use crate::sys::drop_all::{DropEach, drop_all};

/// Gives the results of tasks in the order in which they end, each with its place among the tasks.
///
/// A worker that waits in it runs tasks that nobody has started, where their pool has no other thread for them. Tasks
/// that are left when it is dropped go on by
/// themselves.
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
/// let mut pages = vec![String::new(); 3];
/// for (index, page) in as_completed((0..3).map(fetch::submit)) {
///     pages[index] = page.unwrap(); // whichever came first
/// }
/// assert_eq!(pages, ["page 0", "page 1", "page 2"]);
/// ```
pub fn as_completed<T>(tasks: impl IntoIterator<Item = Task<T>>) -> AsCompleted<T> {
    let tasks: Vec<_> = tasks.into_iter().map(Some).collect();
    let completions = Completions::new();
    for (key, task) in tasks.iter().enumerate() {
        if let Some(task) = task {
            completions.watch(key, task);
        }
    }
    let left = tasks.len();
    AsCompleted { tasks, completions, left, all_at_once: false, limit: None, unclaimed: 0, started: 0, given: 0 }
}

/// The results of tasks as they end; [`as_completed`] makes one.
#[must_use = "it is an iterator"]
pub struct AsCompleted<T> {
    tasks: Vec<Option<Task<T>>>,
    completions: Completions,
    left: usize,
    /// Whether results are of use only when all are there.
    all_at_once: bool,
    limit: Option<Limit>,
    /// Tasks before this one were claimed or started.
    unclaimed: usize,
    /// Those of them whose results were not given.
    started: usize,
    /// Tasks before this one were given, or given up.
    given: usize,
}

/// Tasks start in about their order: before one is run here, so many are looked at to see that none behind it runs.
const NEXT: usize = 16;

#[derive(Clone, Copy)]
struct Limit {
    after: Duration,
    at: Option<Instant>,
}

impl<T> AsCompleted<T> {
    /// Gives the tasks `limit` from now: when it is over, each that is pending gives [`TaskError::TimedOut`], in
    /// their own order, and goes on by itself.
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
        self.limit = Some(Limit { after: limit, at: Instant::now().checked_add(limit) });
        self
    }

    /// The same as a stream, for async code: no thread is blocked, and any executor can poll it.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::{Pool, as_completed};
    /// use futures_util::StreamExt;
    ///
    /// # pollster::block_on(async {
    /// let tasks = (0..3).map(|n| Pool::cpu_default().submit(move || n * n));
    /// let mut squares = as_completed(tasks).stream();
    /// while let Some((n, square)) = squares.next().await {
    ///     assert_eq!(square.unwrap(), n * n);
    /// }
    /// # });
    /// ```
    pub fn stream(self) -> Completed<T> {
        Completed { all: self, alarm: None }
    }

    fn give(&mut self, key: usize) -> Option<(usize, Result<T, TaskError>)> {
        let task = self.tasks[key].take()?;
        self.left -= 1;
        self.started -= usize::from(key < self.unclaimed && self.started > 0);
        Some((key, task.into_outcome()))
    }

    /// The first pending task, as timed out.
    fn give_up(&mut self, after: Duration) -> Option<(usize, Result<T, TaskError>)> {
        let key = self.given + self.tasks[self.given..].iter().position(Option::is_some)?;
        self.given = key + 1;
        self.left -= 1;
        drop(self.tasks[key].take());
        Some((key, Err(TaskError::TimedOut { after })))
    }

    fn is_over(&self) -> Option<Duration> {
        let limit = self.limit?;
        limit.at.filter(|at| Instant::now() >= *at).map(|_| limit.after)
    }

    /// Runs the first task that nobody has started, if nobody but this thread can, and no other task may end meanwhile: one
    /// that takes long must not keep this thread from results of others.
    fn claim_one(&mut self) -> bool {
        while let Some(task) = self.tasks.get(self.unclaimed) {
            if let Some(task) = task.as_ref().filter(|task| task.may_be_claimed()) {
                let mut next = self.tasks[self.unclaimed..].iter().take(NEXT).flatten();
                return self.started == 0 && next.all(|next| next.waits_beside(task)) && task.claim_alone();
            }
            self.started += usize::from(task.is_some());
            self.unclaimed += 1;
        }
        false
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (usize, Result<T, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            if let Some(key) = self.completions.try_next() {
                match self.give(key) {
                    None => continue,
                    given => return given,
                }
            }
            if let Some(after) = self.is_over() {
                return self.give_up(after);
            }
            let deadline = self.limit.and_then(|limit| limit.at);
            if deadline.is_none() && pool::is_worker() && self.claim_one() {
                continue;
            }
            let enough = if self.all_at_once { self.left } else { 1 };
            let claim = || self.tasks.iter().flatten().any(Task::claim_refused);
            if let Some(key) = self.completions.next_of(enough, deadline, claim)
                && let given @ Some(_) = self.give(key)
            {
                return given;
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for AsCompleted<T> {}

/// Results that nobody took are dropped with it.
impl<T> Drop for AsCompleted<T> {
    fn drop(&mut self) {
        if self.left > 0 {
            drop_all(take(&mut self.tasks).into_iter().flatten());
        }
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}

/// The results of tasks as they end, as a stream; [`AsCompleted::stream`] makes one.
#[must_use = "it is a stream: poll it"]
pub struct Completed<T> {
    all: AsCompleted<T>,
    alarm: Option<Arc<Alarm>>,
}

/// Wakes the stream's task when time is up.
struct Alarm(Mutex<Option<Waker>>);

impl Alarm {
    /// Has `waker` woken, and not the one before.
    fn set(&self, waker: Waker) {
        let before = self.lock().replace(waker);
        // The user's code: not under the lock.
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Expire for Alarm {
    fn expire(&self, _: Duration) {
        let waker = self.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Stream for Completed<T> {
    type Item = (usize, Result<T, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // Before looking: a task that ends in between wakes this waker.
        this.all.completions.wake_on_next(cx.waker());
        if let Some(Limit { at: Some(at), after }) = this.all.limit {
            let alarm = this.alarm.get_or_insert_with(|| {
                let alarm = Arc::new(Alarm(Mutex::default()));
                let weak = Arc::downgrade(&alarm);
                timer::after(at.saturating_duration_since(Instant::now()), weak);
                alarm
            });
            alarm.set(cx.waker().clone());
            if Instant::now() >= at && this.all.left > 0 {
                let ended = this.all.completions.try_next().and_then(|key| this.all.give(key));
                return Poll::Ready(ended.or_else(|| this.all.give_up(after)));
            }
        }
        while this.all.left > 0 {
            match this.all.completions.try_next() {
                Some(key) => match this.all.give(key) {
                    None => {}
                    given => return Poll::Ready(given),
                },
                None => {
                    this.all.completions.check_fork();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(None)
    }
}

/// What [`wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One task has ended.
    First,
    /// One task has ended without a result, or all have ended.
    FirstError,
    /// All tasks have ended.
    All,
}

/// Waits for tasks, for `limit` at most; gives the places of those that are done, and of those that are not.
///
/// It never runs a task itself, but on a worker without a `limit`, when the operating system refuses the task a thread.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, Until, wait};
///
/// let (release, released) = std::sync::mpsc::channel::<()>();
/// let slow = Pool::io_default().submit(move || drop(released.recv()));
/// let quick = Pool::io_default().submit(|| ());
///
/// let (done, pending) = wait(&[slow, quick], Until::First, None);
/// assert_eq!((done, pending), (vec![1], vec![0]));
/// # drop(release);
/// ```
#[must_use = "it says which tasks are done"]
pub fn wait<T>(tasks: &[Task<T>], until: Until, limit: Option<Duration>) -> (Vec<usize>, Vec<usize>) {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let completions = Completions::new();
    for (key, task) in tasks.iter().enumerate() {
        completions.watch(key, task);
    }
    let mut ended = 0;
    while ended < tasks.len() {
        let enough = if until == Until::First { 1 } else { tasks.len() - ended };
        let claim = || tasks.iter().any(Task::claim_refused);
        let next = completions.try_next().or_else(|| completions.next_of(enough, deadline, claim));
        let Some(key) = next else { break };
        ended += 1;
        if until == Until::First || (until == Until::FirstError && tasks[key].has_failed()) {
            break;
        }
    }
    // A program that waits for the same tasks again and again must not leave a listener with them each time.
    for (key, task) in tasks.iter().enumerate() {
        completions.unwatch(key, task);
    }
    (0..tasks.len()).partition(|&key| tasks[key].is_finished())
}

/// Waits for all tasks and gives their results, in the tasks' order.
///
/// # Errors
///
/// The first error to happen, as soon as it happens: tasks that nobody has started are cancelled then, and those
/// that run see [`cancelled()`](crate::cancelled).
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, join_all};
///
/// # fn main() -> Result<(), fanfold::TaskError> {
/// let tasks = (1..4).map(|n| Pool::cpu_default().submit(move || n * n));
/// assert_eq!(join_all(tasks)?, [1, 4, 9]);
/// # Ok(())
/// # }
/// ```
pub fn join_all<T>(tasks: impl IntoIterator<Item = Task<T>>) -> Result<Vec<T>, TaskError> {
    let mut ended = as_completed(tasks);
    ended.all_at_once = true;
    let mut results: DropEach<Option<T>> = DropEach(ended.tasks.iter().map(|_| None).collect());
    while let Some((key, outcome)) = ended.next() {
        match outcome {
            Ok(result) => results.0[key] = Some(result),
            Err(error) => {
                ended.cancel_rest();
                // Not by returning: what is returned would leak if a destructor panics.
                drop(ended);
                drop(results);
                return Err(error);
            }
        }
    }
    Ok(results.into_vec().into_iter().flatten().collect())
}

/// Waits for the first task that returns, and gives its result. Of the others, those that nobody has started are
/// cancelled, and those that run see [`cancelled()`](crate::cancelled).
///
/// It never runs a task itself, but on a worker when the operating system refuses the task a thread.
///
/// # Errors
///
/// The last task's error if none returns, and [`TaskError::Cancelled`] if there are no tasks.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, first};
///
/// # fn main() -> Result<(), fanfold::TaskError> {
/// let mirrors = ["a.example", "b.example"];
/// let fastest = first(mirrors.map(|mirror| Pool::io_default().submit(move || mirror)))?;
/// assert!(mirrors.contains(&fastest));
/// # Ok(())
/// # }
/// ```
pub fn first<T>(tasks: impl IntoIterator<Item = Task<T>>) -> Result<T, TaskError> {
    let mut ended = as_completed(tasks);
    let mut last = TaskError::Cancelled;
    // What was looked at before is not claimed.
    ended.unclaimed = usize::MAX;
    while let Some((_, outcome)) = ended.next() {
        match outcome {
            Ok(result) => {
                ended.cancel_rest();
                // Not by returning: the result would leak if a destructor of another one panics.
                drop(ended);
                return Ok(result);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl<T> AsCompleted<T> {
    fn cancel_rest(&self) {
        // The last ones first: a worker that is told to stop must not find another of them in the queue.
        for task in self.tasks.iter().flatten().rev() {
            task.cancel();
        }
    }
}
