//! [`CancelOnDrop`]: a task that ends with its handle.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::slot::TaskId;
use super::{AbortHandle, JoinTimeout, Task};
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

    /// Waits for the result, for at most `limit`, as [`Task::join_timeout`] does.
    ///
    /// # Errors
    ///
    /// [`JoinTimeout::TimedOut`] with this handle if the time was over: join it again, or drop it to cancel the task.
    /// [`JoinTimeout::Failed`] if the task has no result: see [`Task::join`].
    ///
    /// # Panics
    ///
    /// As [`Task::join`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use fanfold::{JoinTimeout, Pool, cancelled};
    ///
    /// let task = Pool::io_default().submit(|| while !cancelled() { std::thread::yield_now() }).cancel_on_drop();
    /// let Err(JoinTimeout::TimedOut(task)) = task.join_timeout(Duration::from_millis(1)) else {
    ///     panic!("it runs until it is cancelled")
    /// };
    /// assert!(!task.cancel(), "it runs, and is asked to stop");
    /// task.join()?;
    /// # Ok::<(), fanfold::TaskError>(())
    /// ```
    pub fn join_timeout(self, limit: Duration) -> Result<T, JoinTimeout<Self>> {
        if self.task().wait(limit) {
            self.into_task().into_outcome().map_err(JoinTimeout::Failed)
        } else {
            Err(JoinTimeout::TimedOut(self))
        }
    }

    /// Whether the task is done: its result is there, or will never be.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task().is_finished()
    }

    /// Whether a worker runs the task now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.task().is_running()
    }

    /// Cancels the task now, as [`Task::cancel`] does; joining the handle gives its result.
    #[doc(alias = "abort")]
    #[allow(clippy::must_use_candidate, reason = "most callers only want to cancel")]
    pub fn cancel(&self) -> bool {
        self.task().cancel()
    }

    /// A handle that cancels the task from elsewhere: [`Task::abort_handle`].
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        self.task().abort_handle()
    }

    /// The task's number: [`Task::id`].
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.task().id()
    }

    pub(super) fn task(&self) -> &Task<T> {
        self.task.as_ref().expect("only `into_task`, which consumes the handle, takes the task")
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
///
/// # Panics
///
/// If it is polled after it was ready, as a [`Task`].
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
