//! Noticing a fork: the child has the parent's pools in memory, and none of their threads.

use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(all(unix, not(miri)))]
use handlers::watch;

/// How often this process, and those before it, were forked.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The number of forks that lie behind; another one later means that the threads of before are gone.
pub(crate) fn count() -> u32 {
    watch();
    FORKS.load(Ordering::Relaxed)
}

#[cfg(all(unix, not(miri)))]
mod handlers {
    use std::cell::UnsafeCell;
    use std::sync::atomic::Ordering;
    use std::sync::{MutexGuard, Once};
    use std::time::Instant;

    use super::FORKS;
    #[cfg(feature = "tokio")]
    use crate::async_fn;
    use crate::error::panics;
    use crate::pool::{self, config, timer};

    /// The locks of the process. A thread that forks holds all of them: one that another thread held would never be free
    /// in the child. Every other thread holds one of them at a time, for less than a microsecond mostly, and calls nothing
    /// under it that may fork.
    struct Locks {
        _timer: MutexGuard<'static, timer::Queue>,
        _pools: MutexGuard<'static, pool::Started>,
        _settings: MutexGuard<'static, config::Settings>,
        _hook: MutexGuard<'static, Option<Instant>>,
        #[cfg(feature = "tokio")]
        _futures: MutexGuard<'static, async_fn::Futures>,
    }

    impl Locks {
        fn take() -> Self {
            Self {
                _timer: timer::lock(),
                _pools: pool::lock_started(),
                _settings: config::settings(),
                _hook: panics::begun(),
                #[cfg(feature = "tokio")]
                _futures: async_fn::alive(),
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
        FORKS.fetch_add(1, Ordering::Relaxed);
        pool::forget_parent();
    }

    pub(crate) fn watch() {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            // SAFETY: the handlers take and release locks, and write to atomics and to thread-locals without destructors,
            // which is allowed in a child of a process with several threads.
            unsafe { libc::pthread_atfork(Some(before), Some(release), Some(in_child)) };
        });
    }
}

// Miri forks nothing.
#[cfg(any(not(unix), miri))]
fn watch() {}

/// The number of forks without asking for them to be counted: for what a pool runs, which has asked.
#[inline]
pub(crate) fn seen() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Whether this is a process that was forked since `count` was taken. The pools of before have no threads here, and
/// their locks may be held for ever, by threads that exist in the parent alone.
#[inline]
pub(crate) fn is_child(count: u32) -> bool {
    FORKS.load(Ordering::Relaxed) != count
}

/// Ends a forked child whose worker has run its function to the end. There is nobody to take the result: that thread is
/// the only one of the process, and the thread that waits is in the parent.
#[cold]
pub(crate) fn end_child() -> ! {
    #[cfg(all(unix, not(miri)))]
    {
        const WHY: &str = "a function that ran on a worker thread forked the process, and returned in the child, where no \
                           thread waits for it: end the child by `exec` or `_exit`\n";
        // SAFETY: writes the text to the standard error without a lock, which another thread may have held, and ends the
        // process without its parent's exit handlers.
        unsafe {
            libc::write(libc::STDERR_FILENO, WHY.as_ptr().cast(), WHY.len());
            libc::_exit(101);
        }
    }
    #[cfg(any(not(unix), miri))]
    std::process::abort()
}

/// Panics in a process that was forked since `count` was taken, in place of waiting for ever.
#[inline]
#[track_caller]
pub(crate) fn check(count: u32) {
    if is_child(count) {
        refuse();
    }
}

/// As [`check`], in a process that was forked.
#[cold]
#[track_caller]
pub(crate) fn refuse() -> ! {
    panic!(
        "this process was forked from one whose pools had threads, and they do not exist here: start the program anew \
         (exec) after a fork, or fork before the first use of Fanfold"
    )
}
