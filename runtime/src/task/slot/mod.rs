//! The task slot: one `Arc` that holds a task's work, its state and its outcome.
//!
//! The state machine is in `cell.rs`; here it meets the pool: who runs a task, who is told, and what is counted.

mod cell;
mod handle;
mod listener;
mod timeout;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::cancel::Current;
use super::send_proof::CallProof;
use crate::error::TaskError;
use crate::error::panics;
use crate::pool::config;
use crate::pool::span::{CallerSpan, EnteredSpan};
use crate::pool::timer::{self, Expire};
use crate::pool::{self, Core, Job, JobEnd, Permit};
use crate::sys::fork;
use crate::sys::unwind;

use cell::TaskCell;
use listener::tell;
use timeout::Timed;

pub(crate) use handle::Handle;
pub(crate) use handle::Work;
pub use listener::Outcome;
pub(crate) use listener::{Listener, Relay};

/// The number of a task; no two tasks of a process have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

pub(crate) struct Slot<F, T> {
    /// An error is boxed: a million queued tasks would all have room for one.
    cell: TaskCell<F, Result<T, Box<TaskError>>, Listener>,
    id: TaskId,
    function: &'static str,
    terms: TaskOptions,
    core: Arc<Core>,
    context: CallerSpan,
}

/// What a task asks of its worker.
#[derive(Clone, Copy, Default)]
pub(crate) struct TaskOptions {
    /// Its time, from the start of the run.
    pub(crate) timeout: Option<Duration>,
    /// It has state that belongs to its worker, or a time-out: no thread that waits may claim it.
    pub(crate) own_worker: bool,
}

impl<F, T> Slot<F, T> {
    /// A queued slot: of a closure, or of a future that a runtime polls.
    pub(crate) fn new(
        core: Arc<Core>,
        function: &'static str,
        terms: TaskOptions,
        work: F,
        _: CallProof<F, T>,
    ) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            // SAFETY: the proof says so of both; what is shared of an outcome is its `TaskError`, which is `Sync`.
            cell: unsafe { TaskCell::new(work) },
            id: TaskId(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            function,
            terms,
            core,
            context: CallerSpan::here(),
        })
    }

    /// Counts the outcome, publishes it, and tells whoever listens.
    ///
    /// # Safety
    ///
    /// As [`TaskCell::publish`]: this thread's `revoke` or `seal` succeeded.
    unsafe fn publish(&self, outcome: Result<T, Box<TaskError>>) {
        let counts = self.core.counts();
        let count = match outcome.as_ref().map_err(Box::as_ref) {
            Ok(_) => &counts.done,
            Err(TaskError::Cancelled | TaskError::PoolClosed) => &counts.cancelled,
            Err(_) => &counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let failed = outcome.is_err();
        let first = |outcome: &Result<T, Box<TaskError>>, listener| {
            // A callback takes what it takes.
            if matches!(listener, Listener::Call(_)) {
                self.core.withdraw_return();
            }
            tell(outcome, listener)
        };
        // SAFETY: the caller's promise is the same.
        let wakers = unsafe { self.cell.publish(outcome, first) };
        wakers.for_each(|listener| {
            // Nobody knows what another's waker does.
            if !matches!(listener, Listener::Wake(_)) {
                self.core.withdraw_return();
            }
            listener.wake(failed);
        });
    }

    /// Makes this task the thread's.
    pub(crate) fn enter(&self) -> (EnteredSpan<'_>, Current) {
        (self.context.enter(), Current::enter(self.cell.word()))
    }

    /// Ends a task that nobody has started.
    fn end_queued(&self, why: impl FnOnce() -> TaskError) -> bool {
        let Some(work) = self.cell.revoke() else { return false };
        // A destructor that panics must not leave the slot unfinished.
        unwind::discard(work);
        // SAFETY: revoked just now.
        unsafe { self.publish(Err(Box::new(why()))) };
        true
    }
}

impl<F: Work<T>, T> Slot<F, T> {
    /// As [`end_queued`](Self::end_queued), of a task that stays in its pool's queue.
    fn end_in_queue(&self, why: impl FnOnce() -> TaskError) -> bool {
        let ended = self.end_queued(why);
        if ended && F::QUEUED {
            self.core.count_dead_task();
        }
        ended
    }

    /// Whether it has ended, or another thread runs it.
    #[cfg(feature = "process")]
    pub(crate) fn is_dead(&self) -> bool {
        !self.cell.is_queued()
    }

    /// A worker has taken it out of the queue when it had ended.
    #[cfg(feature = "process")]
    pub(crate) fn exhume(&self) {
        self.core.removed_dead_task();
    }
}

