//! Sleeping on a word of shared memory (`futex`).

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::timespec;

/// Sleeps while the word is `seen`, until a wake-up or the time limit. May return early.
pub(crate) fn futex_wait(word: &AtomicU32, seen: u32, limit: Option<Duration>) {
    let time = limit.map(timespec);
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the reference keeps the word alive and aligned, and `time` is null or points to a `timespec` that lives
    // during the call. The futex is not private, because another process wakes it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, time) };
}

/// Wakes all threads that sleep on the word, in all processes.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: the reference keeps the word alive and aligned.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
