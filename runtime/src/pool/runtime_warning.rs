//! The warning about calls that block a thread of an async runtime, in debug builds with the feature `tokio`.

use std::sync::atomic::{AtomicU8, Ordering};

/// What a call does that blocks a thread of a Tokio runtime, in a debug build with the feature `tokio`:
/// [`Configure::blocked_runtime`](crate::Configure::blocked_runtime).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBlockedRuntime {
    /// It warns, once for each place in the program that makes such calls: by a `tracing` event with the feature of
    /// that name if a subscriber wants it, else on stderr.
    Warn,
    /// It panics.
    Panic,
    /// Nothing.
    Ignore,
}

const VARIABLE: &str = "FANFOLD_BLOCKED_RUNTIME";

/// [`OnBlockedRuntime`] as a number from 1 on; 0 before it was set or read from the environment.
static POLICY: AtomicU8 = AtomicU8::new(0);

/// Sets what such calls do, instead of the environment.
pub(super) fn set(policy: OnBlockedRuntime) {
    POLICY.store(policy as u8 + 1, Ordering::Relaxed);
}

/// What such calls do.
///
/// # Panics
///
/// If the environment variable has another value than it may have.
#[cfg_attr(not(all(feature = "tokio", debug_assertions)), allow(dead_code, reason = "only debug builds warn"))]
fn policy() -> OnBlockedRuntime {
    use OnBlockedRuntime::{Ignore, Panic, Warn};
    if let Some(policy) = [Warn, Panic, Ignore].into_iter().find(|p| *p as u8 + 1 == POLICY.load(Ordering::Relaxed)) {
        return policy;
    }
    let policy = match std::env::var_os(VARIABLE).as_ref().map(|value| value.to_string_lossy()).as_deref() {
        Some("" | "warn") | None => Warn,
        Some("panic") => Panic,
        Some("off") => Ignore,
        Some(other) => {
            panic!("the environment variable {VARIABLE} is `{other}`: set it to warn, panic or off, or unset it")
        }
    };
    set(policy);
    policy
}

/// Warns if this thread runs the tasks of an async runtime, and so cannot run them while it waits for `function`.
///
/// # Panics
///
/// If the program asked for a panic.
#[cfg_attr(debug_assertions, track_caller)]
#[inline]
pub(crate) fn warn_if_blocking(function: &'static str) {
    warn_if_waiting(function, "await its `submit(..)`, or call it in `spawn_blocking`");
}

/// As [`warn_if_blocking`], for the map of a function.
#[cfg_attr(debug_assertions, track_caller)]
#[inline]
pub(crate) fn warn_if_map_blocks(function: &'static str) {
    warn_if_waiting(function, "end its map with `collect_async()` or `stream()`, or run it in `spawn_blocking`");
}

#[cfg(not(all(feature = "tokio", debug_assertions)))]
#[inline]
pub(crate) fn warn_if_waiting(_: &'static str, _: &'static str) {}

/// As [`warn_if_blocking`]; `remedy` says what to do instead.
#[cfg(all(feature = "tokio", debug_assertions))]
#[track_caller]
#[inline]
pub(crate) fn warn_if_waiting(subject: &'static str, remedy: &'static str) {
    if tokio::runtime::Handle::try_current().is_ok() {
        check::warn(subject, remedy, std::panic::Location::caller());
    }
}

#[cfg(all(feature = "tokio", debug_assertions))]
mod check {
    use std::panic::Location;
    use std::sync::{Mutex, MutexGuard};

    use tokio::runtime::{Handle, RuntimeFlavor};

    use super::{OnBlockedRuntime, VARIABLE, policy};
    use crate::error::panics;
    use crate::pool::block_in_place;
    use crate::sys::{mutex, reserve};

    /// The places that were warned about.
    static PLACES: Mutex<Vec<&'static Location<'static>>> = Mutex::new(Vec::new());

    fn lock() -> MutexGuard<'static, Vec<&'static Location<'static>>> {
        mutex::lock(&PLACES)
    }

    #[cold]
    #[track_caller]
    pub(super) fn warn(subject: &str, remedy: &str, place: &'static Location<'static>) {
        let policy = policy();
        let is_silent =
            policy == OnBlockedRuntime::Ignore || (policy == OnBlockedRuntime::Warn && lock().contains(&place));
        if is_silent || !runs_tasks() {
            return;
        }
        let message = format!(
            "`{subject}` blocks a thread of the async runtime that calls it, which runs no other task meanwhile: {remedy}"
        );
        assert!(policy != OnBlockedRuntime::Panic, "{message}");
        let mut places = reserve::lock_with_capacity(lock, |places| places, 1);
        if places.contains(&place) {
            return;
        }
        places.push(place);
        drop(places);
        report(&format!("{message}, at {place} ({VARIABLE}=panic makes this a panic, and =off hides it)"));
    }

    /// Whether the runtime would run other tasks on this thread now. The thread is inside of the runtime's `block_on`
    /// or of its worker loop, and not in `spawn_blocking` or `block_in_place`. A runtime of several threads runs none on
    /// the thread of its `block_on`.
    fn runs_tasks() -> bool {
        if block_in_place::is_own_runtime_thread() {
            // Another thread takes its place while it waits.
            return false;
        }
        Handle::try_current().is_ok_and(|runtime| {
            let is_worker = runtime.runtime_flavor() != RuntimeFlavor::MultiThread || tokio::task::try_id().is_some();
            // Tokio has no query for this. Its `block_on` panics inside of another one.
            is_worker && panics::quietly(|| runtime.block_on(async {})).is_err()
        })
    }

    fn report(message: &str) {
        use std::io::Write;
        #[cfg(feature = "tracing")]
        if tracing::enabled!(target: "fanfold", tracing::Level::WARN) {
            return tracing::warn!(target: "fanfold", "{message}");
        }
        // A program without stderr gets no warning.
        let _ = writeln!(std::io::stderr(), "fanfold: {message}");
    }
}
