//! [`Mutex`]: a value that processes change one at a time.
//!
//! The lock is released when its holder ends: on Linux it is a lock on the memory's file (`flock`). A word that each
//! release changes wakes those who wait; they look again after [`POLL`] at the latest, so no other process can keep
//! them asleep. The value lies there as bytes, in the older of two places when it is stored, so that a holder that ends
//! while it stores leaves the value before.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::handle;
use super::memory::{HEADER, Memory};
use super::poll::poll_until;
use crate::channel::waiting;
use crate::process::os::{self, MemoryLock};
use crate::process::{CodecError, Decoder, Direct, Encoder, Wire, read_value, refuse_local_state, write_value};

/// The longest sleep of a waiter. It bounds how late the end of a holder is noticed, which wakes nobody.
const POLL: Duration = Duration::from_millis(10);

/// The bytes that a value may take, unless [`Mutex::with_capacity`] says otherwise.
const CAPACITY: usize = 64 << 10;

/// The offsets of the words in the header: what a release changes, whether a holder has ended without a release, which
/// of the two values is the newer one, and where the system's lock needs a word, its holder.
const RELEASES: usize = 0;
const HELD: usize = 4;
const NEWER: usize = 8;
const HOLDER: usize = 12;

/// A value that threads and processes change one at a time.
///
/// [`lock`](Self::lock) reads the value, and dropping the guard stores it if it was changed. If a holder ends or panics
/// in between, the value stays what it was before, and the lock is poisoned, as std's.
///
/// # Examples
///
/// ```
/// use fanfold::shared::Mutex;
///
/// let names = Mutex::new(vec!["a".to_owned()]);
/// names.lock()?.push("b".to_owned());
/// assert_eq!(*names.lock()?, ["a", "b"]);
/// # Ok::<(), fanfold::shared::LockError>(())
/// ```
#[doc(alias = "Lock")]
#[doc(alias = "Manager")]
pub struct Mutex<T> {
    pub(super) lock: Arc<Lock>,
    value: PhantomData<fn(T) -> T>,
}

pub(super) struct Lock {
    memory: Memory,
    /// The system's lock on the memory.
    system: MemoryLock,
    /// Whether a thread of this process holds the lock.
    held_here: AtomicBool,
}

/// Why a [`Mutex`] was not locked.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockError {
    /// A holder has ended or panicked. The value is the one before; [`Mutex::clear_poison`] makes it usable.
    Poisoned,
    /// The time limit is over.
    TimedOut,
    /// The value cannot be read or stored.
    #[non_exhaustive]
    Wire {
        /// Why.
        message: String,
    },
    /// A system call failed.
    #[non_exhaustive]
    System {
        /// The operating system's message.
        message: String,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisoned => f.write_str("the lock is poisoned: a holder has ended or panicked"),
            Self::TimedOut => f.write_str("the lock was not released in time"),
            Self::Wire { message } => write!(f, "the locked value cannot be read or stored: {message}"),
            Self::System { message } => write!(f, "the lock has failed: {message}"),
        }
    }
}

impl std::error::Error for LockError {}

impl From<CodecError> for LockError {
    fn from(error: CodecError) -> Self {
        Self::Wire { message: error.to_string() }
    }
}

/// A process function can return its lock's error.
impl Direct for LockError {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.value(&match self {
            Self::Poisoned => (0_u8, ""),
            Self::TimedOut => (1, ""),
            Self::Wire { message } => (2, message.as_str()),
            Self::System { message } => (3, message.as_str()),
        })
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let (kind, message): (u8, String) = input.value()?;
        Ok(match kind {
            0 => Self::Poisoned,
            1 => Self::TimedOut,
            2 => Self::Wire { message },
            _ => Self::System { message },
        })
    }
}

