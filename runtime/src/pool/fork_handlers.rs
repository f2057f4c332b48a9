//! What a fork does with the locks and threads of the pools: a thread that forks holds all process-wide locks, so that none
//! is held by a thread that does not exist in the child.

use std::cell::UnsafeCell;
use std::sync::{MutexGuard, Once};
use std::time::Instant;

#[cfg(feature = "tokio")]
use super::async_tasks;
use super::{config, current_worker, registry, timer};
use crate::error::panics;

/// The locks of the process. A thread that forks holds all of them: one that another thread held would never be free
/// in the child. Every other thread holds one of them at a time, for less than a microsecond mostly, and calls nothing
/// under it that may fork.
struct Locks {
    _timer: MutexGuard<'static, timer::Queue>,
    _pools: MutexGuard<'static, registry::Started>,
    _settings: MutexGuard<'static, config::Settings>,
    _hook: MutexGuard<'static, Option<Instant>>,
    #[cfg(feature = "tokio")]
    _futures: MutexGuard<'static, async_tasks::Futures>,
}

impl Locks {
    fn take() -> Self {
        Self {
            _timer: timer::lock(),
            _pools: registry::lock(),
            _settings: config::settings(),
            _hook: panics::started(),
            #[cfg(feature = "tokio")]
            _futures: async_tasks::alive(),
        }
    }
}

/// The locks of the thread that forks.
struct Held(UnsafeCell<Option<Locks>>);

// SAFETY: only `before` and `release` touch the content, and a thread that runs them holds all of the locks, so that
// it is alone there. The guards are dropped by the thread that made them, or in the child by its copy.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

extern "C" fn before() {
    let locks = Locks::take();
    // SAFETY: this thread holds the locks, so no other one is between `before` and `release`.
    unsafe { *HELD.0.get() = Some(locks) };
}

extern "C" fn release() {
    // SAFETY: this thread has run `before`, and holds the locks until the guards are dropped, after the cell was left.
    let locks = unsafe { (*HELD.0.get()).take() };
    drop(locks);
}

extern "C" fn in_child() {
    release();
    current_worker::forget_parent();
}

/// Has these handlers run at every fork from now on.
pub(super) fn watch() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        // SAFETY: the handlers take and release locks, and write to atomics and to thread-locals without destructors,
        // which is allowed in a child of a process with several threads.
        unsafe { libc::pthread_atfork(Some(before), Some(release), Some(in_child)) };
    });
}
