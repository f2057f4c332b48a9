//! [`Slot`]: one `Arc` that owns a task's work, its state and its outcome.
//!
//! The state machine is [`TaskCell`] in `cell.rs`. This file connects it to the pool: running a task, notifying
//! listeners, counting outcomes.

mod cell;
mod handle;
mod listener;
mod timeout;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::cancel::CurrentTask;
use super::send_proof::CallProof;
use crate::error::TaskError;
use crate::error::panics;
use crate::pool::config;
use crate::pool::span::{CallerSpan, EnteredSpan};
use crate::pool::task_clock::TaskClock;
use crate::pool::timer::{self, Expire};
use crate::pool::work_span::{self, Work, WorkKind};
use crate::pool::{self, Core, Job, JobEnd, Permit};
use crate::sys::fork;
use crate::sys::unwind;

use cell::TaskCell;
use listener::run_callback;
use timeout::TimedRun;

pub(crate) use handle::Handle;
pub(crate) use handle::TaskWork;
pub use listener::Outcome;
pub(crate) use listener::{CompletionSink, Listener};

/// The number of a task; no two tasks of a process have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A task of work `F` and result `T`.
pub(crate) struct Slot<F, T> {
    /// The error is boxed to keep queued tasks small.
    cell: TaskCell<F, Result<T, Box<TaskError>>, Listener>,
    id: TaskId,
    function: &'static str,
    options: TaskOptions,
    core: Arc<Core>,
    caller_span: CallerSpan,
    clock: TaskClock,
}

/// The requirements of a task on the worker that runs it.
#[derive(Clone, Copy, Default)]
pub(crate) struct TaskOptions {
    /// The time limit, from the start of the run.
    pub(crate) timeout: Option<Duration>,
    /// Whether it must run on a worker of its own pool, because it uses that worker's state or has a time limit. A
    /// thread that waits may not claim it.
    pub(crate) own_worker: bool,
}

impl<F, T> Slot<F, T> {
    /// A slot in the state `QUEUED`. The work is a closure, a future that a runtime polls, or a call for a worker
    /// process.
    #[inline]
    pub(crate) fn new(
        core: Arc<Core>,
        function: &'static str,
        options: TaskOptions,
        work: F,
        _: CallProof<F, T>,
    ) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        // Before the rest: a call in between would have the compiler build the slot twice.
        let (caller_span, clock) = (CallerSpan::here(), TaskClock::new());
        Arc::new(Self {
            // SAFETY: by the `CallProof` work and result may move between threads. `peek` shares only the `TaskError`
            // of an outcome, which is `Sync`.
            cell: unsafe { TaskCell::new(work) },
            id: TaskId(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            function,
            options,
            core,
            caller_span,
            clock,
        })
    }

    /// Counts the outcome, publishes it, and notifies the listeners: callbacks before the outcome can be taken, wakers
    /// and sinks after.
    ///
    /// # Safety
    ///
    /// As [`TaskCell::publish`]: this thread's `revoke` or `seal` succeeded, and it has not published yet.
    unsafe fn publish(&self, outcome: Result<T, Box<TaskError>>) {
        let counts = self.core.counts();
        let count = match outcome.as_ref().map_err(Box::as_ref) {
            Ok(_) if self.cell.has_seen_stop() => &counts.cancelled,
            Ok(_) => &counts.done,
            Err(TaskError::Cancelled | TaskError::PoolClosed) => &counts.cancelled,
            Err(_) => &counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let failed = outcome.is_err();
        // SAFETY: this function has the contract of `TaskCell::publish`.
        let wakers = unsafe { self.cell.publish(outcome, run_callback) };
        wakers.for_each(|listener| listener.notify(failed));
    }

    /// Ends a task that is not queued, because its deadline is over.
    pub(crate) fn end_late(&self, after: Duration) {
        self.end_unstarted_with(|| TaskError::TimedOut { after });
    }

    /// As [`publish`](Self::publish), for a task that has started.
    ///
    /// # Safety
    ///
    /// As [`publish`](Self::publish).
    unsafe fn publish_run(&self, outcome: Result<T, Box<TaskError>>) {
        self.clock.end(&self.core);
        let late = match &outcome {
            Err(error) if matches!(**error, TaskError::Cancelled) => self.late_after(),
            _ => None,
        };
        let outcome = late.map_or(outcome, |after| Err(Box::new(TaskError::TimedOut { after })));
        // SAFETY: this function has the contract of `publish`.
        unsafe { self.publish(outcome) };
    }

    /// How long the task had, if it was asked to stop at its deadline.
    #[cold]
    fn late_after(&self) -> Option<Duration> {
        match self.cell.remove_listener(|listener| matches!(listener, Listener::Late(_))) {
            Some(Listener::Late(after)) => Some(after),
            _ => None,
        }
    }

    /// Makes this the current task and span of this thread, until the guards are dropped.
    pub(crate) fn enter(&self) -> (EnteredSpan<'_>, CurrentTask) {
        (self.caller_span.enter(), CurrentTask::enter(self.cell.state_word()))
    }

    /// Runs the task, which was queued for this long, and observes it if that is wanted.
    #[inline]
    pub(crate) fn observed<R>(&self, queued: Option<Duration>, run: impl FnOnce() -> R) -> R {
        work_span::observed(self.work(WorkKind::Task), queued, run)
    }

    /// This task as a piece of work.
    pub(crate) fn work(&self, kind: WorkKind) -> Work<'_> {
        Work { kind, function: self.function, core: &self.core, items: 1 }
    }

