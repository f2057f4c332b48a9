//! The flag that ends a map early: a failure, or a panic of one of its workers.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set once, seen by all before they start on more.
pub(crate) struct Stop(AtomicBool);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Sets the flag when it is dropped by a panic.
    pub(crate) fn on_unwind(&self) -> OnUnwind<'_> {
        OnUnwind(self)
    }
}

/// See [`Stop::on_unwind`].
pub(crate) struct OnUnwind<'a>(&'a Stop);

impl OnUnwind<'_> {
    /// All went well.
    pub(crate) fn defuse(self) {
        std::mem::forget(self);
    }
}

impl Drop for OnUnwind<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}