impl<F, T> Slot<F, T>
where
    F: FnOnce() -> T,
{
    /// Runs the task here, unless another thread was first; `None` then. `started` is called in between.
    fn claim_and_run(&self, started: impl FnOnce()) -> Option<JobEnd> {
        let work = self.cell.claim()?;
        // All of it inside: a timer that cannot start, or a subscriber to spans that panics, must not leave the slot
        // unfinished.
        let outcome = panics::catch(self.function, || {
            started();
            let _inside = self.enter();
            work()
        });
        if self.core.is_from_parent() && !config::serial() {
            fork::exit_child();
        }
        if self.cell.seal() {
            self.core.announce_return();
            // SAFETY: sealed just now.
            unsafe { self.publish(outcome.map_err(Box::new)) };
            return Some(JobEnd::Ran);
        }
        // The timer was first.
        unwind::discard(outcome);
        Some(JobEnd::WrittenOff)
    }
}

/// What is done with a task that runs elsewhere: a future on its runtime, a call in another process.
#[cfg(any(feature = "tokio", feature = "process"))]
impl<F, T> Slot<F, T> {
    /// Takes the work to begin with it, unless the task has ended.
    pub(crate) fn begin(&self) -> Option<F> {
        self.cell.claim()
    }

    /// Ends the task that [`begin`](Self::begin) began, unless it has ended.
    pub(crate) fn end(&self, outcome: Result<T, TaskError>) {
        if self.cell.seal() {
            // SAFETY: sealed just now.
            unsafe { self.publish(outcome.map_err(Box::new)) };
        } else {
            unwind::discard(outcome);
        }
    }

    /// Ends a task that never began.
    pub(crate) fn end_unbegun(&self, why: TaskError) -> bool {
        self.end_queued(|| why)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn terms(&self) -> TaskOptions {
        self.terms
    }

    /// Puts work back that [`begin`](Self::begin) took, as nothing came of it yet.
    ///
    /// # Safety
    ///
    /// This thread's `begin` took it, and has not ended the task.
    #[cfg(feature = "process")]
    pub(crate) unsafe fn put_back(&self, work: F) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.cell.put_back(work) };
    }

    /// Whether it was asked to stop.
    #[cfg(feature = "process")]
    pub(crate) fn is_stopped(&self) -> bool {
        self.cell.word().load(Ordering::Relaxed) & crate::task::cancel::STOP != 0
    }

    /// What tells it from all other tasks that run; see [`current`](crate::task::cancel::current).
    #[cfg(feature = "process")]
    pub(crate) fn key(&self) -> usize {
        std::ptr::from_ref(self.cell.word()).addr()
    }

    /// Whether somebody is to be called back, and not only woken.
    #[cfg(feature = "process")]
    pub(crate) fn has_callback(&self) -> bool {
        self.cell.has_listener(|listener| matches!(listener, Listener::Call(_)))
    }
}

impl<F, T> Job for Slot<F, T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    fn run(self: Arc<Self>) -> JobEnd {
        let ran = match self.terms.timeout {
            None => self.claim_and_run(|| {}),
            Some(limit) => {
                let timed = Arc::new(Timed { slot: Arc::clone(&self), permit: Arc::new(Permit::held()) });
                let start_timer = || timer::after(limit, Arc::downgrade(&timed) as Weak<dyn Expire>);
                pool::with_permit(&timed.permit, || self.claim_and_run(start_timer))
            }
        };
        // A detached task's result goes with the slot, and its destructor may panic, or wait for something.
        if let Some(slot) = Arc::into_inner(self) {
            slot.core.withdraw_return();
            unwind::discard(slot);
        }
        ran.unwrap_or(JobEnd::Dead)
    }

    fn is_dead(&self) -> bool {
        !self.cell.is_queued()
    }

    fn time_limit(&self) -> Option<Duration> {
        self.terms.timeout
    }

    fn time_out_queued(&self) {
        if let Some(after) = self.terms.timeout {
            self.end_in_queue(|| TaskError::TimedOut { after });
        }
    }

    fn abandon(&self, cancelled: bool) {
        self.end_queued(|| if cancelled { TaskError::Cancelled } else { TaskError::PoolClosed });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_task_takes_less_than_200_bytes_beside_its_closure() {
        let slot = size_of::<Slot<fn(), ()>>() - size_of::<fn()>();
        // The `Arc`'s two counts, the queue's pointer, and the handle's.
        let around = 2 * size_of::<usize>() + 2 * size_of::<Arc<dyn Handle<()>>>();
        assert!(slot + around < 200, "{slot} + {around}");
    }
}
