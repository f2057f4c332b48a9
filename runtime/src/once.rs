//! [`TryOnce`]: a cell for what is started at its first use and may be refused, as a pool or a runtime. A failure is told
//! of once the cell is free again: the panic hook that hears of it may use the same cell.

use std::sync::{Mutex, OnceLock, PoisonError};

/// As [`OnceLock`], with an initializer that can fail.
pub(crate) struct TryOnce<T> {
    value: OnceLock<T>,
    filling: Mutex<()>,
}

impl<T> TryOnce<T> {
    pub(crate) const fn new() -> Self {
        Self { value: OnceLock::new(), filling: Mutex::new(()) }
    }

    pub(crate) fn filled(value: T) -> Self {
        Self { value: OnceLock::from(value), filling: Mutex::new(()) }
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
    #[inline]
    pub(crate) fn get_or_fill<E>(&self, fill: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        match self.value.get() {
            Some(value) => Ok(value),
            None => self.fill(fill),
        }
    }

    #[cold]
    fn fill<E>(&self, fill: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let _alone = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = fill()?;
        Ok(self.value.get_or_init(|| value))
    }
}
