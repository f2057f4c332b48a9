//! What a [`Task`](crate::Task) handle does with its slot, whatever the work's type.

use std::sync::Arc;

use super::listener::{Listener, Relay, tell};
use super::{Slot, TaskId};
use crate::error::TaskError;
use crate::pool::block_in_place::Blocked;
use crate::pool::{self, Core};

/// The handle's side of a slot.
pub(crate) trait Handle<T>: Send + Sync {
    fn id(&self) -> TaskId;
    fn is_done(&self) -> bool;
    fn is_running(&self) -> bool;
    /// Whether the task is done, and has no result.
    fn has_failed(&self) -> bool;
    /// Tells the listener when the task is done; gives it back if the task is done already.
    fn listen(&self, listener: Listener) -> Option<Listener>;
    /// Tells a relay no more that was to be told this key.
    fn forget(&self, relay: &Arc<dyn Relay>, key: usize);
    /// Runs a listener of a task that is done.
    fn tell(&self, listener: Listener);
    /// The outcome, once; `None` before the task is done and after it was taken.
    fn take(&self) -> Option<Result<T, TaskError>>;
    /// Ends a task that nobody has started and returns `true`; asks one that runs to stop.
    fn cancel(&self) -> bool;
    /// As `cancel`, but a worker process lives on.
    fn withdraw(&self) -> bool {
        self.cancel()
    }
    /// Runs the task here if nobody has started it.
    fn run_if_queued(&self) -> bool;
    /// Runs the task on this thread, a worker, if nobody has started it and this worker may.
    fn claim(&self) -> bool {
        self.may_be_claimed() && pool::run_claimed(self.core(), || self.run_if_queued())
    }
    /// Whether a thread that waits may run the task in its own time.
    fn may_be_claimed(&self) -> bool;
    /// Whether a worker of its own pool that waits may run it, where no other thread can be had.
    fn may_be_claimed_by_own(&self) -> bool {
        self.may_be_claimed()
    }
    fn core(&self) -> &Arc<Core>;
    fn function(&self) -> &'static str;
    /// Whether an async runtime polls the task, so that a thread which waits may [block](Self::blocked) it.
    fn is_polled(&self) -> bool {
        false
    }
    /// What the thread that asks blocks if it waits for the task.
    fn blocked(&self) -> Blocked {
        Blocked::Nothing
    }
}

/// What a slot holds: a closure, which any thread may run, or a future, which only its runtime polls.
pub(crate) trait Work<T>: Sized {
    /// Whether it waits in its pool's queue, and not with a runtime.
    const QUEUED: bool = true;

    /// Runs the slot's work here if nobody has started it.
    fn run_if_queued(slot: &Slot<Self, T>) -> bool;
}

impl<F: FnOnce() -> T, T> Work<T> for F {
    fn run_if_queued(slot: &Slot<F, T>) -> bool {
        slot.claim_and_run(|| {}).is_some()
    }
}

impl<F: Work<T>, T> Handle<T> for Slot<F, T> {
    fn id(&self) -> TaskId {
        self.id
    }

    fn is_done(&self) -> bool {
        self.cell.is_done()
    }

    fn is_running(&self) -> bool {
        self.cell.is_running()
    }

    fn has_failed(&self) -> bool {
        // SAFETY: the caller has the handle, so nobody takes the outcome meanwhile: that wants it by value or `&mut`.
        let failed = unsafe { self.cell.peek(Result::is_err) };
        failed == Some(true)
    }

    fn listen(&self, listener: Listener) -> Option<Listener> {
        if matches!(listener, Listener::Call(_) | Listener::Relay(..)) {
            return self.cell.listen_too(listener);
        }
        self.cell.listen(listener, |known, new| match (known, new) {
            (Listener::Wake(known), Listener::Wake(new)) => known.will_wake(new),
            (Listener::Polled(_), Listener::Polled(_)) => true,
            _ => false,
        })
    }

    fn forget(&self, relay: &Arc<dyn Relay>, key: usize) {
        self.cell.forget(|known| {
            matches!(known, Listener::Relay(known, known_key) if *known_key == key && Arc::ptr_eq(known, relay))
        });
    }

    fn tell(&self, listener: Listener) {
        // SAFETY: as in `has_failed`.
        let told = unsafe { self.cell.peek(|outcome| (tell(outcome, listener), outcome.is_err())) };
        if let Some((Some(listener), failed)) = told {
            listener.wake(failed);
        }
    }

    fn take(&self) -> Option<Result<T, TaskError>> {
        // SAFETY: only the one `Task` handle calls this, once at a time: by value, or through `&mut`.
        let outcome = unsafe { self.cell.take() };
        outcome.map(|outcome| outcome.map_err(|error| *error))
    }

    fn withdraw(&self) -> bool {
        if self.end_in_queue(|| TaskError::Cancelled) {
            return true;
        }
        self.cell.ask_to_stop();
        false
    }

    fn cancel(&self) -> bool {
        if self.withdraw() {
            return true;
        }
        #[cfg(feature = "process")]
        if self.core.kind() == crate::pool::Kind::Process {
            crate::process::kill_worker_of(self.key());
        }
        false
    }

    fn run_if_queued(&self) -> bool {
        let ran = F::run_if_queued(self);
        if ran && F::QUEUED {
            self.core.bury();
        }
        ran
    }

    fn may_be_claimed(&self) -> bool {
        !self.terms.own_worker && self.cell.is_queued()
    }

    fn may_be_claimed_by_own(&self) -> bool {
        self.terms.timeout.is_none() && self.cell.is_queued()
    }

    fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn function(&self) -> &'static str {
        self.function
    }
}
