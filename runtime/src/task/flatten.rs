//! [`FlatTask`]: a task of a function that returns `Result`, with one error instead of two.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Task;
use crate::error::TaskError;

/// The result of a function whose task can be [flattened](Task::flatten): a `Result` whose error type is made from a
/// [`TaskError`].
#[diagnostic::on_unimplemented(
    message = "`flatten` needs a function that returns a `Result` whose error is made from `fanfold::TaskError`, and \
               this one returns `{Self}`",
    label = "no `Result<_, E>` with `E: From<fanfold::TaskError>`",
    note = "for an error type of your own, write `impl From<fanfold::TaskError>`; `std::io::Error`, \
            `Box<dyn Error + Send + Sync>` and `anyhow::Error` have it",
    note = "without `flatten`, `join()?` or `.await?` takes the task's error and leaves the function's own result"
)]
pub trait FlattenResult<T, E>: sealed::Sealed + Sized {
    #[doc(hidden)]
    fn flatten(task: Task<Self>) -> FlatTask<T, E>;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<TaskError>> FlattenResult<T, E> for Result<T, E> {
    fn flatten(task: Task<Self>) -> FlatTask<T, E> {
        FlatTask(task)
    }
}

mod sealed {
    /// Only a `Result` can be flattened.
    pub trait Sealed {}
    impl<T, E> Sealed for Result<T, E> {}
}

impl<R> Task<R> {
    /// Makes one result of the task's and the function's, so that one `?` takes both errors: the function's error type
    /// must be made from a [`TaskError`], as `std::io::Error`, `Box<dyn Error + Send + Sync>` and `anyhow::Error` are.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::parallel;
    ///
    /// #[parallel(kind = "io")]
    /// fn size_of_file(path: std::path::PathBuf) -> std::io::Result<u64> {
    ///     Ok(std::fs::metadata(path)?.len())
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::current_exe()?;
    /// let task = size_of_file::submit(path).flatten();
    /// let bytes = task.join()?; // or `task.await?`
    /// assert!(bytes > 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn flatten<T, E>(self) -> FlatTask<T, E>
    where
        R: FlattenResult<T, E>,
    {
        R::flatten(self)
    }
}

/// A task whose function returns `Result`, with one error for both; [`Task::flatten`] makes one.
#[must_use = "dropping a task detaches it: join or await it to see its result"]
pub struct FlatTask<T, E>(Task<Result<T, E>>);

impl<T, E: From<TaskError>> FlatTask<T, E> {
    /// Waits for the result, as [`Task::join`] does.
    ///
    /// # Errors
    ///
    /// The function's own error, or the task's, turned into the same type.
    ///
    /// # Panics
    ///
    /// As [`Task::join`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> Result<T, E> {
        self.0.join()?
    }
}

impl<T, E> FlatTask<T, E> {
    /// The task, with its two results: for [`as_completed`](crate::as_completed), [`join_all`](crate::join_all) and
    /// others that take tasks.
    pub fn into_task(self) -> Task<Result<T, E>> {
        self.0
    }
}

/// Any executor can poll it, as a [`Task`]. Dropping the future detaches the task.
///
/// # Panics
///
/// If it is polled after it was ready, as a [`Task`].
impl<T, E: From<TaskError>> Future for FlatTask<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| outcome?)
    }
}

impl<T, E> fmt::Debug for FlatTask<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
