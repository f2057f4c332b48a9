//! The flag that ends a map early, at a failure or at a panic of one of its workers.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set at most once; workers read it before they take more items.
pub(crate) struct StopFlag(AtomicBool);

impl StopFlag {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// A guard that sets the flag if a panic drops it.
    pub(crate) fn set_on_unwind(&self) -> StopOnUnwind<'_> {
        StopOnUnwind(self)
    }
}

/// See [`StopFlag::set_on_unwind`].
pub(crate) struct StopOnUnwind<'a>(&'a StopFlag);

impl StopOnUnwind<'_> {
    /// Ends the guard without setting the flag.
    pub(crate) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for StopOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}
