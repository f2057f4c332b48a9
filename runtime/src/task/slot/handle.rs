//! [`Handle`]: a slot as a [`Task`](crate::Task) handle sees it, without the type of its work.

use std::sync::{Arc, Weak};

use super::listener::{CompletionSink, Listener, run_callback};
use super::{Slot, TaskId};
use crate::error::TaskError;
use crate::pool::runtime_wait::BlockedRuntime;
use crate::pool::{self, Core};
use crate::task::abort_handle::{Abort, AbortHandle};

/// The operations of a task handle.
pub(crate) trait Handle<T>: Send + Sync {
    fn id(&self) -> TaskId;
    fn is_done(&self) -> bool;
    /// Whether the calling thread is inside of the task.
    fn is_current(&self) -> bool {
        false
    }
    fn is_running(&self) -> bool;
    /// Whether the task is done and has no result.
    fn has_failed(&self) -> bool;
    /// Registers a listener to be notified when the task ends; returns it if the task is done.
    fn listen(&self, listener: Listener) -> Option<Listener>;
    /// Removes the sink that was registered with this key.
    fn remove_sink(&self, sink: &Arc<dyn CompletionSink>, key: usize);
    /// Notifies a listener of a task that is done.
    fn notify_now(&self, listener: Listener);
    /// Takes the outcome; `None` before the task is done, and after the outcome was taken.
    fn take(&self) -> Option<Result<T, TaskError>>;
    /// Ends a task that has not started, unless it has ended, and returns `true`; otherwise asks it to stop, and kills
    /// its worker process.
    fn cancel(&self) -> bool;
    /// As `cancel`, without killing a worker process.
    fn request_cancel(&self) -> bool {
        self.cancel()
    }
    /// Runs the task on this thread if it is queued; whether it did.
    fn run_if_queued(&self) -> bool;
    /// Runs the task on this thread, a worker, if the task is claimable and its pool has a free permit.
    fn claim(&self) -> bool {
        self.is_claimable() && pool::run_claimed(self.core(), || self.run_if_queued())
    }
    /// Whether the task is queued and may run on a worker of any pool.
    fn is_claimable(&self) -> bool;
    /// Whether the task is queued and may run on a worker of its own pool that waits, where the pool gets no other
    /// thread.
    fn is_claimable_by_own_worker(&self) -> bool {
        self.is_claimable()
    }
    fn core(&self) -> &Arc<Core>;
    fn function(&self) -> &'static str;
    /// A handle that cancels the task.
    fn abort_handle(self: Arc<Self>) -> AbortHandle;
    /// Whether an async runtime polls the task, so that a thread that waits for it may [block](Self::blocked) it.
    fn is_polled(&self) -> bool {
        false
    }
    /// What the calling thread blocks if it waits for the task.
    fn blocked(&self) -> BlockedRuntime {
        BlockedRuntime::None
    }
}

/// The work of a slot: a closure, which any thread may run; a future, which only its runtime polls; or a call for a
/// worker process.
pub(crate) trait TaskWork<T>: Sized {
    /// Whether it waits in its pool's queue, not with an async runtime.
    const IN_POOL_QUEUE: bool = true;
    /// Whether it sees that it is asked to stop. A call in a worker process ends with the process at its deadline.
    const STOPS_ON_REQUEST: bool = true;

    /// Runs the slot's work on this thread if it is queued; whether it did.
    fn run_if_queued(slot: &Slot<Self, T>) -> bool;
}

impl<F: FnOnce() -> T, T> TaskWork<T> for F {
    fn run_if_queued(slot: &Slot<F, T>) -> bool {
        slot.claim_and_run(|| {}).is_some()
    }
}

impl<F: TaskWork<T> + 'static, T: 'static> Abort for Slot<F, T> {
    fn cancel(&self) -> bool {
        Handle::cancel(self)
    }

    fn is_done(&self) -> bool {
        self.cell.is_done()
    }
}

impl<F: TaskWork<T> + 'static, T: 'static> Handle<T> for Slot<F, T> {
    fn id(&self) -> TaskId {
        self.id
    }

    fn is_done(&self) -> bool {
        self.cell.is_done()
    }

    fn is_current(&self) -> bool {
        crate::task::cancel::current_task_key() == Some(std::ptr::from_ref(self.cell.state_word()).addr())
    }

    fn is_running(&self) -> bool {
        self.cell.is_running()
    }

    fn has_failed(&self) -> bool {
        // SAFETY: `take` does not run meanwhile: it needs the user's `Task` handle by value or through `&mut`, and the
        // caller borrows that handle.
        let failed = unsafe { self.cell.peek(Result::is_err) };
        failed == Some(true)
    }

    fn listen(&self, listener: Listener) -> Option<Listener> {
        if matches!(listener, Listener::Callback(_) | Listener::Sink(..)) {
            return self.cell.add_listener(listener);
        }
        self.cell.add_or_replace_listener(listener, |known, new| match (known, new) {
            (Listener::Thread(known), Listener::Thread(new)) => known.will_wake(new),
            (Listener::Poller(_), Listener::Poller(_)) => true,
            _ => false,
        })
    }

    fn remove_sink(&self, sink: &Arc<dyn CompletionSink>, key: usize) {
        drop(self.cell.remove_listener(
            |known| matches!(known, Listener::Sink(known, known_key) if *known_key == key && Arc::ptr_eq(known, sink)),
        ));
    }

    fn notify_now(&self, listener: Listener) {
        // SAFETY: `take` does not run meanwhile: it needs the user's `Task` handle by value or through `&mut`, and the
        // caller borrows that handle.
        let notified = unsafe { self.cell.peek(|outcome| (run_callback(outcome, listener), outcome.is_err())) };
        if let Some((Some(listener), failed)) = notified {
            listener.notify(failed);
        }
    }

    fn take(&self) -> Option<Result<T, TaskError>> {
        // SAFETY: no other `take` or `peek` runs meanwhile: the user's `Task` handle calls this by value or through
        // `&mut`, and the temporary handles that `scope` makes to claim tasks neither take nor peek.
        let outcome = unsafe { self.cell.take() };
        outcome.map(|outcome| outcome.map_err(|error| *error))
    }

    fn request_cancel(&self) -> bool {
        if self.end_in_pool_queue(|| TaskError::Cancelled) || self.cell.is_revoked() {
            return true;
        }
        self.cell.request_stop();
        false
    }

    fn cancel(&self) -> bool {
        if self.request_cancel() {
            return true;
        }
        #[cfg(feature = "process")]
        crate::process::kill_workers_of(self.key());
        false
    }

    fn run_if_queued(&self) -> bool {
        let ran = F::run_if_queued(self);
        if ran && F::IN_POOL_QUEUE {
            self.core.count_dead_task();
        }
        ran
    }

    fn is_claimable(&self) -> bool {
        !self.options.own_worker && self.cell.is_queued()
    }

    fn is_claimable_by_own_worker(&self) -> bool {
        self.options.timeout.is_none() && self.cell.is_queued()
    }

    fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn function(&self) -> &'static str {
        self.function
    }

    fn abort_handle(self: Arc<Self>) -> AbortHandle {
        let task: Weak<dyn Abort> = Arc::downgrade(&self) as Weak<dyn Abort>;
        AbortHandle::new(task, self.id)
    }
}
