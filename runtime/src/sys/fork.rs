//! Noticing a fork: the child has the parent's pools in memory, and none of their threads.

#[cfg(all(unix, not(miri)))]
use std::sync::Once;
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
    static WATCH: Once = Once::new();
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler only adds to an atomic, which is allowed in a child of a process with several threads.
    WATCH.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
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
