//! [`wait`] and [`wait_async`]: which of several tasks are done, after waiting for one or all of them.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Task;
use super::alarm::Alarm;
use super::completions::Completions;

/// The condition for which [`wait`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One task has ended.
    First,
    /// One task has ended without a result, or all have ended.
    FirstError,
    /// All tasks have ended.
    All,
}

/// Waits for tasks, for at most `limit`. Returns the indexes of the tasks that are done, and of those that are not.
///
/// It does not run a task itself, with one exception: a worker that waits without a `limit` runs a task to which the
/// operating system refuses a thread.
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
    let mut watched = Watched::new(tasks, until);
    while !watched.is_over() {
        let enough = if until == Until::First { 1 } else { tasks.len() - watched.ended };
        let claim = || tasks.iter().any(Task::claim_if_threads_refused);
        let completions = &watched.completions;
        let next = completions.try_next().or_else(|| completions.wait_next(enough, deadline, claim));
        let Some(key) = next else { break };
        watched.note_end(key);
    }
    watched.indexes()
}

/// Waits for tasks in async code, for at most `limit`, as [`wait`] does on a thread. Dropping the future leaves the
/// tasks as they are.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, Until, wait_async};
///
/// # pollster::block_on(async {
/// let (release, released) = std::sync::mpsc::channel::<()>();
/// let slow = Pool::io_default().submit(move || drop(released.recv()));
/// let quick = Pool::io_default().submit(|| ());
///
/// let (done, pending) = wait_async(&[slow, quick], Until::First, None).await;
/// assert_eq!((done, pending), (vec![1], vec![0]));
/// # drop(release);
/// # });
/// ```
pub async fn wait_async<T>(tasks: &[Task<T>], until: Until, limit: Option<Duration>) -> (Vec<usize>, Vec<usize>) {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let alarm = deadline.map(Alarm::at);
    let mut watched = Watched::new(tasks, until);
    poll_fn(|cx| {
        // Registered before the checks: a task that ends in between wakes this waker.
        watched.completions.wake_on_next(cx.waker());
        if let Some(alarm) = &alarm {
            alarm.set(cx.waker().clone());
        }
        while !watched.is_over() {
            let Some(key) = watched.completions.try_next() else {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    break;
                }
                watched.completions.check_fork();
                return Poll::Pending;
            };
            watched.note_end(key);
        }
        Poll::Ready(())
    })
    .await;
    watched.indexes()
}

/// Tasks that are watched for a wait, until it is dropped.
struct Watched<'a, T> {
    tasks: &'a [Task<T>],
    until: Until,
    completions: Completions,
    /// The number of tasks that were seen to end.
    ended: usize,
    /// Whether the one that `until` asks for has ended.
    found: bool,
}

impl<'a, T> Watched<'a, T> {
    fn new(tasks: &'a [Task<T>], until: Until) -> Self {
        let completions = Completions::new();
        for (key, task) in tasks.iter().enumerate() {
            completions.watch(key, task);
        }
        Self { tasks, until, completions, ended: 0, found: false }
    }

    fn note_end(&mut self, key: usize) {
        self.ended += 1;
        self.found |= match self.until {
            Until::First => true,
            Until::FirstError => self.tasks[key].has_failed(),
            Until::All => false,
        };
    }

    fn is_over(&self) -> bool {
        self.found || self.ended == self.tasks.len()
    }

    /// The indexes of the tasks that are done, and of the others.
    fn indexes(&self) -> (Vec<usize>, Vec<usize>) {
        (0..self.tasks.len()).partition(|&key| self.tasks[key].is_finished())
    }
}

// Otherwise a program that waits for the same tasks in a loop would add a listener to each of them every time.
impl<T> Drop for Watched<'_, T> {
    fn drop(&mut self) {
        for (key, task) in self.tasks.iter().enumerate() {
            self.completions.unwatch(key, task);
        }
    }
}
