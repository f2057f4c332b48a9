//! Starts threads, also in a forked child.
//!
//! The standard library registers each thread that starts or ends with its handler of stack overflows, under a lock. If
//! another thread of the parent holds that lock at the fork, it is never released in the child, and every thread that
//! the child starts through the standard library waits for it. So a forked child calls `pthread_create` itself. A stack
//! overflow on such a thread ends the process by `SIGSEGV` without a message.

use std::io;
use std::thread::{Builder, JoinHandle};

#[cfg(all(unix, not(miri)))]
use super::fork;

/// Starts a thread with this name, and this stack in bytes or the default one. Gives its handle, except in a forked
/// child, where the thread is detached.
///
/// # Errors
///
/// If the operating system refuses the thread.
pub(crate) fn spawn(
    name: String,
    stack: Option<usize>,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<Option<JoinHandle<()>>> {
    #[cfg(all(unix, not(miri)))]
    {
        let default = forked::default_stack();
        if fork::watched_generation() != 0 {
            return forked::spawn(&name, stack.unwrap_or(default), Box::new(run)).map(|()| None);
        }
    }
    let mut builder = Builder::new().name(name);
    if let Some(stack) = stack {
        builder = builder.stack_size(stack);
    }
    builder.spawn(run).map(Some)
}

/// Whether the process has no other thread; `false` as well where that cannot be known.
pub(crate) fn is_alone() -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        // A folder has two links and one more for each folder in it, here one for each thread.
        std::fs::metadata("/proc/self/task").is_ok_and(|threads| threads.nlink() == 3)
    }
    #[cfg(not(target_os = "linux"))]
    false
}

#[cfg(all(unix, not(miri)))]
mod forked {
    use std::ffi::{CString, c_void};
    use std::sync::OnceLock;
    use std::{io, mem, ptr};

    use crate::sys::try_once::get_or_init_unlocked;
    use crate::sys::unwind;

    /// What a new thread begins with.
    struct Start {
        name: CString,
        run: Box<dyn FnOnce() + Send>,
    }

    /// The stack of the standard library's threads: `RUST_MIN_STACK`, else 2 MiB. It is read before a fork, as another
    /// thread may hold the lock of the environment at the fork.
    pub(super) fn default_stack() -> usize {
        static STACK: OnceLock<usize> = OnceLock::new();
        let from_environment = || std::env::var("RUST_MIN_STACK").ok()?.parse().ok();
        *get_or_init_unlocked(&STACK, || from_environment().unwrap_or(2 << 20))
    }

    pub(super) fn spawn(name: &str, stack: usize, run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        /// Stacks are whole pages; no system that Fanfold runs on has larger ones.
        const PAGE: usize = 1 << 16;
        let name = CString::new(name)?;
        let start = Box::into_raw(Box::new(Start { name, run }));
        let stack = stack.max(libc::PTHREAD_STACK_MIN).next_multiple_of(PAGE);
        // SAFETY: the attributes are initialised before they are used and destroyed once. `begin` gets `start`, which
        // it alone owns from then on, if the thread is created; otherwise it is still this function's.
        let refused = unsafe {
            let mut attributes: libc::pthread_attr_t = mem::zeroed();
            let mut thread: libc::pthread_t = mem::zeroed();
            let mut refused = libc::pthread_attr_init(&raw mut attributes);
            if refused == 0 {
                libc::pthread_attr_setdetachstate(&raw mut attributes, libc::PTHREAD_CREATE_DETACHED);
                libc::pthread_attr_setstacksize(&raw mut attributes, stack);
                refused = libc::pthread_create(&raw mut thread, &raw const attributes, begin, start.cast());
                libc::pthread_attr_destroy(&raw mut attributes);
            }
            refused
        };
        if refused != 0 {
            // SAFETY: no thread was created, so this function still owns what it made above.
            drop(unsafe { Box::from_raw(start) });
            return Err(io::Error::from_raw_os_error(refused));
        }
        Ok(())
    }

    extern "C" fn begin(start: *mut c_void) -> *mut c_void {
        // SAFETY: `spawn` made this by `Box::into_raw` and gave it to this thread alone.
        let start = unsafe { Box::from_raw(start.cast::<Start>()) };
        let Start { name, run } = *start;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // SAFETY: the name ends with a NUL. One of more than 15 bytes is refused, and the thread has its parent's then.
        unsafe {
            libc::pthread_setname_np(libc::pthread_self(), name.as_ptr());
        }
        drop(name);
        unwind::contain(run);
        ptr::null_mut()
    }
}

#[cfg(all(test, unix, not(miri)))]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn detached_threads_run_and_a_panic_ends_only_its_thread() {
        let (sender, receiver) = mpsc::channel();
        let panics = sender.clone();
        let panic_after_send = move || {
            panics.send(1).expect("the test waits");
            std::panic::resume_unwind(Box::new("the thread ends here, the process does not"));
        };
        forked::spawn("panics", 0, Box::new(panic_after_send)).expect("a thread");
        assert_eq!(receiver.recv(), Ok(1));
        forked::spawn("goes on", 1 << 20, Box::new(move || sender.send(2).expect("the test waits"))).expect("a thread");
        assert_eq!(receiver.recv(), Ok(2));
        assert!(receiver.recv().is_err(), "both closures are dropped");
        assert!(forked::spawn("n\0l", 0, Box::new(|| {})).is_err());
        let joined = spawn("joined".to_owned(), None, || {}).expect("a thread").map(JoinHandle::join);
        assert!(joined.is_some_and(|end| end.is_ok()), "not a forked child");
    }
}
