//! The panic policy: a panic in a task is caught, and told of with its message, its place and its function.
//!
//! A payload does not say where it was thrown; only a panic hook hears that. Ours notes the place for threads that
//! run a task, and passes every panic on to the hook that was there before.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::error::TaskError;

thread_local! {
    /// How many tasks this thread is inside of.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
    /// Whether a panic of this thread is expected, and nobody's to read of.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic inside a task happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What a call with a worker's state unwinds with when its initializer fails: a `TaskError::Init`, once it is caught.
pub(crate) struct InitFailed(pub(crate) String);

/// Runs `work`; a panic becomes an error that names `function`.
pub(crate) fn catch<T>(function: &'static str, work: impl FnOnce() -> T) -> Result<T, TaskError> {
    install();
    INSIDE.set(INSIDE.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(INSIDE.get() - 1);
    result.map_err(|payload| panicked(function, payload))
}

fn panicked(function: &'static str, payload: Box<dyn Any + Send>) -> TaskError {
    match payload.downcast::<InitFailed>() {
        Ok(failed) => TaskError::Init { message: failed.0 },
        Err(payload) => TaskError::panicked(function, PLACE.try_with(RefCell::take).unwrap_or(None), payload),
    }
}

/// A payload as a caller is to get it: a failed initializer's says why, as text.
pub(crate) fn readable(payload: Box<dyn Any + Send>) -> Box<dyn Any + Send> {
    payload.downcast::<InitFailed>().map_or_else(|payload| payload, |failed| Box::new(failed.0))
}

/// Drops a value whose destructor may panic, where nothing may unwind.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Its destructor may panic again: there is no end to that but a leak.
        std::mem::forget(payload);
    }
}

/// Runs the user's part of something that must go on whatever it does; the panic hook tells of a panic.
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

fn install() {
    static HOOK: Once = Once::new();
    // The hook cannot be set while this thread panics: the next task will.
    if std::thread::panicking() {
        return;
    }
    HOOK.call_once(|| {
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
    });
}
