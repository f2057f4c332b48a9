//! Runs and drops the user's code where no panic may unwind further.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops a value and catches a panic of its destructor.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // The payload's destructor may panic in turn, so the payload is leaked.
        std::mem::forget(payload);
    }
}

/// Runs the user's code and catches a panic, which the panic hook has reported.
#[inline]
pub(crate) fn contain(work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        discard(payload);
    }
}
