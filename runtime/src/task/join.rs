//! [`join_all`] and [`first`], and their async forms: the results of all of several tasks, or of the first one that
//! returns.

use std::future::Future;

use super::Task;
use super::as_completed::{AsCompleted, as_completed};
use super::completed_stream::Completed;
use crate::error::TaskError;
use crate::pool::runtime_warning::warn_if_waiting;
use crate::sys::drop_all::DropEach;

/// Waits for all tasks and returns their results, in the order of the tasks.
///
/// # Errors
///
/// The first error to happen, as soon as it happens. The tasks that have not started are cancelled then, and those that
/// run see [`cancelled()`](crate::cancelled) become `true`.
///
/// # Panics
///
/// If the result of a task was already taken by awaiting that very task.
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
#[cfg_attr(debug_assertions, track_caller)]
pub fn join_all<T>(tasks: impl IntoIterator<Item = Task<T>>) -> Result<Vec<T>, TaskError> {
    warn_if_waiting("join_all", "await `join_all_async`, or call it in `spawn_blocking`");
    let mut ended = as_completed(tasks);
    ended.needs_all = true;
    let mut results = Results::of(&ended);
    while let Some(next) = ended.next() {
        if let Err(error) = results.add(next) {
            ended.cancel_remaining();
            // Dropped before the return: a value that is being returned leaks if a destructor panics.
            drop(ended);
            drop(results);
            return Err(error);
        }
    }
    Ok(results.into_vec())
}

/// Waits for all tasks in async code, as [`join_all`] does on a thread. Any executor can poll it.
///
/// Dropping the future cancels the tasks.
///
/// # Errors
///
/// As [`join_all`].
///
/// # Panics
///
/// If the result of a task was already taken by awaiting that very task, and if the future is polled after it was ready.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, join_all_async};
///
/// # pollster::block_on(async {
/// let tasks = (1..4).map(|n| Pool::cpu_default().submit(move || n * n));
/// assert_eq!(join_all_async(tasks).await.unwrap(), [1, 4, 9]);
/// # });
/// ```
#[doc(alias = "gather")]
#[doc(alias = "try_join_all")]
pub fn join_all_async<T, I>(tasks: I) -> impl Future<Output = Result<Vec<T>, TaskError>> + use<T, I>
where
    I: IntoIterator<Item = Task<T>>,
{
    let mut ended = CancelRemaining(as_completed(tasks).stream());
    async move {
        let mut results = Results::of(&ended.0.all);
        while let Some(next) = ended.0.next().await {
            if let Err(error) = results.add(next) {
                drop(ended);
                drop(results);
                return Err(error);
            }
        }
        Ok(results.into_vec())
    }
}

/// Results of tasks, by their indexes.
struct Results<T>(DropEach<Option<T>>);

impl<T> Results<T> {
    fn of(tasks: &AsCompleted<T>) -> Self {
        Self(DropEach(tasks.tasks.iter().map(|_| None).collect()))
    }

    fn add(&mut self, (index, outcome): (usize, Result<T, TaskError>)) -> Result<(), TaskError> {
        self.0.0[index] = Some(outcome?);
        Ok(())
    }

    fn into_vec(self) -> Vec<T> {
        self.0.into_vec().into_iter().flatten().collect()
    }
}

/// Cancels the tasks that have not ended when it is dropped.
struct CancelRemaining<T>(Completed<T>);

impl<T> Drop for CancelRemaining<T> {
    fn drop(&mut self) {
        self.0.all.cancel_remaining();
    }
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
/// # Panics
///
/// If the result of a task was already taken by awaiting that very task.
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
#[cfg_attr(debug_assertions, track_caller)]
pub fn first<T>(tasks: impl IntoIterator<Item = Task<T>>) -> Result<T, TaskError> {
    warn_if_waiting("first", "await `first_async`, or call it in `spawn_blocking`");
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

/// Waits in async code for the first task that returns, as [`first`] does on a thread. Any executor can poll it.
///
/// The other tasks are cancelled then; and all of them if the future is dropped.
///
/// # Errors
///
/// As [`first`].
///
/// # Panics
///
/// If the result of a task was already taken by awaiting that very task, and if the future is polled after it was ready.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, first_async};
///
/// # pollster::block_on(async {
/// let mirrors = ["a.example", "b.example"];
/// let tasks = mirrors.map(|mirror| Pool::io_default().submit(move || mirror));
/// assert!(mirrors.contains(&first_async(tasks).await.unwrap()));
/// # });
/// ```
#[doc(alias = "select_ok")]
pub fn first_async<T, I>(tasks: I) -> impl Future<Output = Result<T, TaskError>> + use<T, I>
where
    I: IntoIterator<Item = Task<T>>,
{
    let mut ended = CancelRemaining(as_completed(tasks).stream());
    async move {
        let mut last = TaskError::Cancelled;
        while let Some((_, outcome)) = ended.0.next().await {
            match outcome {
                Ok(result) => {
                    drop(ended);
                    return Ok(result);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
