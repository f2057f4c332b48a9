//! Who is told when a task has ended, and of what.

use std::sync::Arc;
use std::task::Waker;

use crate::error::TaskError;
use crate::sys::unwind;

/// How a task ended, as [`Task::on_done`](crate::Task::on_done) tells it. The result itself belongs to the task.
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

    /// Why it did not.
    #[must_use]
    pub fn error(&self) -> Option<&'a TaskError> {
        self.error
    }
}

/// What is done when a task has ended.
pub(crate) enum Listener {
    /// Of a thread that sleeps.
    Wake(Waker),
    /// The list of completions that the task's key goes to.
    Relay(Arc<dyn Relay>, usize),
    /// As `Wake`, of whoever polled the task last: an executor may come with another waker each time.
    Polled(Waker),
    Call(Box<dyn FnOnce(&Outcome<'_>) + Send>),
}

/// Is told that a task has ended, and tells others.
pub(crate) trait Relay: Send + Sync {
    /// The task with this key has ended; `failed` says that it has no result.
    fn ended(&self, key: usize, failed: bool);
}

impl Listener {
    /// Wakes whoever is to be woken.
    #[inline]
    pub(super) fn wake(self, failed: bool) {
        unwind::contain(|| match self {
            Self::Wake(waker) | Self::Polled(waker) => waker.wake(),
            Self::Relay(relay, key) => relay.ended(key, failed),
            Self::Call(_) => {}
        });
    }
}

/// Calls a callback back, and keeps a waker for when the outcome can be taken.
#[inline]
pub(super) fn tell<T>(outcome: &Result<T, Box<TaskError>>, listener: Listener) -> Option<Listener> {
    match listener {
        Listener::Wake(_) | Listener::Relay(..) | Listener::Polled(_) => Some(listener),
        Listener::Call(call) => {
            // Whoever waits for the task must not suffer.
            unwind::contain(|| call(&Outcome { error: outcome.as_ref().err().map(Box::as_ref) }));
            None
        }
    }
}