    /// Ends a task that has not started; `false` if it has.
    fn end_unstarted_with(&self, why: impl FnOnce() -> TaskError) -> bool {
        let Some(work) = self.cell.revoke() else { return false };
        // Contained: a destructor that panics must not leave the slot in `FINISHING`.
        unwind::discard(work);
        // SAFETY: `revoke` succeeded on this thread, which has not published before.
        unsafe { self.publish(Err(Box::new(why()))) };
        true
    }
}

impl<F: TaskWork<T>, T> Slot<F, T> {
    /// As [`end_unstarted_with`](Self::end_unstarted_with), and counts the entry that stays in the pool's queue.
    fn end_in_pool_queue(&self, why: impl FnOnce() -> TaskError) -> bool {
        self.end_unstarted_with(|| {
            // Before the end is published: who has joined the task finds it gone from the queue.
            if F::IN_POOL_QUEUE {
                self.core.count_dead_task();
            }
            why()
        })
    }

    /// Whether it runs or has ended.
    #[cfg(feature = "process")]
    pub(crate) fn is_claimed(&self) -> bool {
        !self.cell.is_queued()
    }

    /// Counts that a worker took the entry of an ended task out of the pool's queue.
    #[cfg(feature = "process")]
    pub(crate) fn note_dequeued(&self) {
        self.core.removed_dead_task();
    }
}

impl<F, T> Slot<F, T>
where
    F: FnOnce() -> T,
{
    /// Runs the task on this thread; `None` if it is not queued any more. `started` is called after the claim.
    fn claim_and_run(&self, started: impl FnOnce()) -> Option<JobEnd> {
        let work = self.cell.claim()?;
        // `started` and `enter` run inside of the catch: a timer that cannot start, or a span subscriber that panics,
        // must not leave the slot in `RUNNING`.
        let outcome = panics::catch(self.function, || {
            let queued = self.clock.start(&self.core);
            started();
            let _inside = self.enter();
            self.observed(queued, work)
        });
        if self.core.is_from_parent() && !config::serial() {
            fork::exit_child();
        }
        if self.cell.seal() {
            // SAFETY: `seal` succeeded on this thread, which has not published before.
            unsafe { self.publish_run(outcome.map_err(Box::new)) };
            return Some(JobEnd::Ran);
        }
        // The timer sealed the outcome first.
        unwind::discard(outcome);
        Some(JobEnd::WrittenOff)
    }
}

/// For tasks that do not run as a closure on a worker: futures on their runtime, calls in worker processes.
#[cfg(any(feature = "tokio", feature = "process"))]
impl<F, T> Slot<F, T> {
    /// Takes the work to run it; `None` if it is not queued any more.
    pub(crate) fn claim_work(&self) -> Option<F> {
        self.cell.claim()
    }

    /// Notes that the work starts, which [`claim_work`](Self::claim_work) took. Returns how long it was queued, if that
    /// was measured.
    pub(crate) fn start_clock(&self) -> Option<Duration> {
        self.clock.start(&self.core)
    }

