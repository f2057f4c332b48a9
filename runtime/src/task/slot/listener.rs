//! [`Listener`]: what a task notifies when it ends.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::error::TaskError;
use crate::sys::unwind;

/// How a task ended, as the callback of [`Task::on_done`](crate::Task::on_done) sees it. The result stays with the
/// task.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    error: Option<&'a TaskError>,
}

impl<'a> Outcome<'a> {
    /// Whether the function returned.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.error.is_none()
    }

    /// Why the function did not return.
    #[must_use]
    pub fn error(&self) -> Option<&'a TaskError> {
        self.error
    }
}

/// A registration to be notified once, when a task ends.
pub(crate) enum Listener {
    /// Wakes a thread that waits for the task.
    Thread(Waker),
    /// Adds the task's key to a queue of completions.
    Sink(Arc<dyn CompletionSink>, usize),
    /// Wakes the async task that polled this one last. Each poll replaces it, as executors may bring a new waker each
    /// time.
    Poller(Waker),
    Callback(Box<dyn FnOnce(&Outcome<'_>) + Send>),
    /// Notifies nobody: notes that the task was asked to stop at its deadline, and how long it had.
    Late(Duration),
}

/// A receiver of the ends of several tasks.
pub(crate) trait CompletionSink: Send + Sync {
    /// The task with this key has ended; with `failed` it has no result.
    fn complete(&self, key: usize, failed: bool);
}

impl Listener {
    /// Notifies a waker or a sink. Called after `DONE`, so that the result can be taken.
    #[inline]
    pub(super) fn notify(self, failed: bool) {
        unwind::contain(|| match self {
            Self::Thread(waker) | Self::Poller(waker) => waker.wake(),
            Self::Sink(sink, key) => sink.complete(key, failed),
            Self::Callback(_) | Self::Late(_) => {}
        });
    }
}

/// Runs a callback with the outcome, before `DONE`. Returns any other listener, to be notified after it.
#[inline]
pub(super) fn run_callback<T>(outcome: &Result<T, Box<TaskError>>, listener: Listener) -> Option<Listener> {
    match listener {
        Listener::Thread(_) | Listener::Sink(..) | Listener::Poller(_) => Some(listener),
        Listener::Callback(call) => {
            // A panic must not keep the task from ending.
            unwind::contain(|| call(&Outcome { error: outcome.as_ref().err().map(Box::as_ref) }));
            None
        }
        Listener::Late(_) => None,
    }
}