impl<T: Wire> Mutex<T> {
    /// Makes a lock around a value, which may take up to 64 KiB.
    ///
    /// # Panics
    ///
    /// If the value takes more or cannot be stored, and if there is no shared memory. If `T` is an `Arc` of a lock or an
    /// atomic (serde's feature `rc`): what is locked would be a copy.
    #[must_use]
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self::with_capacity(value, CAPACITY)
    }

    /// Makes a lock around a value, which may take up to `capacity` bytes.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    #[must_use]
    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "as std's")]
    pub fn with_capacity(value: T, capacity: usize) -> Self {
        refuse_local_state::<T>();
        let place = capacity.saturating_add(8).next_multiple_of(8);
        let mutex = Self::of(Memory::expect_new(place.saturating_mul(2)));
        let mutex = mutex.unwrap_or_else(|error| panic!("no shared lock: {error}"));
        mutex.lock.store(&value).unwrap_or_else(|error| panic!("{error}"));
        mutex
    }

    /// Locks the value; waits until no other holds it. A thread of a pool that waits lets another one run meanwhile; a
    /// worker process does not. A holder that locks once more waits for itself.
    ///
    /// # Errors
    ///
    /// [`LockError::Poisoned`] if a holder has ended or panicked, [`LockError::Wire`] if the value is no `T`, and
    /// [`LockError::System`] if the system refuses the lock.
    ///
    /// # Panics
    ///
    /// If it has to wait on the only thread of a Tokio runtime (feature `tokio`).
    #[track_caller]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, LockError> {
        self.lock_until(None)
    }

    /// As [`lock`](Self::lock); waits for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock), and [`LockError::TimedOut`].
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> Result<MutexGuard<'_, T>, LockError> {
        self.lock_until(Instant::now().checked_add(limit))
    }

    /// As [`lock`](Self::lock), for async code: it blocks no thread, and any executor can poll it. It tries again and
    /// again, after 50 us first and every 10 ms at last: so it may get the lock up to 10 ms after it is free, in no order
    /// with others that wait. Dropping it ends the wait, and leaves the lock to others. The guard may be kept across an
    /// `.await`.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    ///
    /// # Panics
    ///
    /// If the operating system refuses the timer thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::shared::Mutex;
    ///
    /// let names = Mutex::new(Vec::new());
    /// # pollster::block_on(async {
    /// names.lock_async().await?.push("a".to_owned());
    /// assert_eq!(*names.lock_async().await?, ["a"]);
    /// # Ok::<(), fanfold::shared::LockError>(())
    /// # }).unwrap();
    /// ```
    pub async fn lock_async(&self) -> Result<MutexGuard<'_, T>, LockError> {
        poll_until(|| self.try_lock().transpose()).await
    }

    /// Locks the value if no other holds it; `None` if another does.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::shared::Mutex;
    ///
    /// let count = Mutex::new(1);
    /// let held = count.lock()?;
    /// assert!(count.try_lock()?.is_none());
    /// drop(held);
    /// assert_eq!(count.try_lock()?.as_deref(), Some(&1));
    /// # Ok::<(), fanfold::shared::LockError>(())
    /// ```
    pub fn try_lock(&self) -> Result<Option<MutexGuard<'_, T>>, LockError> {
        if self.lock.try_acquire()? { self.locked().map(Some) } else { Ok(None) }
    }

    #[track_caller]
    fn lock_until(&self, deadline: Option<Instant>) -> Result<MutexGuard<'_, T>, LockError> {
        self.lock.acquire(deadline)?;
        self.locked()
    }

    /// The value, which this thread has just locked.
    fn locked(&self) -> Result<MutexGuard<'_, T>, LockError> {
        let held = Held { lock: &self.lock, poison: true };
        if self.lock.memory.word(HELD).swap(1, Ordering::SeqCst) != 0 {
            return Err(LockError::Poisoned);
        }
        let mut guard = MutexGuard { held, value: None, changed: false };
        match self.lock.load() {
            Ok(value) => guard.value = Some(value),
            Err(error) => {
                guard.held.poison = false;
                return Err(error.into());
            }
        }
        Ok(guard)
    }

    /// Whether a holder has ended or panicked, so that [`lock`](Self::lock) fails; `false` while another holds the lock.
    /// It holds the lock itself for a moment.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        if !matches!(self.lock.try_acquire(), Ok(true)) {
            return false;
        }
        let poison = self.lock.memory.word(HELD).load(Ordering::SeqCst) != 0;
        drop(Held { lock: &self.lock, poison });
        poison
    }

    /// Makes a poisoned lock usable. The value is what the last holder stored that released it.
    ///
    /// # Errors
    ///
    /// [`LockError::System`].
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
    #[track_caller]
    pub fn clear_poison(&self) -> Result<(), LockError> {
        self.lock.acquire(None)?;
        drop(Held { lock: &self.lock, poison: false });
        Ok(())
    }
}

impl<T> Mutex<T> {
    pub(super) fn memory(&self) -> &Memory {
        &self.lock.memory
    }

    fn of(memory: Memory) -> Result<Self, CodecError> {
        let system = MemoryLock::new(memory.fd()).map_err(CodecError::new)?;
        let lock = Lock { memory, system, held_here: AtomicBool::new(false) };
        Ok(Self { lock: Arc::new(lock), value: PhantomData })
    }
}

