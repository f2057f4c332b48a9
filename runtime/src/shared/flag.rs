//! [`Flag`]: an event that processes set and wait for.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::handle;
use super::memory::Memory;
use super::poll::poll_until;
use crate::channel::waiting;
use crate::process::{CodecError, os};

/// A flag that threads and processes set, and wait for.
///
/// A thread of a pool that waits lets another one run meanwhile; a worker process does not.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use fanfold::shared::Flag;
///
/// let ready = Flag::new();
/// assert!(!ready.wait_timeout(Duration::from_millis(1)));
/// let sets = std::thread::spawn({
///     let ready = ready.clone();
///     move || ready.set()
/// });
/// ready.wait();
/// assert!(ready.is_set());
/// # sets.join().unwrap();
/// ```
#[doc(alias = "Event")]
#[doc(alias = "Condvar")]
#[derive(Clone)]
pub struct Flag(Arc<Memory>);

impl Flag {
    /// Makes a flag that is not set.
    ///
    /// # Panics
    ///
    /// If there is no shared memory, such as at the limit of open files (`RLIMIT_NOFILE`).
    #[must_use]
    #[allow(clippy::new_without_default, reason = "making one may fail")]
    pub fn new() -> Self {
        Self(Arc::new(Memory::expect_new(0)))
    }

    /// As [`new`](Self::new), where the lack of memory is an error.
    pub(crate) fn try_new() -> io::Result<Self> {
        Ok(Self(Arc::new(Memory::new(0)?)))
    }

    /// Sets the flag, and wakes all who wait for it.
    pub fn set(&self) {
        self.0.word(0).store(1, Ordering::SeqCst);
        os::futex_wake(self.0.word(0));
    }

    /// Clears the flag.
    pub fn clear(&self) {
        self.0.word(0).store(0, Ordering::SeqCst);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.word(0).load(Ordering::SeqCst) != 0
    }

    /// Waits until the flag is set: for ever, if the process that should set it has ended. Use
    /// [`wait_timeout`](Self::wait_timeout) where it may.
    ///
    /// # Panics
    ///
    /// If it has to wait on the only thread of a Tokio runtime (feature `tokio`).
    #[track_caller]
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits until the flag is set, for `limit` at most; returns whether it is.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    #[must_use]
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(limit))
    }

    /// As [`wait`](Self::wait), for async code: it blocks no thread, and any executor can poll it. It looks at the flag
    /// again and again, after 50 us first and every 10 ms at last: so it ends up to 10 ms after the flag is set, and may
    /// miss a flag that is set and cleared at once. Where that is too late, call [`wait`](Self::wait) on a thread that may
    /// block, or send a value through a [channel](crate::channel()). Dropping it ends the wait.
    ///
    /// # Panics
    ///
    /// If the operating system refuses the timer thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::shared::Flag;
    ///
    /// let ready = Flag::new();
    /// let sets = std::thread::spawn({
    ///     let ready = ready.clone();
    ///     move || ready.set()
    /// });
    /// # pollster::block_on(async {
    /// ready.wait_async().await;
    /// # });
    /// assert!(ready.is_set());
    /// # sets.join().unwrap();
    /// ```
    pub async fn wait_async(&self) {
        poll_until(|| self.is_set().then_some(())).await;
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        self.is_set() || waiting(deadline, || self.sleep(deadline))
    }

    fn sleep(&self, deadline: Option<Instant>) -> bool {
        loop {
            if self.is_set() {
                return true;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            os::futex_wait(self.0.word(0), 0, left);
        }
    }

    fn memory(&self) -> &Memory {
        &self.0
    }

    #[allow(clippy::unnecessary_wraps, reason = "other handles check the memory")]
    fn of(memory: Memory) -> Result<Self, CodecError> {
        Ok(Self(Arc::new(memory)))
    }
}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flag").field(&self.is_set()).finish()
    }
}

handle!(Flag);
