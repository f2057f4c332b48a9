//! The end of a pool: it takes no more work, ends what it has, and joins its threads.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::current_worker::{self, wait_by};
use super::{Core, Kind, blocking, cpu};
use crate::sys::unwind;

/// Whether any pool was closed with its running tasks asked to stop.
static ANY_CANCELLED: AtomicBool = AtomicBool::new(false);

/// See [`ANY_CANCELLED`]: most programs never ask for more.
#[inline]
pub(super) fn any_cancelled() -> bool {
    ANY_CANCELLED.load(Ordering::Relaxed)
}

impl Core {
    /// Whether what runs on it is asked to stop.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Cancels what is queued, asks what runs to stop, and kills the worker processes that run something.
    fn cancel_all(&self) {
        let mut state = self.queue.lock();
        // In one step: a job that is asked to stop may end at once, and its thread must find no other job.
        state.closed = true;
        self.cancelled.store(true, Ordering::Release);
        ANY_CANCELLED.store(true, Ordering::Release);
        let jobs = self.queue.clear(&mut state);
        drop(state);
        #[cfg(feature = "process")]
        self.idle_slots.cancel();
        for job in jobs {
            job.abandon(true);
            // It may hold the last of its caller's span, whose subscriber is the user's.
            unwind::discard(job);
        }
    }

    /// Whether it takes no more work.
    pub(crate) fn is_closed(&self) -> bool {
        !self.is_of_parent() && self.queue.lock().closed
    }

    /// Takes no more work, and waits until what is queued has run; whether it has by then. Of a job that calls this it
    /// does not wait for the end.
    pub(crate) fn drain(&self, deadline: Option<Instant>) -> bool {
        if self.is_of_parent() {
            return true;
        }
        let own = usize::from(current_worker::is_inside(self));
        let mut state = self.queue.lock();
        state.closed = true;
        state.call_all();
        let done = state.is_done_but(own);
        drop(state);
        if done {
            return true;
        }
        // What it waits for may wait for this worker's pool.
        wait_by(|| self.wait_until_done(own, deadline))
    }

    fn wait_until_done(&self, own: usize, deadline: Option<Instant>) -> bool {
        let mut state = self.queue.lock();
        while !state.is_done_but(own) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            let gone = &self.queue.gone;
            state = match left {
                Some(left) => gone.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => gone.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        true
    }

    /// Takes no more work, waits until what is queued has run or, with `cancel`, is cancelled, and joins the
    /// threads, but those whose task has timed out. With `cancel` what runs is asked to stop. A forked child leaves its
    /// parent's pools alone.
    pub(crate) fn finish(&self, cancel: bool) {
        if self.is_of_parent() {
            return;
        }
        if cancel {
            self.cancel_all();
        }
        #[cfg(feature = "polars")]
        if let Some(crew) = self.frames.get() {
            crew.finish(cancel);
        }
        match self.kind {
            Kind::Cpu => cpu::finish(self),
            Kind::Io | Kind::Frame | Kind::Process => blocking::finish(self),
        }
    }
}
