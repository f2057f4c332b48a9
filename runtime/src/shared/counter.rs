//! [`Counter`]: a number that processes share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::handle;
use super::memory::Memory;
use crate::process::CodecError;

/// A number that threads and processes read and change, without a lock.
///
/// # Examples
///
/// ```
/// use fanfold::shared::Counter;
///
/// let done = Counter::new(0);
/// let same = done.clone();
/// assert_eq!(same.add(5), 5);
/// assert_eq!(done.add(-2), 3);
/// assert_eq!(done.get(), 3);
/// ```
#[doc(alias = "Value")]
#[doc(alias = "AtomicI64")]
#[derive(Clone)]
pub struct Counter(Arc<Memory>);

impl Counter {
    /// Makes a counter with this value.
    ///
    /// # Panics
    ///
    /// If there is no shared memory, such as at the limit of open files (`RLIMIT_NOFILE`).
    #[must_use]
    pub fn new(value: i64) -> Self {
        let counter = Self(Arc::new(Memory::expect_new(0)));
        counter.set(value);
        counter
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.long(0).load(Ordering::SeqCst).cast_signed()
    }

    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.long(0).store(value.cast_unsigned(), Ordering::SeqCst);
    }

    /// Adds a number, which may be negative, in one step; returns the sum. It wraps around at the limits of an `i64`.
    #[doc(alias = "fetch_add")]
    #[allow(clippy::must_use_candidate, reason = "most callers only count")]
    pub fn add(&self, number: i64) -> i64 {
        self.0.long(0).fetch_add(number.cast_unsigned(), Ordering::SeqCst).cast_signed().wrapping_add(number)
    }

    /// Sets the value to `new` if it is `current`, in one step.
    ///
    /// # Errors
    ///
    /// The value, if it is another one.
    pub fn compare_exchange(&self, current: i64, new: i64) -> Result<i64, i64> {
        let (current, new) = (current.cast_unsigned(), new.cast_unsigned());
        let exchanged = self.0.long(0).compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst);
        exchanged.map(u64::cast_signed).map_err(u64::cast_signed)
    }

    fn memory(&self) -> &Memory {
        &self.0
    }

    #[allow(clippy::unnecessary_wraps, reason = "other handles check the memory")]
    fn of(memory: Memory) -> Result<Self, CodecError> {
        Ok(Self(Arc::new(memory)))
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.get()).finish()
    }
}

handle!(Counter);
