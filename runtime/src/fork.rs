//! Noticing a fork: the child has the parent's pools in memory, and none of their threads.

use std::sync::atomic::{AtomicU32, Ordering};

/// How often this process, and those before it, were forked.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The number of forks that lie behind; another one later means that the threads of before are gone.
pub(crate) fn count() -> u32 {
    watch();
    FORKS.load(Ordering::Relaxed)
}

#[cfg(all(unix, not(miri)))]
fn watch() {
    extern "C" fn forked() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    static WATCH: std::sync::Once = std::sync::Once::new();
    WATCH.call_once(|| {
        // SAFETY: the handler only counts, which is allowed in a child of a process with several threads.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    });
}

// Miri forks nothing.
#[cfg(any(not(unix), miri))]
fn watch() {}

/// Panics in a process that was forked since `count` was taken, in place of waiting for ever.
#[inline]
#[track_caller]
pub(crate) fn check(count: u32) {
    assert!(
        FORKS.load(Ordering::Relaxed) == count,
        "this process was forked from one whose pools had threads, and they do not exist here: start the program anew \
         (exec) after a fork, or fork before the first use of Fanfold"
    );
}
