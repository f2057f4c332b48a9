//! Locks a mutex and waits on a condition variable, in spite of poison, and never for a thread that a fork left behind.
//!
//! A forked copy of a worker process has no other threads. If one of them held a lock at the fork, nothing in the copy
//! unlocks it. So a copy that would wait exits: the worker itself answers the request, and its copy is not needed.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, WaitTimeoutResult};
use std::time::Duration;

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
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
