//! [`WorkerOnceLock`]: a [`OnceLock`] whose waiting workers give their permits back.
//!
//! It holds a decoded column. The first worker that needs the column decodes it. Other workers that need it wait, and
//! release their permits meanwhile, so that their pool can run other jobs. After a panic of the first worker the next
//! one runs the initializer again: a panic does not poison the lock.
//!
//! `TryOnceLock` in `sys` is for short initializers that may return an error.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

use crate::pool;
use crate::sys::mutex;

/// A [`OnceLock`] for initializers that run long.
pub(super) struct WorkerOnceLock<T> {
    value: OnceLock<T>,
    /// Whether a worker runs the initializer.
    making: Mutex<bool>,
    /// Notified when an initializer has returned or panicked.
    made: Condvar,
}

impl<T> WorkerOnceLock<T> {
    pub(super) fn new() -> Self {
        Self { value: OnceLock::new(), making: Mutex::new(false), made: Condvar::new() }
    }

    /// The value. One worker calls `make`, with no lock held; the others wait for its value.
    pub(super) fn get_or_init(&self, make: impl Fn() -> T) -> &T {
        loop {
            if let Some(value) = self.value.get() {
                return value;
            }
            let mut making = self.making();
            if !*making && self.value.get().is_none() {
                *making = true;
                drop(making);
                let _end = EndOnDrop(self);
                let _ = self.value.set(make());
                continue;
            }
            drop(making);
            pool::blocking_section(|| drop(mutex::wait_while(&self.made, self.making(), |making| *making)));
        }
    }

    fn making(&self) -> MutexGuard<'_, bool> {
        mutex::lock(&self.making)
    }
}

/// Clears `making` and wakes the waiting workers when dropped, also after a panic of the initializer.
struct EndOnDrop<'a, T>(&'a WorkerOnceLock<T>);

impl<T> Drop for EndOnDrop<'_, T> {
    fn drop(&mut self) {
        *self.0.making() = false;
        self.0.made.notify_all();
    }
}
