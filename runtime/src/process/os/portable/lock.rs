//! [`MemoryLock`]: a lock of several processes, in a word of their shared memory that holds the holder's process id.
//!
//! A waiter takes the lock over if the holder's process has ended. No system but Linux releases a lock on memory with
//! its holder. A process that gets the id of an ended holder before a waiter looks keeps the lock until it ends, too.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Handle, system};

pub(crate) struct MemoryLock(());

impl MemoryLock {
    #[allow(clippy::unnecessary_wraps, reason = "as on Linux, which opens a file")]
    pub(crate) fn new(_: &Handle) -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Takes the lock, in which `word` holds the holder's process id; `false` if another process has it.
    #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "as on Linux")]
    pub(crate) fn try_lock(&self, word: &AtomicU32) -> io::Result<bool> {
        let own = std::process::id();
        let take = |from| word.compare_exchange(from, own, Ordering::Acquire, Ordering::Relaxed);
        Ok(match take(0) {
            Ok(_) => true,
            Err(holder) => holder != own && !system::is_running(holder) && take(holder).is_ok(),
        })
    }

    #[allow(clippy::unused_self, reason = "as on Linux")]
    pub(crate) fn unlock(&self, word: &AtomicU32) {
        // A waiter may have taken the lock over from a process of the same id that had ended before.
        let _ = word.compare_exchange(std::process::id(), 0, Ordering::Release, Ordering::Relaxed);
    }
}
