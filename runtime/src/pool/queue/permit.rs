//! The permit of a job with a time limit: when time is up it goes to another worker, wherever it is then.

use std::sync::atomic::{AtomicU8, Ordering};

/// Where the permit is. Changed under the queue's lock alone, so each change is seen whole.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum PermitState {
    /// The job's worker has it.
    Held,
    /// The worker waits, and has given it back for a while.
    Released,
    /// The worker has waited, and needs one again.
    Reacquiring,
    /// Time was up: the worker has none any more, and goes on without.
    Revoked,
}

/// The permit of one run of a job.
pub(crate) struct Permit(AtomicU8);

impl Permit {
    /// One that the worker has.
    pub(crate) fn held() -> Self {
        Self(AtomicU8::new(PermitState::Held as u8))
    }

    /// One that the worker has lost.
    pub(crate) fn revoked() -> Self {
        Self(AtomicU8::new(PermitState::Revoked as u8))
    }

    pub(crate) fn state(&self) -> PermitState {
        match self.0.load(Ordering::Relaxed) {
            0 => PermitState::Held,
            1 => PermitState::Released,
            2 => PermitState::Reacquiring,
            _ => PermitState::Revoked,
        }
    }

    pub(crate) fn set(&self, state: PermitState) {
        self.0.store(state as u8, Ordering::Relaxed);
    }
}

/// Whether a permit is there to be lost, and was.
pub(crate) fn is_revoked(permit: Option<&Permit>) -> bool {
    permit.is_some_and(|permit| permit.state() == PermitState::Revoked)
}

/// Notes where the permit of a job with a time limit is.
pub(crate) fn set_state(permit: Option<&Permit>, state: PermitState) {
    if let Some(permit) = permit {
        permit.set(state);
    }
}
