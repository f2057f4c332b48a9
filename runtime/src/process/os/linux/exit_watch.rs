//! The thread of a worker process that ends the process with its parent or with its main thread.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::process::os::refusal::{Operation, RefusedOperation};
use crate::sys::owner::end_now;

/// Ends this process when the other side has closed the socket, of which it reads nothing, or when the calling thread
/// has ended.
pub(crate) fn exit_with_parent_or_this_thread(socket: &UnixStream) -> io::Result<()> {
    /// A closed socket lives as long as somebody waits for it: the wait begins anew so often, in milliseconds. As often
    /// the thread is looked after.
    const PERIOD: libc::c_int = 1_000;
    let socket = socket.as_raw_fd();
    let this_thread = ThreadExitMutex::of_this_thread();
    let watching = std::thread::Builder::new().name("fanfold-parent".into()).stack_size(1 << 16).spawn(move || {
        loop {
            let mut entry = libc::pollfd { fd: socket, events: libc::POLLRDHUP, revents: 0 };
            // SAFETY: one entry.
            match unsafe { libc::poll(&raw mut entry, 1, PERIOD) } {
                0 => {}
                // Closed on this side, by a task, is for the parent to see.
                1.. if entry.revents & libc::POLLNVAL != 0 => return,
                1.. => end_now(),
                // A signal; or a task that has forbidden itself all files, which makes `poll` fail each time.
                _ => std::thread::sleep(Duration::from_millis(PERIOD.unsigned_abs().into())),
            }
            if this_thread.is_some_and(ThreadExitMutex::owner_has_exited) {
                // The standard library's lock of standard error may be the thread's.
                let message =
                    b"a fanfold worker process ends: a task has ended its main thread (`pthread_exit`, or the \
                                system call `exit`); return from the task instead\n";
                // SAFETY: bytes that are alive.
                unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
                end_now();
            }
        }
    });
    watching.map(drop).map_err(|error| RefusedOperation::error(Operation::Thread, error))
}

/// A lock that a thread holds as long as it lives. The kernel marks the lock (a robust mutex) when the thread ends,
/// however it does: no destructor runs in a thread that makes the system call `exit`.
struct ThreadExitMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: the mutex is used through the C library alone, which any thread may call.
unsafe impl Sync for ThreadExitMutex {}

impl ThreadExitMutex {
    /// Of the calling thread; `None` if the system has no such locks, or another thread has it: there is one a process.
    fn of_this_thread() -> Option<&'static Self> {
        static LIFELINE: ThreadExitMutex = ThreadExitMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        static IS_TAKEN: AtomicBool = AtomicBool::new(false);
        if IS_TAKEN.swap(true, Ordering::Relaxed) {
            return None;
        }
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        // SAFETY: the attributes are initialised by the first call, used if that has succeeded, and destroyed. The
        // mutex is static, and as this is the first call nobody uses it yet.
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

    /// Whether the thread has ended.
    fn owner_has_exited(&self) -> bool {
        // SAFETY: `of_this_thread` has initialised the mutex, which is never destroyed. If its owner has ended, the
        // calling thread has it now, and keeps it.
        unsafe { libc::pthread_mutex_trylock(self.0.get()) == libc::EOWNERDEAD }
    }
}
