//! [`AbortHandle`]: cancels a task without owning its result.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Weak;

use super::Task;
use super::slot::TaskId;
use crate::pool::timer::Expire;
use crate::sys::unwind;

/// What an [`AbortHandle`] needs of a task, whatever its work and its result are.
///
/// The timer ends it when the [`Deadline`](crate::Deadline) is over by which it must have started.
pub(crate) trait Abort: Expire {
    fn cancel(&self) -> bool;
    fn is_done(&self) -> bool;
}

/// Cancels a task from elsewhere; [`Task::abort_handle`] makes one.
///
/// It keeps neither the task's arguments nor its result alive, and may be cloned and sent to any thread.
#[doc(alias = "CancellationToken")]
#[derive(Clone)]
pub struct AbortHandle {
    /// The task's slot. It is gone when the task has ended and its [`Task`] is dropped.
    task: Weak<dyn Abort>,
    id: TaskId,
    /// Drops the future of an `async fn` at its next `.await`.
    #[cfg(feature = "tokio")]
    future: Option<tokio::task::AbortHandle>,
}

impl AbortHandle {
    pub(crate) fn new(task: Weak<dyn Abort>, id: TaskId) -> Self {
        Self {
            task,
            id,
            #[cfg(feature = "tokio")]
            future: None,
        }
    }

    /// The task's slot.
    pub(crate) fn into_task(self) -> Weak<dyn Abort> {
        self.task
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn with_future(self, future: tokio::task::AbortHandle) -> Self {
        Self { future: Some(future), ..self }
    }

    /// Cancels the task if it has not started, and asks it to stop if it runs, as [`Task::cancel`] does. Returns `true`
    /// if the function has not run and never will. Once the task has ended and its [`Task`] is dropped, it may be
    /// `false` in that case, too.
    #[doc(alias = "cancel")]
    #[allow(clippy::must_use_candidate, reason = "most callers only want to cancel")]
    pub fn abort(&self) -> bool {
        let task = self.task.upgrade();
        let never_runs = task.as_ref().is_some_and(|task| task.cancel());
        #[cfg(feature = "tokio")]
        if let Some(future) = &self.future {
            future.abort();
        }
        // This may be the last reference to a task that has just ended, whose result may panic as it is dropped.
        unwind::discard(task);
        never_runs
    }

    /// Whether the task is done: it has returned, failed, or will never run.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let task = self.task.upgrade();
        let is_done = task.as_ref().is_none_or(|task| task.is_done());
        unwind::discard(task);
        is_done
    }

    /// The task's number: [`Task::id`].
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }
}

// As for `Task`: no broken invariant of a task that has panicked can be observed through it.
impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("id", &self.id.to_string())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

impl<T> Task<T> {
    /// A handle that cancels the task, for code that does not own the [`Task`]: a list of all requests, a Ctrl-C
    /// handler.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::{Pool, cancelled};
    ///
    /// let task = Pool::io_default().submit(|| {
    ///     while !cancelled() {
    ///         std::thread::yield_now();
    ///     }
    ///     "stopped"
    /// });
    /// let abort = task.abort_handle();
    /// while !task.is_running() {
    ///     std::thread::yield_now();
    /// }
    /// let elsewhere = std::thread::spawn(move || abort.abort());
    /// assert_eq!(task.join().unwrap(), "stopped");
    /// assert!(!elsewhere.join().unwrap(), "it ran, and was asked to stop");
    /// ```
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        self.slot.clone().abort_handle()
    }
}
