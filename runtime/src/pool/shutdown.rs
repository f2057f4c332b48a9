//! Shutdown: [`shutdown`] for all pools, and for one pool closing it, draining its queue and joining its threads.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::current_worker::{self, blocking_section, blocking_section_until};
use super::{Core, Kind, blocking, cpu, registry};
use crate::sys::mutex;
use crate::sys::unwind;

/// What becomes of queued tasks when a pool is shut down with [`Pool::shutdown`](crate::Pool::shutdown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// They run.
    Run,
    /// They end as [`TaskError::Cancelled`](crate::TaskError::Cancelled), and running tasks are asked to stop.
    Cancel,
}

/// Closes every pool that has started, and waits until their queued tasks have run, for `limit` at most. Returns
/// whether all of them have run.
///
/// The threads of `static` pools end with the process, in the middle of what they run: call this at the end of `main`
/// where that matters. Later calls find the pools closed, as after [`Pool::shutdown`](crate::Pool::shutdown). A pool
/// that is first used after this call starts as usual. Nothing is cancelled, not even when `limit` is over:
/// [`Pool::shutdown`](crate::Pool::shutdown) with [`Pending::Cancel`] does that.
///
/// It may be called in an exit handler, and on a worker: it does not wait for the task that calls it. In a forked child
/// the parent's pools have no threads and are left alone.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fanfold::Pool;
///
/// let task = Pool::io_default().submit(|| 1);
/// assert!(fanfold::shutdown(Duration::from_secs(10)));
/// assert!(task.is_finished());
/// assert!(Pool::io_default().submit(|| 2).join().is_err()); // closed
/// ```
#[allow(clippy::must_use_candidate, reason = "a program that ends has no use for the answer")]
pub fn shutdown(limit: Duration) -> bool {
    let deadline = Instant::now().checked_add(limit);
    // Collected first: `all` stops at the first `false`, and every pool must be closed.
    let drained: Vec<bool> = registry::all().iter().map(|core| core.drain(deadline)).collect();
    #[cfg(feature = "tokio")]
    let drained = drained.into_iter().chain([super::async_tasks::drain(deadline)]);
    drained.into_iter().all(|done| done)
}

impl Core {
    /// Whether the pool was shut down with [`Pending::Cancel`].
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Closes the pool, cancels queued jobs, asks running jobs to stop, and kills the worker processes that run one.
    fn cancel_all(&self) {
        let mut jobs = Vec::new();
        // All under one lock: a job that is asked to stop may end at once, and its thread must find an empty queue.
        let state = self.queue.close_and_take_all(&mut jobs);
        self.cancelled.store(true, Ordering::Release);
        current_worker::note_cancelled_pool();
        drop(state);
        #[cfg(feature = "process")]
        self.process_slots.cancel();
        for job in jobs.into_iter().flatten() {
            job.abandon(true);
            // This may be the last reference to its caller's span, whose subscriber is the user's code and may panic.
            unwind::discard(job);
        }
    }

    /// Whether the pool takes no more jobs.
    pub(crate) fn is_closed(&self) -> bool {
        !self.is_from_parent() && self.queue.lock().closed
    }

    /// Closes the pool, and waits until all jobs have ended, until the deadline at most. Returns whether they have. If
    /// a job of the pool calls this, its own end is not waited for.
    pub(crate) fn drain(&self, deadline: Option<Instant>) -> bool {
        if self.is_from_parent() {
            return true;
        }
        let own = usize::from(current_worker::is_inside(self));
        let mut state = self.queue.lock();
        self.queue.close(&mut state);
        state.wake_all();
        let done = self.queue.is_done_except(&state, own);
        drop(state);
        if done {
            return true;
        }
        // The jobs may wait for the pool that this thread works for, so this thread gives its permit back.
        match deadline {
            Some(limit) => blocking_section_until(limit, || self.wait_until_done(own, deadline)),
            None => blocking_section(|| self.wait_until_done(own, deadline)),
        }
    }

    fn wait_until_done(&self, own: usize, deadline: Option<Instant>) -> bool {
        let mut state = self.queue.lock();
        while !self.queue.is_done_except(&state, own) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            let progress = &self.queue.drain_progress;
            state = match left {
                Some(left) => mutex::wait_timeout(progress, state, left).0,
                None => mutex::wait(progress, state),
            };
        }
        true
    }

    /// Closes the pool, waits until queued jobs have run or, with `cancel`, are cancelled, and joins the threads,
    /// except those whose job has timed out. With `cancel`, running jobs are asked to stop. Does nothing in a forked
    /// child.
    pub(crate) fn close_and_join(&self, cancel: bool) {
        if self.is_from_parent() {
            return;
        }
        if cancel {
            self.cancel_all();
        }
        #[cfg(feature = "polars")]
        if let Some(frame_pool) = self.frame_pool.get() {
            frame_pool.close_and_join(cancel);
        }
        match self.kind {
            Kind::Cpu => cpu::close_and_join(self),
            Kind::Io | Kind::Frame | Kind::Process => blocking::close_and_join(self),
        }
    }
}
