//! The flag that ends a map early: a failure, or a panic of one of its workers.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set once, seen by all before they start on more.
pub(super) struct Stop(AtomicBool);

impl Stop {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Sets the flag when it is dropped by a panic.
    pub(super) fn on_unwind(&self) -> OnUnwind<'_> {
        OnUnwind(self)
    }
}

/// See [`Stop::on_unwind`].
pub(super) struct OnUnwind<'a>(&'a Stop);

impl OnUnwind<'_> {
    /// All went well.
    pub(super) fn defuse(self) {
        std::mem::forget(self);
    }
}

impl Drop for OnUnwind<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}
