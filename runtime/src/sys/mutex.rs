//! Locks a mutex and waits on a condition variable, in spite of poison, and never for a thread that a fork left behind.
//!
//! A forked child has none of its parent's other threads. If one of them held a lock at the fork, nothing in the child
//! unlocks it. So a child that would wait for ever panics. The copy of a worker process exits: the worker itself
//! answers the request, and its copy is not needed.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, WaitTimeoutResult};
use std::time::{Duration, Instant};

use super::{fork, thread};

#[cfg(feature = "process")]
use super::owner::exit_if_forked_worker;

#[cfg(not(feature = "process"))]
fn exit_if_forked_worker() {}

/// Locks the mutex. What it guards stays valid where a thread panics, so poison is ignored.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => lock_contended(mutex),
    }
}

#[cold]
fn lock_contended<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    exit_if_forked_worker();
    if fork::watched_generation() != 0 {
        return lock_in_child(mutex).unwrap_or_else(|| fork::panic_in_child());
    }
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a forked child with several threads waits for a lock. No lock is held for longer than some microseconds,
/// but the thread that holds it may lose its CPU.
const CHILD_LIMIT: Duration = Duration::from_secs(10);

/// Locks the mutex in a forked child; `None` if a thread that exists in the parent only holds it.
fn lock_in_child<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    let deadline = Instant::now() + CHILD_LIMIT;
    let mut pause = Duration::ZERO;
    loop {
        // Read before the lock is tried: a thread may release it and end.
        let is_last_try = thread::is_alone() || Instant::now() >= deadline;
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if is_last_try => return None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(pause),
        }
        pause = (2 * pause).clamp(Duration::from_micros(1), Duration::from_millis(1));
    }
}

/// Waits for a notification.
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    exit_if_forked_worker();
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits while the condition holds.
#[cfg(feature = "polars-lazy")]
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    must_wait: impl Fn(&T) -> bool,
) -> MutexGuard<'a, T> {
    while must_wait(&guard) {
        guard = wait(condvar, guard);
    }
    guard
}

/// Waits for a notification, for this time at most.
pub(crate) fn wait_timeout<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    time: Duration,
) -> (MutexGuard<'a, T>, WaitTimeoutResult) {
    exit_if_forked_worker();
    condvar.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, unix, not(miri)))]
mod tests {
    use std::sync::Mutex;

    #[test]
    fn a_lock_that_is_held_at_a_fork_is_not_waited_for_in_the_child() {
        let lock = Mutex::new(());
        let held = super::lock(&lock);
        // SAFETY: the child tries the lock, and ends without running the parent's destructors.
        match unsafe { libc::fork() } {
            -1 => panic!("it cannot fork"),
            // SAFETY: both take a number.
            0 => unsafe {
                libc::alarm(60);
                libc::_exit(i32::from(super::lock_in_child(&lock).is_some()))
            },
            child => {
                let mut status = -1;
                // SAFETY: `status` is valid for the write.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                assert_eq!(status, 0);
            }
        }
        drop(held);
        assert!(super::lock_in_child(&lock).is_some());
    }
}
