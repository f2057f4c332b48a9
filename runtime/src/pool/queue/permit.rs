//! Permits: giving one back, waiting for one, and revoking the permit of a job that has run out of time.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::Queue;
use super::state::State;
use crate::pool::broadcast::Member;
use crate::pool::current_worker;
use crate::sys::{mutex, park, reserve};

/// How long a frame worker waits for a permit while none is returned, before it goes on without one. This is longer
/// than most chunks take: where the workers with permits compute, one more is one too many.
const OVERDRAW_AFTER: Duration = Duration::from_secs(1);

/// When a worker that waits for a permit takes one more than there are.
#[derive(Clone, Copy)]
pub(crate) enum Overdraw {
    Never,
    /// If none is returned for [`OVERDRAW_AFTER`].
    IfNoneIsReturned,
    /// At the end of its wait's time limit, which the wait must keep.
    At(Instant),
}

thread_local! {
    /// Whether the permit of this thread is one beyond the limit. A thread has one permit at a time.
    static IS_OVERDRAWN: Cell<bool> = const { Cell::new(false) };
}

/// Where the permit of a job with a time limit is. Changed only under the queue's lock.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum PermitState {
    /// The job's worker has it.
    Held,
    /// The worker is blocked, and has given it back meanwhile.
    Released,
    /// The worker was blocked, and waits for a permit.
    Reacquiring,
    /// The job has run out of time. The worker has no permit any more, and goes on without one.
    Revoked,
}

/// The permit of one run of a job with a time limit. It can be revoked at any moment of the job, so its state is
/// recorded.
pub(crate) struct Permit {
    state: AtomicU8,
    /// The worker that runs the job.
    member: Option<Arc<Member>>,
}

impl Permit {
    pub(crate) fn held() -> Self {
        Self { state: AtomicU8::new(PermitState::Held as u8), member: current_worker::member() }
    }

    pub(crate) fn revoked() -> Self {
        Self { state: AtomicU8::new(PermitState::Revoked as u8), member: None }
    }

    pub(crate) fn state(&self) -> PermitState {
        match self.state.load(Ordering::Relaxed) {
            0 => PermitState::Held,
            1 => PermitState::Released,
            2 => PermitState::Reacquiring,
            _ => PermitState::Revoked,
        }
    }

    pub(crate) fn set(&self, state: PermitState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }
}

/// Whether the permit of this thread is one beyond the limit.
#[inline]
pub(crate) fn is_overdrawn() -> bool {
    IS_OVERDRAWN.get()
}

/// Whether the permit was revoked. Jobs without a time limit have no [`Permit`], and theirs is never revoked.
fn is_revoked(permit: Option<&Permit>) -> bool {
    permit.is_some_and(|permit| permit.state() == PermitState::Revoked)
}

/// Records where the permit is, for a job with a time limit.
fn set_state(permit: Option<&Permit>, state: PermitState) {
    if let Some(permit) = permit {
        permit.set(state);
    }
}

impl Queue {
    /// Returns a permit, to a worker that waits for one or else to the pool.
    #[inline]
    pub(crate) fn release_permit(&self, state: &mut State) {
        state.running -= 1;
        // The timer thread may have returned this thread's permit, so the number is bounded, too.
        let overdrawn = state.overdrawn.saturating_sub(usize::from(IS_OVERDRAWN.replace(false)));
        state.overdrawn = overdrawn.min(state.running);
        if state.reacquiring > 0 {
            state.handoffs += 1;
            self.permit_returned.notify_one();
        }
        self.notify_drain(state);
    }

