//! The end of a pool: it takes no more work, ends what it has, and joins its threads.

use std::sync::PoisonError;
use std::time::Instant;

use crate::panics;

use super::seat::{self, wait_by};
use super::{Core, Kind, cpu, crew};

impl Core {
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
        let own = usize::from(seat::is_inside(self));
        let mut state = self.queue.lock();
        state.closed = true;
        let called = state.call_all();
        let done = state.is_done_but(own);
        drop(state);
        called.ring();
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
    /// threads, but those whose task has timed out. A forked child leaves its parent's pools alone.
    pub(crate) fn finish(&self, cancel: bool) {
        if self.is_of_parent() {
            return;
        }
        #[cfg(feature = "polars")]
        if let Some(crew) = self.frames.get() {
            crew.finish(cancel);
        }
        if cancel {
            let mut state = self.queue.lock();
            state.closed = true;
            let jobs = self.queue.clear(&mut state);
            drop(state);
            for job in jobs {
                job.abandon(true);
                // It may hold the last of its caller's span, whose subscriber is the user's.
                panics::discard(job);
            }
        }
        match self.kind {
            Kind::Cpu => cpu::finish(self),
            Kind::Io | Kind::Frame | Kind::Process => crew::finish(self),
        }
    }
}
