//! [`wait`]: which of several tasks are done, after waiting for one or all of them.

use std::time::{Duration, Instant};

use super::Task;
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
    let completions = Completions::new();
    for (key, task) in tasks.iter().enumerate() {
        completions.watch(key, task);
    }
    let mut ended = 0;
    while ended < tasks.len() {
        let enough = if until == Until::First { 1 } else { tasks.len() - ended };
        let claim = || tasks.iter().any(Task::claim_if_threads_refused);
        let next = completions.try_next().or_else(|| completions.wait_next(enough, deadline, claim));
        let Some(key) = next else { break };
        ended += 1;
        if until == Until::First || (until == Until::FirstError && tasks[key].has_failed()) {
            break;
        }
    }
    // Otherwise a program that waits for the same tasks in a loop would add a listener to each of them every time.
    for (key, task) in tasks.iter().enumerate() {
        completions.unwatch(key, task);
    }
    (0..tasks.len()).partition(|&key| tasks[key].is_finished())
}