    /// Gives the current worker's permit back while it blocks; `None` if it was revoked.
    pub(crate) fn begin_blocking(&self, permit: Option<&Permit>) -> Option<MutexGuard<'_, State>> {
        // Without the lock: a thread's first waker is allocated.
        let waker = park::waker();
        let mut state = reserve::lock_with_capacity(|| self.lock(), |state| &mut state.blocked_wakers, 1);
        if is_revoked(permit) {
            return None;
        }
        set_state(permit, PermitState::Released);
        state.blocked += 1;
        state.blocked_wakers.push(waker);
        self.release_permit(&mut state);
        Some(state)
    }

    /// Waits for a permit for a worker that has blocked, unless its permit was revoked. Returns the locked state if the
    /// permit was revoked during this wait: then a worker must be woken for the jobs over which this one had priority.
    ///
    /// `overdraw` says when it takes one more permit than there are.
    pub(crate) fn end_blocking(&self, permit: Option<&Permit>, overdraw: Overdraw) -> Option<MutexGuard<'_, State>> {
        let waker = park::waker();
        let mut state = self.lock();
        if let Some(index) = state.blocked_wakers.iter().rposition(|other| other.will_wake(&waker)) {
            state.blocked_wakers.swap_remove(index);
        }
        if is_revoked(permit) {
            return None;
        }
        state.blocked -= 1;
        // A permit within the limit is left to a queued job: jobs that wait again and again with a time limit would take
        // each one that is returned.
        let is_late = |deadline| Instant::now() >= deadline;
        let mut overdraws = matches!(overdraw, Overdraw::At(deadline) if is_late(deadline) && !self.is_empty(&state));
        if !overdraws && !state.has_permit() {
            set_state(permit, PermitState::Reacquiring);
            state.reacquiring += 1;
            self.reacquiring.store(state.reacquiring, Ordering::Relaxed);
            while state.running >= state.permits() && !is_revoked(permit) {
                let longest = match overdraw {
                    Overdraw::Never => {
                        state = mutex::wait(&self.permit_returned, state);
                        continue;
                    }
                    Overdraw::IfNoneIsReturned => OVERDRAW_AFTER,
                    Overdraw::At(deadline) => deadline.saturating_duration_since(Instant::now()),
                };
                let before = state.handoffs;
                let waited = mutex::wait_timeout(&self.permit_returned, state, longest);
                state = waited.0;
                if waited.1.timed_out() && (state.handoffs == before || matches!(overdraw, Overdraw::At(_))) {
                    // Counted as a handoff, so that the next worker which overdraws waits for as long again.
                    state.handoffs += 1;
                    overdraws = true;
                    break;
                }
            }
            state.reacquiring -= 1;
            self.reacquiring.store(state.reacquiring, Ordering::Relaxed);
            if is_revoked(permit) {
                // This worker may have consumed the notification that another one waits for.
                self.permit_returned.notify_one();
                if state.closed {
                    self.drain_progress.notify_all();
                }
                return Some(state);
            }
        }
        set_state(permit, PermitState::Held);
        state.overdrawn += usize::from(overdraws);
        IS_OVERDRAWN.set(overdraws);
        state.running += 1;
        None
    }

    /// Waits until no permit is in use.
    pub(crate) fn wait_until_no_permit_is_held(&self) {
        let mut state = self.lock();
        while state.running > 0 {
            state = mutex::wait(&self.drain_progress, state);
        }
    }

    /// Writes off a worker whose job has run out of time, and revokes its permit; `None` if `is_late` says that the job
    /// is in time after all.
    ///
    /// `is_late` is called under the lock: a worker that learns of it finds the counts changed.
    pub(crate) fn write_off(&self, permit: &Permit, is_late: impl FnOnce() -> bool) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if !is_late() {
            return None;
        }
        state.written_off += 1;
        match permit.state() {
            PermitState::Held => self.release_permit(&mut state),
            PermitState::Released => state.blocked -= 1,
            PermitState::Reacquiring => self.permit_returned.notify_all(),
            PermitState::Revoked => {}
        }
        permit.set(PermitState::Revoked);
        if let Some(member) = &permit.member {
            member.set_away(true);
        }
        if state.closed {
            self.drain_progress.notify_all();
        }
        Some(state)
    }
}