impl Lock {
    #[track_caller]
    fn acquire(&self, deadline: Option<Instant>) -> Result<(), LockError> {
        let acquired = if self.try_acquire()? { true } else { waiting(deadline, || self.wait(deadline))? };
        if acquired { Ok(()) } else { Err(LockError::TimedOut) }
    }

    fn try_acquire(&self) -> Result<bool, LockError> {
        if self.held_here.swap(true, Ordering::Acquire) {
            return Ok(false);
        }
        let locked = self.system.try_lock(self.memory.word(HOLDER));
        if !matches!(locked, Ok(true)) {
            self.held_here.store(false, Ordering::Release);
        }
        locked.map_err(|error| LockError::System { message: error.to_string() })
    }

    fn wait(&self, deadline: Option<Instant>) -> Result<bool, LockError> {
        loop {
            let releases = self.memory.word(RELEASES).load(Ordering::SeqCst);
            if self.try_acquire()? {
                return Ok(true);
            }
            let left = deadline.map_or(POLL, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(false);
            }
            os::futex_wait(self.memory.word(RELEASES), releases, Some(left.min(POLL)));
        }
    }

    /// The bytes of each of the two places, with the length before the value.
    fn place(&self) -> usize {
        self.memory.len() / 16 * 8
    }

    fn newer(&self) -> usize {
        usize::from(self.memory.word(NEWER).load(Ordering::Acquire) & 1 == 1)
    }

    /// Reads the value from a copy of its bytes.
    fn load<T: Wire>(&self) -> Result<T, CodecError> {
        let start = HEADER + self.newer() * self.place();
        let len = usize::try_from(self.memory.long(start).load(Ordering::Relaxed)).ok();
        let len = len.filter(|len| *len <= self.place() - 8).ok_or_else(|| CodecError::new("its length is wrong"))?;
        let mut bytes = vec![0; len];
        self.memory.read(start + 8, &mut bytes);
        read_value(&bytes)
    }

    pub(super) fn store<T: Wire>(&self, value: &T) -> Result<(), LockError> {
        let mut bytes = Vec::new();
        write_value(value, &mut bytes)?;
        let capacity = self.place() - 8;
        if bytes.len() > capacity {
            let message = format!("it takes {} bytes of at most {capacity}: use `Mutex::with_capacity`", bytes.len());
            return Err(LockError::Wire { message });
        }
        let older = 1 - self.newer();
        let start = HEADER + older * self.place();
        self.memory.write_bytes(start + 8, &bytes);
        self.memory.long(start).store(bytes.len() as u64, Ordering::Relaxed);
        self.memory.word(NEWER).store(u32::from(older == 1), Ordering::Release);
        Ok(())
    }
}

/// The right to the value. Dropping it releases the lock.
struct Held<'a> {
    lock: &'a Lock,
    /// Whether the lock is poisoned when it is released.
    poison: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.poison {
            self.lock.memory.word(HELD).store(0, Ordering::SeqCst);
        }
        self.lock.system.unlock(self.lock.memory.word(HOLDER));
        self.lock.held_here.store(false, Ordering::Release);
        self.lock.memory.word(RELEASES).fetch_add(1, Ordering::SeqCst);
        os::futex_wake(self.lock.memory.word(RELEASES));
    }
}

/// A locked value. Dropping it stores the value if it was changed, and releases the lock.
///
/// # Panics
///
/// When it is dropped, if the value cannot be stored: it takes more bytes than the [`Mutex`] has. The lock is poisoned
/// then.
#[must_use = "the lock is released at once if its guard is not kept"]
pub struct MutexGuard<'a, T: Wire> {
    held: Held<'a>,
    /// `None` only until it is read.
    value: Option<T>,
    changed: bool,
}

impl<T: Wire> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it was read before the guard was given out")
    }
}

impl<T: Wire> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        self.value.as_mut().expect("it was read before the guard was given out")
    }
}

impl<T: Wire> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let (Some(value), true) = (&self.value, self.changed) {
            self.held.lock.store(value).unwrap_or_else(|error| panic!("{error}"));
        }
        self.held.poison = self.held.poison && self.value.is_none();
    }
}

impl<T: Wire + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Clone for Mutex<T> {
    /// Another handle of the same value.
    fn clone(&self) -> Self {
        Self { lock: Arc::clone(&self.lock), value: PhantomData }
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

handle!(Mutex<T>);
