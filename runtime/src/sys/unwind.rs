//! Running and dropping what the user wrote, where nothing may unwind.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops a value whose destructor may panic, where nothing may unwind.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Its destructor may panic again: there is no end to that but a leak.
        std::mem::forget(payload);
    }
}

/// Runs the user's part of something that must go on whatever it does; the panic hook tells of a panic.
#[inline]
pub(crate) fn contain(work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        discard(payload);
    }
}
