//! Sleeping on a word of shared memory (`futex`).

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex;

use super::timespec;

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
