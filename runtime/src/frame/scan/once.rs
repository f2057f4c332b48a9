//! [`Once`]: a cell for a decoded column, which the first worker that needs it decodes. The others give their permits back
//! while they wait, unlike with [`OnceLock`]; and after a panic of the first the next one tries, so that nothing can fail
//! for good. What may fail with an error, and is short, is made in a `TryOnceLock` (`runtime/src/once.rs`).

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::pool;

/// As [`OnceLock`], for workers that may wait long.
pub(super) struct Once<T> {
    value: OnceLock<T>,
    /// Whether a worker makes the value.
    making: Mutex<bool>,
    made: Condvar,
}

impl<T> Once<T> {
    pub(super) fn new() -> Self {
        Self { value: OnceLock::new(), making: Mutex::new(false), made: Condvar::new() }
    }

    /// The value; made here, or waited for while another worker makes it. `make` is called with no lock held.
    pub(super) fn get_or_init(&self, make: impl Fn() -> T) -> &T {
        loop {
            if let Some(value) = self.value.get() {
                return value;
            }
            let mut making = self.making();
            if !*making && self.value.get().is_none() {
                *making = true;
                drop(making);
                let _end = Making(self);
                let _ = self.value.set(make());
                continue;
            }
            drop(making);
            pool::blocking_section(|| drop(self.made.wait_while(self.making(), |making| *making)));
        }
    }

    fn making(&self) -> MutexGuard<'_, bool> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the other workers when dropped, also after a panic: the next of them makes the value then.
struct Making<'a, T>(&'a Once<T>);

impl<T> Drop for Making<'_, T> {
    fn drop(&mut self) {
        *self.0.making() = false;
        self.0.made.notify_all();
    }
}