    /// Ends the task whose work [`claim_work`](Self::claim_work) took. A timer may have ended it before; the outcome is
    /// dropped then.
    pub(crate) fn finish(&self, outcome: Result<T, TaskError>) {
        if self.cell.seal() {
            // SAFETY: `seal` succeeded on this thread, which has not published before.
            unsafe { self.publish_run(outcome.map_err(Box::new)) };
        } else {
            unwind::discard(outcome);
        }
    }

    /// Ends a task that has not started; `false` if it has.
    pub(crate) fn end_unstarted(&self, why: TaskError) -> bool {
        self.end_unstarted_with(|| why)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn options(&self) -> TaskOptions {
        self.options
    }

    /// Returns work that [`claim_work`](Self::claim_work) took and that was not started: other threads may claim it.
    ///
    /// # Safety
    ///
    /// `claim_work` returned this work, and the task has not been ended since.
    #[cfg(feature = "process")]
    pub(crate) unsafe fn put_back(&self, work: F) {
        // SAFETY: `claim_work` claimed the cell, and by this function's contract nothing has sealed it since: only
        // `finish` does, as a task that is put back has no timer but that of its deadline, which ends queued tasks only.
        unsafe { self.cell.put_back(work) };
    }

    /// Whether the task was asked to stop.
    #[cfg(feature = "process")]
    pub(crate) fn is_stop_requested(&self) -> bool {
        self.cell.is_stop_requested()
    }

    /// The key that [`current_task_key`](crate::task::cancel::current_task_key) returns inside the task.
    #[cfg(feature = "process")]
    pub(crate) fn key(&self) -> usize {
        std::ptr::from_ref(self.cell.state_word()).addr()
    }

    /// Whether a callback is registered.
    #[cfg(feature = "process")]
    pub(crate) fn has_callback(&self) -> bool {
        self.cell.has_listener(|listener| matches!(listener, Listener::Callback(_)))
    }
}

impl<F, T> Job for Slot<F, T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    fn run(self: Arc<Self>) -> JobEnd {
        let ran = match self.options.timeout {
            None => self.claim_and_run(|| {}),
            Some(limit) => {
                let timed = Arc::new(TimedRun {
                    slot: Arc::clone(&self),
                    permit: Arc::new(Permit::held()),
                    is_serial: config::serial(),
                });
                let start_timer = || timer::after(limit, Arc::downgrade(&timed) as Weak<dyn Expire>);
                if timed.is_serial {
                    // The caller has no permit of this run.
                    self.claim_and_run(start_timer)
                } else {
                    pool::with_permit(&timed.permit, || self.claim_and_run(start_timer))
                }
            }
        };
        // The last owner of a detached task's slot drops its result, whose destructor may panic or wait.
        if let Some(slot) = Arc::into_inner(self) {
            unwind::discard(slot);
        }
        ran.unwrap_or(JobEnd::Dead)
    }

    fn is_dead(&self) -> bool {
        !self.cell.is_queued()
    }

    fn time_limit(&self) -> Option<Duration> {
        self.options.timeout
    }

    fn time_out_queued(&self) {
        if let Some(after) = self.options.timeout {
            self.end_in_pool_queue(|| TaskError::TimedOut { after });
        }
    }

    fn abandon(&self, cancelled: bool) {
        self.end_unstarted_with(|| if cancelled { TaskError::Cancelled } else { TaskError::PoolClosed });
    }
}

/// The end of a task that must have started by now: it is not queued any more, or is asked to stop.
impl<F: TaskWork<T>, T> Expire for Slot<F, T> {
    fn expire(&self, after: Duration) {
        if self.end_in_pool_queue(|| TaskError::TimedOut { after }) || !F::STOPS_ON_REQUEST {
            return;
        }
        // Before the request: who ends because of it finds the reason.
        if !self.cell.is_stop_requested() {
            self.cell.add_listener(Listener::Late(after));
        }
        self.cell.request_stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_task_takes_less_than_200_bytes_plus_its_closure() {
        let slot = size_of::<Slot<fn(), ()>>() - size_of::<fn()>();
        // The two counts of the `Arc`, and the pointers in the queue and in the handle.
        let around = 2 * size_of::<usize>() + 2 * size_of::<Arc<dyn Handle<()>>>();
        assert!(slot + around < 200, "{slot} + {around}");
    }
}
