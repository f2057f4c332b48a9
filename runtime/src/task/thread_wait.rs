//! How a thread waits for one task: spinning, parking, and registering with the task; and how its outcome is taken.

use std::sync::{Arc, Weak};
use std::task::Waker;

use super::Task;
use super::slot::{CompletionSink, Handle, Listener};
use crate::error::TaskError;
use crate::pool;
use crate::pool::runtime_wait::{self, BlockedRuntime};
use crate::pool::runtime_warning::warn_if_waiting;
use crate::sys::park;

impl<T> Task<T> {
    /// Waits until the task is done; a worker runs it if it has not started.
    pub(crate) fn run_or_wait(&self) {
        if !self.claim() {
            self.wait_for_end();
        }
    }

    /// Waits until the task is done; a worker runs it if its pool is refused a thread.
    ///
    /// # Panics
    ///
    /// Inside of the task itself, which would never end.
    #[inline(never)]
    pub(super) fn wait_for_end(&self) {
        assert!(
            !self.slot.is_current(),
            "a task waits for its own end, which would never come: join it outside of it, or wait with a time limit"
        );
        let mut refusals = pool::refusals();
        while self.spin_or_listen() {
            let wakes = || self.slot.is_done() || pool::refusals() != refusals;
            runtime_wait::wait(self.blocked(), None, || pool::park_until(wakes));
            refusals = pool::refusals();
            if self.slot.is_done() || self.claim_if_threads_refused() {
                return;
            }
        }
    }

    /// In debug builds, warns if this thread runs the tasks of an async runtime and has to wait for this one. A wait
    /// for a task that the runtime polls gives its thread away, or panics.
    #[cfg_attr(debug_assertions, track_caller)]
    #[inline]
    pub(super) fn warn_if_join_blocks(&self) {
        if cfg!(debug_assertions) && !self.is_finished() && !self.is_polled() {
            warn_if_waiting("join", "`.await` the task, or join it in `spawn_blocking`");
        }
    }

    /// Whether an async runtime polls the task.
    pub(crate) fn is_polled(&self) -> bool {
        self.slot.is_polled()
    }

    /// What this thread blocks if it waits for the task.
    pub(crate) fn blocked(&self) -> BlockedRuntime {
        self.slot.blocked()
    }

    /// Spins for a moment until the task is done; if it is not, registers this thread to be woken at its end. Returns
    /// whether it registered the thread.
    pub(super) fn spin_or_listen(&self) -> bool {
        let core = self.slot.core();
        if park::spin_or_yield(|| self.slot.is_done()) {
            return false;
        }
        core.check_fork();
        self.add_waker(park::waker())
    }

    /// A weak reference to the task's slot.
    pub(crate) fn downgrade(&self) -> Weak<dyn Handle<T>> {
        Arc::downgrade(&self.slot)
    }

    /// Registers `waker` to be woken once the task is done; `false` if it is done.
    pub(crate) fn add_waker(&self, waker: Waker) -> bool {
        self.slot.listen(Listener::Thread(waker)).is_none()
    }

    /// Registers `sink` to receive `key` once the task is done; `false` if it is done.
    pub(crate) fn add_sink(&self, sink: Arc<dyn CompletionSink>, key: usize) -> bool {
        self.slot.listen(Listener::Sink(sink, key)).is_none()
    }

    /// Removes the `sink` that was registered with `key`.
    pub(crate) fn remove_sink(&self, sink: &Arc<dyn CompletionSink>, key: usize) {
        self.slot.remove_sink(sink, key);
    }

    /// Whether this process is a forked child, and the task is its parent's.
    pub(crate) fn is_from_parent(&self) -> bool {
        self.slot.core().is_from_parent()
    }

    /// The outcome of a task that is done.
    pub(crate) fn into_outcome(self) -> Result<T, TaskError> {
        self.take_outcome().expect("task result was taken before by awaiting the task: await or join a task once")
    }

    /// The outcome, if the task is done and awaiting it has not taken the outcome.
    pub(crate) fn take_outcome(self) -> Option<Result<T, TaskError>> {
        self.slot.take()
    }
}
