//! [`TryOnceLock`]: a `OnceLock` with a fallible initializer, for pools and runtimes that start at their first use.
//!
//! It returns an error after it has released its lock: the caller may panic with it, and the panic hook may use the
//! same cell.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};

use super::fork;

/// The value, initialized if there is none. No lock is held while `make` runs: the program's global allocator may ask
/// for the same value, and a fork would leave a lock that another thread holds locked for ever. `make` may run more
/// than once.
#[inline]
pub(crate) fn get_or_init_unlocked<T>(cell: &OnceLock<T>, make: impl Fn() -> T) -> &T {
    loop {
        match cell.get() {
            Some(value) => return value,
            None => drop(cell.set(make())),
        }
    }
}

/// A [`OnceLock`] whose initializer can fail.
pub(crate) struct TryOnceLock<T> {
    value: OnceLock<T>,
    lock: Mutex<()>,
    /// The fork generation in which a thread last took `lock`.
    generation: AtomicU32,
}

impl<T> TryOnceLock<T> {
    pub(crate) const fn new() -> Self {
        Self { value: OnceLock::new(), lock: Mutex::new(()), generation: AtomicU32::new(0) }
    }

    pub(crate) fn with_value(value: T) -> Self {
        Self { value: OnceLock::from(value), lock: Mutex::new(()), generation: AtomicU32::new(0) }
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, initialized by one thread at a time if there is none.
    ///
    /// # Errors
    ///
    /// Those of `init`. The next call tries again.
    ///
    /// # Panics
    ///
    /// In the child of a fork, if a thread of the parent was initializing the value at the fork.
    #[inline]
    pub(crate) fn get_or_try_init<E>(&self, init: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        match self.value.get() {
            Some(value) => Ok(value),
            None => self.init(init),
        }
    }

    #[cold]
    fn init<E>(&self, init: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let generation = fork::generation();
        let _alone = match self.lock.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // A thread that exists in the parent only holds the lock.
            Err(TryLockError::WouldBlock) if self.generation.load(Ordering::Relaxed) != generation => {
                fork::panic_in_child()
            }
            Err(TryLockError::WouldBlock) => self.lock.lock().unwrap_or_else(PoisonError::into_inner),
        };
        self.generation.store(generation, Ordering::Relaxed);
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = init()?;
        Ok(self.value.get_or_init(|| value))
    }
}
