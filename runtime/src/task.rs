//! [`Task`]: the handle to a function that runs elsewhere.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::TaskError;
use crate::park;
use crate::slot::{Handle, Outcome};

/// A function call that runs on a pool, and will have a result.
///
/// `name::submit(..)` of an annotated function gives one. [`join`](Self::join) waits for the result, `.await`
/// does so in any async runtime, and dropping the handle lets the call go on by itself.
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
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::current_exe()?;
/// let task = size_of_file::submit(path); // runs while this thread goes on
/// let bytes = task.join()??; // the first `?` is the task's, the second the function's
/// assert!(bytes > 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a task detaches it: join or await it to see its result"]
pub struct Task<T> {
    slot: Arc<dyn Handle<T>>,
}

impl<T> Task<T> {
    pub(crate) fn new(slot: Arc<dyn Handle<T>>) -> Self {
        Self { slot }
    }

    /// Waits for the result.
    ///
    /// On a worker of the task's own pool, a task that nobody has started yet runs here and now, so a function
    /// may submit to its own pool and join, at any pool size.
    ///
    /// # Errors
    ///
    /// [`TaskError::Panicked`] if the function panicked, [`TaskError::Cancelled`] if the task was cancelled, and
    /// [`TaskError::PoolClosed`] if its pool was closed first.
    ///
    /// # Panics
    ///
    /// If the result was already taken by awaiting this very task.
    pub fn join(self) -> Result<T, TaskError> {
        let slot = &*self.slot;
        if slot.core().is_current() && slot.run_if_queued() {
            return self.into_outcome();
        }
        if !park::look(|| slot.is_done()) && slot.wake_when_done(&park::waker()) {
            park::wait_until(|| slot.is_done());
        }
        self.into_outcome()
    }

    fn into_outcome(self) -> Outcome<T> {
        self.slot.take().expect("the result of this task was taken before, by awaiting it")
    }

    /// Whether the result is there, or will never be.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.slot.is_done()
    }

    /// Whether a worker is at it now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.slot.is_running()
    }

    /// Takes a task back that nobody has started.
    ///
    /// Returns `true` if the function will never run: its arguments are dropped before this returns, and joining
    /// gives [`TaskError::Cancelled`]. A task that runs already is not stopped.
    #[must_use = "a task that runs already is not stopped"]
    pub fn cancel(&self) -> bool {
        self.slot.cancel(TaskError::Cancelled)
    }
}

/// Awaiting a task needs no runtime of Fanfold's: any executor can poll it.
impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.slot.is_done() && self.slot.wake_when_done(cx.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(self.slot.take().expect("this task was polled after it gave its result"))
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.slot.is_done(), self.slot.is_running()) {
            (true, _) => "done",
            (_, true) => "running",
            _ => "queued",
        };
        f.debug_struct("Task").field("function", &self.slot.function()).field("state", &state).finish()
    }
}
