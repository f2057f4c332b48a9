//! [`join_all`] and [`first`]: the results of all of several tasks, or of the first one that returns.

use super::Task;
use super::as_completed::as_completed;
use crate::error::TaskError;
use crate::sys::drop_all::DropEach;

/// Waits for all tasks and returns their results, in the order of the tasks.
///
/// # Errors
///
/// The first error to happen, as soon as it happens. The tasks that have not started are cancelled then, and those that
/// run see [`cancelled()`](crate::cancelled) become `true`.
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
#[doc(alias = "gather")]
pub fn join_all<T>(tasks: impl IntoIterator<Item = Task<T>>) -> Result<Vec<T>, TaskError> {
    let mut ended = as_completed(tasks);
    ended.needs_all = true;
    let mut results: DropEach<Option<T>> = DropEach(ended.tasks.iter().map(|_| None).collect());
    while let Some((key, outcome)) = ended.next() {
        match outcome {
            Ok(result) => results.0[key] = Some(result),
            Err(error) => {
                ended.cancel_remaining();
                // Dropped before the return: a value that is being returned leaks if a destructor panics.
                drop(ended);
                drop(results);
                return Err(error);
            }
        }
    }
    Ok(results.into_vec().into_iter().flatten().collect())
}

/// Waits for the first task that returns, and gives its result. Of the other tasks, those that have not started are
/// cancelled, and those that run see [`cancelled()`](crate::cancelled) become `true`.
///
/// It does not run a task itself, with one exception: a worker runs a task to which the operating system refuses a
/// thread.
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
#[doc(alias = "select")]
pub fn first<T>(tasks: impl IntoIterator<Item = Task<T>>) -> Result<T, TaskError> {
    let mut ended = as_completed(tasks);
    let mut last = TaskError::Cancelled;
    // No task is claimed: a long one would keep this thread from the first result.
    ended.unclaimed = usize::MAX;
    while let Some((_, outcome)) = ended.next() {
        match outcome {
            Ok(result) => {
                ended.cancel_remaining();
                // Dropped before the return: a value that is being returned leaks if a destructor panics.
                drop(ended);
                return Ok(result);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
