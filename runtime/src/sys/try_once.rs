//! [`TryOnce`]: a cell for what is started at its first use and may be refused, as a pool or a runtime. A failure is told
//! of once the cell is free again: the panic hook that hears of it may use the same cell.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};

use super::fork;

/// The value, made if there is none. It is made without a lock: the program's allocator may ask for it meanwhile, and a
/// fork may leave a lock that another thread holds.
#[inline]
pub(crate) fn get_or_make<T>(cell: &OnceLock<T>, make: impl Fn() -> T) -> &T {
    loop {
        match cell.get() {
            Some(value) => return value,
            None => drop(cell.set(make())),
        }
    }
}

/// As [`OnceLock`], with an initializer that can fail.
pub(crate) struct TryOnce<T> {
    value: OnceLock<T>,
    filling: Mutex<()>,
    /// The forks before a thread last began to fill it.
    forks: AtomicU32,
}

impl<T> TryOnce<T> {
    pub(crate) const fn new() -> Self {
        Self { value: OnceLock::new(), filling: Mutex::new(()), forks: AtomicU32::new(0) }
    }

    pub(crate) fn filled(value: T) -> Self {
        Self { value: OnceLock::from(value), filling: Mutex::new(()), forks: AtomicU32::new(0) }
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value; `fill` makes it if there is none, one thread at a time.
    ///
    /// # Errors
    ///
    /// That of `fill`. The next one who asks tries again.
    ///
    /// # Panics
    ///
    /// In the child of a fork, if a thread of the parent was filling it at the fork.
    #[inline]
    pub(crate) fn get_or_fill<E>(&self, fill: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        match self.value.get() {
            Some(value) => Ok(value),
            None => self.fill(fill),
        }
    }

    #[cold]
    fn fill<E>(&self, fill: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let forks = fork::count();
        let _alone = match self.filling.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // A thread of the parent's holds it, which does not exist here.
            Err(TryLockError::WouldBlock) if self.forks.load(Ordering::Relaxed) != forks => fork::refuse(),
            Err(TryLockError::WouldBlock) => self.filling.lock().unwrap_or_else(PoisonError::into_inner),
        };
        self.forks.store(forks, Ordering::Relaxed);
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = fill()?;
        Ok(self.value.get_or_init(|| value))
    }
}
