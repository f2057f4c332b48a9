//! [`JoinTimeout`]: the error of [`Task::join_timeout`].

use std::fmt;

use super::Task;
use crate::error::TaskError;

/// Why [`Task::join_timeout`] has no result: its time was over, or the task failed.
pub struct JoinTimeout<T> {
    pub(super) task: Option<Task<T>>,
    pub(super) error: TaskError,
}

impl<T> JoinTimeout<T> {
    /// The task, if it was not done in time.
    #[must_use]
    pub fn into_task(self) -> Option<Task<T>> {
        self.task
    }

    /// Why there is no result: [`TaskError::TimedOut`], or the task's own error.
    #[must_use]
    pub fn error(&self) -> &TaskError {
        &self.error
    }

    /// Why there is no result. A task that was not done in time is detached.
    #[must_use]
    pub fn into_error(self) -> TaskError {
        self.error
    }
}

impl<T> fmt::Debug for JoinTimeout<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinTimeout").field("error", &self.error).field("task", &self.task).finish()
    }
}

impl<T> fmt::Display for JoinTimeout<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.task, &self.error) {
            (Some(_), TaskError::TimedOut { after }) => write!(f, "the task was not done within {after:?}"),
            (_, error) => error.fmt(f),
        }
    }
}

impl<T> std::error::Error for JoinTimeout<T> {}

impl<T> From<JoinTimeout<T>> for TaskError {
    fn from(timeout: JoinTimeout<T>) -> Self {
        timeout.error
    }
}
