//! `pthread_atfork` handlers: a thread that forks holds all process-wide locks of Fanfold across the fork, so that in
//! the child none of them is held by a thread that does not exist there.

use std::cell::UnsafeCell;
use std::sync::{MutexGuard, Once};
use std::time::Instant;

#[cfg(feature = "tokio")]
use super::async_tasks;
use super::{config, current_worker, registry, timer};
use crate::error::panics;

/// All process-wide locks. Every other thread holds one of them at a time, mostly for less than a microsecond, and
/// calls nothing under it that may fork. Threads that fork take them in one order. So taking them cannot deadlock.
struct AllLocks {
    _timer: MutexGuard<'static, timer::TimerQueue>,
    _registry: MutexGuard<'static, registry::Registry>,
    _config: MutexGuard<'static, config::DefaultSizes>,
    _panic_hook: MutexGuard<'static, Option<Instant>>,
    #[cfg(feature = "tokio")]
    _futures: MutexGuard<'static, async_tasks::LiveCount>,
}

impl AllLocks {
    fn take() -> Self {
        Self {
            _timer: timer::lock(),
            _registry: registry::lock(),
            _config: config::lock(),
            _panic_hook: panics::started(),
            #[cfg(feature = "tokio")]
            _futures: async_tasks::lock(),
        }
    }
}

/// The locks, while a thread forks.
struct ForkLocks(UnsafeCell<Option<AllLocks>>);

// SAFETY: only `before_fork` and `release` use the content. A thread that runs them holds all of the locks, so no other
// thread is between the two. The guards are dropped by the thread that made them, or in the child by its only thread,
// the copy of that thread.
unsafe impl Sync for ForkLocks {}

static FORK_LOCKS: ForkLocks = ForkLocks(UnsafeCell::new(None));

extern "C" fn before_fork() {
    let locks = AllLocks::take();
    // SAFETY: this thread holds all locks, so no other thread is between `before_fork` and `release`.
    unsafe { *FORK_LOCKS.0.get() = Some(locks) };
}

extern "C" fn release() {
    // SAFETY: this thread has run `before_fork`, and holds all locks until the guards are dropped, which is after the
    // last use of the cell.
    let locks = unsafe { (*FORK_LOCKS.0.get()).take() };
    drop(locks);
}

extern "C" fn in_child() {
    release();
    current_worker::forget_parent();
    // The lists of a report belong to threads that are not here.
    #[cfg(feature = "trace")]
    super::recorder::forget_parent();
}

/// Registers the handlers; from then on they run at every fork.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handlers take and release locks, and write to atomics and to thread-locals without destructors,
        // which is allowed in the child of a process with several threads.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(release), Some(in_child)) };
    });
}
