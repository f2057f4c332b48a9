//! [`JoinTimeout`]: the error of [`Task::join_timeout`] and [`CancelOnDrop::join_timeout`].

use std::fmt;

use super::{CancelOnDrop, Task};
use crate::error::TaskError;

/// Why [`Task::join_timeout`] or [`CancelOnDrop::join_timeout`] has no result. `H` is the handle that was joined.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fanfold::{JoinTimeout, Pool};
///
/// let (release, released) = std::sync::mpsc::channel::<()>();
/// let task = Pool::io_default().submit(move || released.recv().is_ok());
/// match task.join_timeout(Duration::from_millis(1)) {
///     Ok(_) => unreachable!("it waits for `release`"),
///     Err(JoinTimeout::Failed(error)) => panic!("{error}"),
///     Err(JoinTimeout::TimedOut(task)) => {
///         release.send(()).ok();
///         assert!(task.join().unwrap()); // it has gone on meanwhile
///     }
/// }
/// ```
pub enum JoinTimeout<H> {
    /// The time was over first. The task goes on: join it again, cancel it, or drop the handle, which detaches a
    /// [`Task`] and cancels a [`CancelOnDrop`].
    TimedOut(H),
    /// The task ended without a result.
    Failed(TaskError),
}

impl<H> JoinTimeout<H> {
    /// The handle, if the task was not done in time.
    #[must_use]
    pub fn into_task(self) -> Option<H> {
        match self {
            Self::TimedOut(task) => Some(task),
            Self::Failed(_) => None,
        }
    }
}

impl<H: fmt::Debug> fmt::Debug for JoinTimeout<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(task) => f.debug_tuple("TimedOut").field(task).finish(),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

impl<H> JoinTimeout<H> {
    /// Writes the message; `function` is that of a handle's task.
    fn write(&self, f: &mut fmt::Formatter<'_>, function: impl FnOnce(&H) -> &str) -> fmt::Result {
        match self {
            Self::TimedOut(task) => write!(f, "`{}` was not done in time, and goes on", function(task)),
            Self::Failed(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl<T> fmt::Display for JoinTimeout<Task<T>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |task| task.slot.function())
    }
}

impl<T> fmt::Display for JoinTimeout<CancelOnDrop<T>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |task| task.task().slot.function())
    }
}

impl<T> std::error::Error for JoinTimeout<Task<T>> {}
impl<T> std::error::Error for JoinTimeout<CancelOnDrop<T>> {}
