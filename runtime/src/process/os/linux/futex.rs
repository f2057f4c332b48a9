//! Sleeping on a word of shared memory (`futex`).

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex;

use super::{Socket, timespec};

/// Another process wakes the word, so the futex is not private.
const FLAGS: futex::Flags = futex::Flags::empty();

/// Sleeps while the word is `seen`, until a wake-up or the time limit. May return early.
pub(crate) fn futex_wait(word: &AtomicU32, seen: u32, limit: Option<Duration>) {
    // The caller reads the word again, whatever ended the sleep.
    let _ = futex::wait(word, FLAGS, seen, limit.map(timespec).as_ref());
}

/// Wakes all threads that sleep on the word, in all processes.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // Waking a word of mapped memory cannot fail.
    let _ = futex::wake(word, FLAGS, i32::MAX.unsigned_abs());
}

/// Whether a process can sleep on a word of shared memory.
pub(crate) const HAS_FUTEX: bool = true;

/// A parent sleeps on a futex instead, whose wake-up is cheap.
pub(crate) fn spin(_: Duration, _: impl Fn() -> bool) -> bool {
    false
}

/// A worker sleeps at once.
#[inline]
pub(crate) fn spin_before_sleep(_: impl Fn() -> bool) {}

/// How a parent wakes its worker: by a futex.
pub(crate) struct Bell;

#[allow(clippy::unused_self, reason = "other systems wake a worker through their connection")]
impl Bell {
    pub(crate) fn unconnected() -> Self {
        Self
    }

    pub(crate) fn of(_: &Socket) -> Self {
        Self
    }

    /// Parent: wakes the worker that sleeps on the word.
    #[inline]
    pub(crate) fn ring(&self, word: &AtomicU32) {
        futex_wake(word);
    }

    /// Worker: sleeps while the word is `seen`. May return early.
    #[inline]
    pub(crate) fn sleep(&self, word: &AtomicU32, seen: u32) {
        futex_wait(word, seen, None);
    }
}
