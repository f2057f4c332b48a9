//! [`CancelOnDrop`]: a task that ends with its handle.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Task;
use crate::error::TaskError;

impl<T> Task<T> {
    /// Makes the task end with its handle: dropping the handle before the result is there [cancels](Self::cancel) the
    /// task, where dropping a [`Task`] detaches it.
    ///
    /// So a request whose client disconnects, or that `tokio::time::timeout` gives up, stops its work: work in the
    /// queue never runs, work that runs sees [`cancelled()`](crate::cancelled), an `async fn` is dropped at its next
    /// `.await`, and a worker process is killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::{Pool, TaskError};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::io("single").threads(1).build()?;
    /// let (release, released) = std::sync::mpsc::channel::<()>();
    /// let first = pool.submit(move || released.recv().is_err());
    /// let second = pool.submit(|| unreachable!("the one worker is busy")).cancel_on_drop();
    /// drop(second); // as when the future of a request is dropped
    /// drop(release);
    /// assert!(first.join()?);
    ///
    /// let third = pool.submit(|| 7).cancel_on_drop();
    /// assert_eq!(third.join()?, 7); // or `third.await?`
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "AbortOnDrop")]
    pub fn cancel_on_drop(self) -> CancelOnDrop<T> {
        CancelOnDrop { task: Some(self) }
    }
}

/// A task that is cancelled when this handle is dropped; [`Task::cancel_on_drop`] makes one.
#[must_use = "dropping it cancels the task: join or await it"]
pub struct CancelOnDrop<T> {
    /// `None` only once `self` was consumed.
    task: Option<Task<T>>,
}

impl<T> CancelOnDrop<T> {
    /// Waits for the result, as [`Task::join`] does.
    ///
    /// # Errors
    ///
    /// As [`Task::join`].
    ///
    /// # Panics
    ///
    /// As [`Task::join`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> Result<T, TaskError> {
        self.into_task().join()
    }

    /// The task, which is no longer cancelled when it is dropped.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn into_task(mut self) -> Task<T> {
        self.task.take().expect("only this method, which consumes the handle, takes the task")
    }
}

/// Any executor can poll it, as a [`Task`]. Dropping the future cancels the task.
impl<T> Future for CancelOnDrop<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.task.as_mut().expect("only `into_task`, which consumes the handle, takes the task");
        Pin::new(task).poll(cx)
    }
}

impl<T> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.as_ref().filter(|task| !task.is_finished()) {
            task.cancel();
        }
    }
}

impl<T> fmt::Debug for CancelOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelOnDrop").field(&self.task).finish()
    }
}
