//! [`JoinTimeout`]: the error of [`Task::join_timeout`].

use std::fmt;

use super::Task;
use crate::error::TaskError;

/// Why [`Task::join_timeout`] has no result.
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
pub enum JoinTimeout<T> {
    /// The time was over first. The task goes on: join it again, cancel it, or drop it to detach it.
    TimedOut(Task<T>),
    /// The task ended without a result.
    Failed(TaskError),
}

impl<T> JoinTimeout<T> {
    /// The task, if it was not done in time.
    #[must_use]
    pub fn into_task(self) -> Option<Task<T>> {
        match self {
            Self::TimedOut(task) => Some(task),
            Self::Failed(_) => None,
        }
    }
}

impl<T> fmt::Debug for JoinTimeout<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(task) => f.debug_tuple("TimedOut").field(task).finish(),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

impl<T> fmt::Display for JoinTimeout<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(task) => write!(f, "`{}` was not done in time, and goes on", task.slot.function()),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<T> std::error::Error for JoinTimeout<T> {}
