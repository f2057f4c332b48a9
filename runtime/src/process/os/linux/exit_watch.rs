//! The watcher thread of a worker process: it ends the process with its parent, or with its main thread.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::process::os::refusal::{Operation, RefusedOperation};
use crate::sys::owner::exit_now;

/// Starts a thread that ends this process when the parent has closed the socket, or when the calling thread has ended.
/// The thread does not read from the socket.
pub(crate) fn exit_with_parent_or_this_thread(socket: &UnixStream) -> io::Result<()> {
    /// The interval of both checks, in milliseconds. The wait restarts at each interval, because a `poll` in progress
    /// keeps a closed socket alive.
    const PERIOD: libc::c_int = 1_000;
    let socket = socket.as_raw_fd();
    let this_thread = ThreadExitMutex::of_this_thread();
    let watching = std::thread::Builder::new().name("fanfold-parent".into()).stack_size(1 << 16).spawn(move || {
        loop {
            let mut entry = libc::pollfd { fd: socket, events: libc::POLLRDHUP, revents: 0 };
            // SAFETY: `entry` is one `pollfd` that lives during the call.
            match unsafe { libc::poll(&raw mut entry, 1, PERIOD) } {
                0 => {}
                // A task closed the worker's end of the socket. The parent notices that.
                1.. if entry.revents & libc::POLLNVAL != 0 => return,
                1.. => exit_now(),
                // A signal arrived, or a task set its file limit to 0, which makes every `poll` fail.
                _ => std::thread::sleep(Duration::from_millis(PERIOD.unsigned_abs().into())),
            }
            if this_thread.is_some_and(ThreadExitMutex::owner_has_exited) {
                // The ended thread may hold the standard library's lock of standard error, so this writes past it.
                let message = b"a fanfold worker process ends: a task has ended its main thread (by the \
                      system call `exit`); return from the task instead\n";
                // SAFETY: `message` is a static byte string of the given length.
                unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
                exit_now();
            }
        }
    });
    watching.map(drop).map_err(|error| RefusedOperation::error(Operation::Thread, error))
}

/// A robust mutex that a thread holds as long as it lives. The kernel marks the mutex when the thread ends, even by the
/// bare system call `exit`, which runs no destructors.
struct ThreadExitMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: the mutex is accessed only through `pthread_mutex_*`, which any thread may call.
unsafe impl Sync for ThreadExitMutex {}

impl ThreadExitMutex {
    /// Locks the mutex for the calling thread; `None` if the system has no robust mutexes, or if this was called
    /// before: a process has one such mutex.
    fn of_this_thread() -> Option<&'static Self> {
        static LIFELINE: ThreadExitMutex = ThreadExitMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        static IS_TAKEN: AtomicBool = AtomicBool::new(false);
        if IS_TAKEN.swap(true, Ordering::Relaxed) {
            return None;
        }
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        // SAFETY: `attributes` is used only after `pthread_mutexattr_init` succeeded, and destroyed once. The mutex is
        // static, and `IS_TAKEN` lets one call come here, so nothing uses the mutex before it is initialized.
        let held = unsafe {
            if libc::pthread_mutexattr_init(attributes.as_mut_ptr()) != 0 {
                return None;
            }
            let made = libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST) == 0
                && libc::pthread_mutex_init(LIFELINE.0.get(), attributes.as_ptr()) == 0;
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
            made && libc::pthread_mutex_lock(LIFELINE.0.get()) == 0
        };
        held.then_some(&LIFELINE)
    }

    /// Whether the thread that holds the mutex has ended.
    fn owner_has_exited(&self) -> bool {
        // SAFETY: a `&Self` comes only from `of_this_thread`, which initialized the mutex; it is never destroyed. If
        // its owner has ended, this call makes the calling thread the owner.
        unsafe { libc::pthread_mutex_trylock(self.0.get()) == libc::EOWNERDEAD }
    }
}
