//! Panics in tasks: they are caught and become a [`TaskError`] with message, location and function.
//!
//! A panic payload does not contain the location; only a panic hook is given it. Fanfold's hook stores the location on
//! threads that run a task, and calls the previous hook for every panic.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::TaskError;
use crate::sys::mutex;
use crate::sys::thread;

thread_local! {
    /// The number of tasks that this thread is inside of.
    static TASK_DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Whether a panic of this thread is expected, so that the previous hook does not print it.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// The function whose task this thread runs in the innermost [`catch`].
    static CAUGHT_FUNCTION: Cell<&'static str> = const { Cell::new("") };
    /// Whether this thread belongs to a pool.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
    /// The location of the last panic inside a task.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The payload of a failed initializer of a worker's state. [`catch`] turns it into `TaskError::Init`.
struct InitFailed(String);

/// The payload that unwinds a task which was cancelled while it ran a map. [`catch`] turns it into
/// `TaskError::Cancelled`.
struct TaskCancelled;

/// Runs `work`; a panic becomes an error that names `function`.
pub(crate) fn catch<T>(function: &'static str, work: impl FnOnce() -> T) -> Result<T, TaskError> {
    install();
    TASK_DEPTH.set(TASK_DEPTH.get() + 1);
    let outer = CAUGHT_FUNCTION.replace(function);
    let result = catch_unwind(AssertUnwindSafe(work));
    CAUGHT_FUNCTION.set(outer);
    TASK_DEPTH.set(TASK_DEPTH.get() - 1);
    result.map_err(|payload| panicked(function, payload))
}

fn panicked(function: &'static str, payload: Box<dyn Any + Send>) -> TaskError {
    own_error(payload).unwrap_or_else(|payload| {
        TaskError::panicked(function, LOCATION.try_with(RefCell::take).unwrap_or(None), payload)
    })
}

/// Ends a call of a function whose initializer has failed: a task of the function by `TaskError::Init`, any other call
/// by a panic that the hook prints.
pub(crate) fn init_failed(function: &'static str, why: String) -> ! {
    if CAUGHT_FUNCTION.get() == function {
        resume_unwind(Box::new(InitFailed(why)));
    }
    panic!("{why}")
}

/// Ends the task that this thread runs, which was cancelled. No hook is called: nothing has failed.
pub(crate) fn end_cancelled_task() -> ! {
    resume_unwind(Box::new(TaskCancelled))
}

/// Resumes the panic of a call on its caller's thread.
pub(crate) fn resume(payload: Box<dyn Any + Send>) -> ! {
    match payload.downcast::<InitFailed>() {
        Ok(failed) => panic!("{}", failed.0),
        Err(payload) => resume_unwind(payload),
    }
}

/// Whether the payload is that of a failed initializer.
pub(crate) fn is_init(payload: &Box<dyn Any + Send>) -> bool {
    (**payload).is::<InitFailed>()
}

/// The payload of a failed initializer, or of a cancelled task, as an error; any other payload is returned.
pub(crate) fn own_error(payload: Box<dyn Any + Send>) -> Result<TaskError, Box<dyn Any + Send>> {
    match payload.downcast::<InitFailed>() {
        Ok(failed) => Ok(TaskError::Init { message: failed.0 }),
        Err(payload) => payload.downcast::<TaskCancelled>().map(|_| TaskError::Cancelled),
    }
}

/// Runs a function that may panic, and hides the panic. Returns whether it did not panic.
#[cfg(feature = "tokio")]
pub(crate) fn quietly(ask: impl FnOnce()) -> Result<(), ()> {
    install();
    QUIET.set(true);
    let answer = catch_unwind(AssertUnwindSafe(ask));
    QUIET.set(false);
    answer.map_err(drop)
}

/// Installs the panic hook, at the first task.
///
/// `set_hook` waits until no hook runs, and a running hook may wait for this thread: for the task that it is about to
/// run, or for the first use of a pool. So a separate thread sets the hook, and this waits for it up to
/// [`INSTALL_WAIT`] only. Until the hook is set, panics have no location.
#[inline]
pub(crate) fn install() {
    if HOOK.load(Ordering::Acquire) != INSTALLED {
        install_by_thread();
    }
}

/// Called before this thread submits work. It may do so inside a panic hook, which then waits for the work.
#[inline]
pub(crate) fn before_handing_over() {
    if HOOK.load(Ordering::Relaxed) != INSTALLED {
        update_hook_use();
    }
}

/// Sets whether this thread belongs to a pool.
pub(crate) fn set_worker(is_worker: bool) {
    IS_WORKER.set(is_worker);
}

/// The state of the panic hook: one of the constants below.
static HOOK: AtomicU8 = AtomicU8::new(NOT_INSTALLED);
const NOT_INSTALLED: u8 = 0;
/// A thread that panics has submitted work. Workers do not set the hook until another thread submits work.
const IN_USE: u8 = 1;
/// A thread is setting the hook.
const INSTALLING: u8 = 2;
const INSTALLED: u8 = 3;

/// The time at which the first thread began to set the hook.
static STARTED: Mutex<Option<Instant>> = Mutex::new(None);
/// Notified when the hook is set.
static IS_INSTALLED: Condvar = Condvar::new();
/// The time that tasks wait for the hook to be set, all tasks together. Setting it takes some 100 us, unless another
/// hook runs.
const INSTALL_WAIT: Duration = Duration::from_millis(200);

#[cold]
fn update_hook_use() {
    if std::thread::panicking() {
        let _ = HOOK.compare_exchange(NOT_INSTALLED, IN_USE, Ordering::Relaxed, Ordering::Relaxed);
    } else if !IS_WORKER.get() && HOOK.load(Ordering::Relaxed) == IN_USE {
        let _ = HOOK.compare_exchange(IN_USE, NOT_INSTALLED, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cold]
fn install_by_thread() {
    // This thread may be inside a hook, which setting one would wait for. The next task sets it.
    if std::thread::panicking() || HOOK.load(Ordering::Relaxed) == IN_USE {
        return;
    }
    if HOOK.compare_exchange(NOT_INSTALLED, INSTALLING, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        started().get_or_insert_with(Instant::now);
        if thread::spawn("fanfold-hook".to_owned(), None, install_hook).is_err() {
            // No thread could be started. Another task tries again.
            return HOOK.store(NOT_INSTALLED, Ordering::Relaxed);
        }
    }
    let mut started = started();
    while HOOK.load(Ordering::Acquire) == INSTALLING {
        let left = started.map_or(INSTALL_WAIT, |started| INSTALL_WAIT.saturating_sub(started.elapsed()));
        if left.is_zero() {
            return;
        }
        started = mutex::wait_timeout(&IS_INSTALLED, started, left).0;
    }
}

pub(crate) fn started() -> MutexGuard<'static, Option<Instant>> {
    mutex::lock(&STARTED)
}

fn install_hook() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if TASK_DEPTH.get() > 0 {
            // The thread-local may be destroyed if this is in a destructor of another one.
            let _ = LOCATION.try_with(|place| place.replace(info.location().map(ToString::to_string)));
        }
        if !QUIET.get() {
            before(info);
        }
    }));
    HOOK.store(INSTALLED, Ordering::Release);
    // A waiter checks `HOOK` under this lock and then waits, so a waiter that has seen the old value waits before the
    // lock is taken here, and is notified.
    drop(started());
    IS_INSTALLED.notify_all();
}
