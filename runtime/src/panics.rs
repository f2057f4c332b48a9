//! The panic policy: a panic in a task is caught, and told of with its message, its place and its function.
//!
//! A payload does not say where it was thrown; only a panic hook hears that. Ours notes the place for threads that
//! run a task, and passes every panic on to the hook that was there before.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

use crate::error::TaskError;

thread_local! {
    /// How many tasks this thread is inside of.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
    /// Whether a panic of this thread is expected, and nobody's to read of.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// The function whose task this thread runs, and which catches what it unwinds with.
    static CATCHES: Cell<&'static str> = const { Cell::new("") };
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

/// Drops a value whose destructor may panic, where nothing may unwind.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Its destructor may panic again: there is no end to that but a leak.
        std::mem::forget(payload);
    }
}

/// Runs the user's part of something that must go on whatever it does; the panic hook tells of a panic.
#[inline]
pub(crate) fn contain(work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        discard(payload);
    }
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

static HOOK: Once = Once::new();

#[inline]
fn install() {
    // The hook cannot be set while this thread panics: the next task will.
    if !HOOK.is_completed() && !std::thread::panicking() {
        HOOK.call_once(set_hook);
    }
}

#[cold]
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
}
