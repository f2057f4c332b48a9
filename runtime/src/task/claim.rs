//! Claims: which task a worker runs itself, instead of waiting for it.
//!
//! A claim keeps waits from deadlocking: a task may wait for tasks of its own pool, at any pool size. Every claim runs
//! the task on a permit of the task's pool, on a worker thread that has run that pool's hooks
//! ([`run_claimed`](crate::pool::run_claimed)). `README.md` in this folder lists which wait makes which claim.

use std::sync::Arc;

use super::Task;
use crate::pool;

impl<T> Task<T> {
    /// Runs the task here if this thread is a worker, the task is queued, and its pool has a free permit. For a wait
    /// for this task alone. A pool with hooks runs its tasks on its own threads, as no other thread has run the hooks.
    pub(crate) fn claim(&self) -> bool {
        pool::is_worker() && self.slot.claim()
    }

    /// As [`claim`](Self::claim), if the task's pool has no other thread for it. For a wait in which another task may
    /// end first.
    pub(crate) fn claim_if_no_other_thread(&self) -> bool {
        pool::is_worker() && self.slot.is_claimable() && !self.slot.core().has_thread_for_more() && self.try_run_here()
    }

    /// As [`claim`](Self::claim), if the operating system refuses the task's pool a thread. The pool's own worker may
    /// then also run a task that uses the state of a worker.
    pub(crate) fn claim_if_threads_refused(&self) -> bool {
        let core = self.slot.core();
        pool::is_worker()
            && (self.slot.is_claimable() || (self.slot.is_claimable_by_own_worker() && core.is_own_worker()))
            && core.has_refused_spawn()
            && self.try_run_here()
    }

    /// Runs the task on this thread if it is queued and its pool has a free permit.
    fn try_run_here(&self) -> bool {
        pool::run_claimed(self.slot.core(), || self.slot.run_if_queued())
    }

    /// Whether the task is queued, and any worker may run it.
    pub(crate) fn is_claimable(&self) -> bool {
        self.slot.is_claimable()
    }

    /// Whether the task has not started, and is a task of the same pool as `other`.
    pub(crate) fn is_queued_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.slot.core(), other.slot.core()) && !self.slot.is_running() && !self.slot.is_done()
    }
}
