//! The permit of a job with a time limit: when time is up it goes to another worker, wherever it is then.

use std::sync::atomic::{AtomicU8, Ordering};

/// Where the permit is. Changed under the queue's lock alone, so each change is seen whole.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    /// The job's worker has it.
    Here,
    /// The worker waits, and has given it back for a while.
    Aside,
    /// The worker has waited, and needs one again.
    Returning,
    /// Time was up: the worker has none any more, and goes on without.
    Gone,
}

/// The permit of one run of a job.
pub(crate) struct Permit(AtomicU8);

impl Permit {
    /// One that the worker has.
    pub(crate) fn held() -> Self {
        Self(AtomicU8::new(Place::Here as u8))
    }

    /// One that the worker has lost.
    pub(crate) fn gone() -> Self {
        Self(AtomicU8::new(Place::Gone as u8))
    }

    pub(crate) fn place(&self) -> Place {
        match self.0.load(Ordering::Relaxed) {
            0 => Place::Here,
            1 => Place::Aside,
            2 => Place::Returning,
            _ => Place::Gone,
        }
    }

    pub(crate) fn set(&self, place: Place) {
        self.0.store(place as u8, Ordering::Relaxed);
    }
}

/// Whether a permit is there to be lost, and was.
pub(crate) fn is_gone(permit: Option<&Permit>) -> bool {
    permit.is_some_and(|permit| permit.place() == Place::Gone)
}

/// Notes where the permit of a job with a time limit is.
pub(crate) fn note(permit: Option<&Permit>, place: Place) {
    if let Some(permit) = permit {
        permit.set(place);
    }
}
