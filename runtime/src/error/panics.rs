//! The panic policy: a panic in a task is caught, and told of with its message, its place and its function.
//!
//! A payload does not say where it was thrown; only a panic hook hears that. Ours notes the place for threads that
//! run a task, and passes every panic on to the hook that was there before.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::TaskError;

thread_local! {
    /// How many tasks this thread is inside of.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
    /// Whether a panic of this thread is expected, and nobody's to read of.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// The function whose task this thread runs, and which catches what it unwinds with.
    static CATCHES: Cell<&'static str> = const { Cell::new("") };
    /// Whether this thread belongs to a pool.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic inside a task happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What a task with a worker's state unwinds with when its initializer fails: a `TaskError::Init`, once it is caught.
struct InitFailed(String);

/// Runs `work`; a panic becomes an error that names `function`.
pub(crate) fn catch<T>(function: &'static str, work: impl FnOnce() -> T) -> Result<T, TaskError> {
    install();
    INSIDE.set(INSIDE.get() + 1);
    let outer = CATCHES.replace(function);
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHES.set(outer);
    INSIDE.set(INSIDE.get() - 1);
    result.map_err(|payload| panicked(function, payload))
}

fn panicked(function: &'static str, payload: Box<dyn Any + Send>) -> TaskError {
    init_error(payload)
        .unwrap_or_else(|payload| TaskError::panicked(function, PLACE.try_with(RefCell::take).unwrap_or(None), payload))
}

/// Ends a call of a function whose initializer has failed: for a task of it that is an error like any other, and for all
/// others a panic that the hook tells of.
pub(crate) fn init_failed(function: &'static str, why: String) -> ! {
    if CATCHES.get() == function {
        resume_unwind(Box::new(InitFailed(why)));
    }
    panic!("{why}")
}

/// Unwinds with what a call has unwound with elsewhere, on its caller's thread.
pub(crate) fn resume(payload: Box<dyn Any + Send>) -> ! {
    match payload.downcast::<InitFailed>() {
        Ok(failed) => panic!("{}", failed.0),
        Err(payload) => resume_unwind(payload),
    }
}

/// Whether that is a failed initializer's.
pub(crate) fn is_init(payload: &Box<dyn Any + Send>) -> bool {
    (**payload).is::<InitFailed>()
}

/// Why the initializer of a call has failed, if that is what it unwound with.
pub(crate) fn init_error(payload: Box<dyn Any + Send>) -> Result<TaskError, Box<dyn Any + Send>> {
    payload.downcast::<InitFailed>().map(|failed| TaskError::Init { message: failed.0 })
}

/// Runs what answers by a panic, and keeps the panic to itself.
#[cfg(feature = "tokio")]
pub(crate) fn quietly(ask: impl FnOnce()) -> Result<(), ()> {
    install();
    QUIET.set(true);
    let answer = catch_unwind(AssertUnwindSafe(ask));
    QUIET.set(false);
    answer.map_err(drop)
}

/// Sees to it that the panic hook notes places.
///
/// Setting a hook waits for every hook that runs, and a hook may wait for this very thread: for the task that it is about
/// to run, or the first use of a pool. So a thread of its own sets it, and is waited for up to [`GRACE`] only; until it is
/// set, panics are told of without a place.
#[inline]
pub(crate) fn install() {
    if HOOK.load(Ordering::Acquire) != INSTALLED {
        start_installing();
    }
}

/// Work is about to be handed to another thread by this one, which may be inside of a panic hook that waits for it.
#[inline]
pub(crate) fn before_handing_over() {
    if HOOK.load(Ordering::Relaxed) != INSTALLED {
        heed_hooks();
    }
}

/// Says that this thread belongs to a pool, or does not any more.
pub(crate) fn set_worker(is_worker: bool) {
    IS_WORKER.set(is_worker);
}

/// What has become of the panic hook: one of the numbers below.
static HOOK: AtomicU8 = AtomicU8::new(UNTOUCHED);
const UNTOUCHED: u8 = 0;
/// A thread that panics has handed work over: workers leave the hook alone, until another thread hands something over.
const IN_USE: u8 = 1;
/// A thread is setting it.
const UNDERWAY: u8 = 2;
const INSTALLED: u8 = 3;

/// When the first thread began to set the hook.
static BEGUN: Mutex<Option<Instant>> = Mutex::new(None);
/// Notified once the hook is set.
static SET: Condvar = Condvar::new();
/// How long tasks wait for the hook to be set, in all. It takes some 100 microseconds, unless another hook runs.
const GRACE: Duration = Duration::from_millis(200);

#[cold]
fn heed_hooks() {
    if std::thread::panicking() {
        let _ = HOOK.compare_exchange(UNTOUCHED, IN_USE, Ordering::Relaxed, Ordering::Relaxed);
    } else if !IS_WORKER.get() && HOOK.load(Ordering::Relaxed) == IN_USE {
        let _ = HOOK.compare_exchange(IN_USE, UNTOUCHED, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cold]
fn start_installing() {
    // A hook that this thread is inside of would be waited for: the next task sets it.
    if std::thread::panicking() || HOOK.load(Ordering::Relaxed) == IN_USE {
        return;
    }
    if HOOK.compare_exchange(UNTOUCHED, UNDERWAY, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        begun().get_or_insert_with(Instant::now);
        if std::thread::Builder::new().name("fanfold-hook".into()).spawn(set_hook).is_err() {
            // No thread now: another task tries again.
            return HOOK.store(UNTOUCHED, Ordering::Relaxed);
        }
    }
    let mut begun = begun();
    while HOOK.load(Ordering::Acquire) == UNDERWAY {
        let left = begun.map_or(GRACE, |begun| GRACE.saturating_sub(begun.elapsed()));
        if left.is_zero() {
            return;
        }
        begun = SET.wait_timeout(begun, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

pub(crate) fn begun() -> MutexGuard<'static, Option<Instant>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_hook() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if INSIDE.get() > 0 {
            // In the destructor of a thread-local it may be gone.
            let _ = PLACE.try_with(|place| place.replace(info.location().map(ToString::to_string)));
        }
        if !QUIET.get() {
            before(info);
        }
    }));
    HOOK.store(INSTALLED, Ordering::Release);
    // Taking the lock orders this after a waiter that has looked at `HOOK` and does not sleep yet.
    drop(begun());
    SET.notify_all();
}
