//! Fork detection: the child of a fork has its parent's pools in memory, but none of their threads.

#[cfg(all(unix, not(miri)))]
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of forks between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The fork generation of this process. If it changes, the process is the child of a fork, and the threads that existed
/// before are gone. The first call installs the handler that counts forks.
pub(crate) fn generation() -> u32 {
    watch();
    GENERATION.load(Ordering::Relaxed)
}

#[cfg(all(unix, not(miri)))]
fn watch() {
    static WATCH: Once = Once::new();
    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler adds to an atomic and does nothing else, so it is async-signal-safe, as the child of a
    // process with several threads requires.
    WATCH.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}

// Miri has no fork.
#[cfg(any(not(unix), miri))]
fn watch() {}

/// [`generation`] without the check for the handler, for code that runs on a pool, which has installed it.
#[inline]
pub(crate) fn watched_generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Whether the process was forked since `generation` was read. Pools from before the fork have no threads here, and
/// their locks may be held by threads that exist in the parent only, and are then never released.
#[inline]
pub(crate) fn is_child(generation: u32) -> bool {
    GENERATION.load(Ordering::Relaxed) != generation
}

/// Ends a forked child after its only thread, the copy of a worker, has returned from its function. The thread that
/// waits for the result exists in the parent only.
#[cold]
pub(crate) fn exit_child() -> ! {
    #[cfg(all(unix, not(miri)))]
    {
        const MESSAGE: &str = "a function that ran on a worker thread forked the process, and returned in the child, \
                               where no thread waits for it: end the child by `exec` or `_exit`\n";
        // SAFETY: `write` and `_exit` are async-signal-safe; the pointer and the length are those of `MESSAGE`. Locks,
        // such as that of `std::io::stderr`, may be held by a thread that does not exist here, and exit handlers are
        // the parent's.
        unsafe {
            libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::_exit(101);
        }
    }
    #[cfg(any(not(unix), miri))]
    std::process::abort()
}

/// Panics if the process was forked since `generation` was read, instead of waiting without end.
#[inline]
#[track_caller]
pub(crate) fn check(generation: u32) {
    if is_child(generation) {
        panic_in_child();
    }
}

/// The panic of [`check`].
#[cold]
#[track_caller]
pub(crate) fn panic_in_child() -> ! {
    panic!(
        "this process was forked from one whose pools had threads, and they do not exist here: start the program anew \
         (exec) after a fork, or fork before the first use of Fanfold"
    )
}
