//! Blocking a thread that may belong to an async runtime, as `tokio::task::block_in_place` does.

use std::time::Instant;

/// The async runtime that a thread blocks while it waits for a task, as far as the task needs that runtime.
#[derive(Clone, Default)]
pub(crate) enum BlockedRuntime {
    /// None that polls the task.
    #[default]
    None,
    /// One of several worker threads of the runtime that polls the task.
    #[cfg(feature = "tokio")]
    Worker,
    /// The runtime polls the task on one thread only. The waiting thread may be that one, or another thread drives it.
    #[cfg(feature = "tokio")]
    Driver(tokio::runtime::Handle),
}

impl BlockedRuntime {
    /// The one of both that matters more: `Driver`, then `Worker`.
    #[cfg_attr(not(feature = "tokio"), allow(clippy::needless_pass_by_value, reason = "there is one value only"))]
    pub(crate) fn or(self, other: Self) -> Self {
        match (&self, &other) {
            #[cfg(feature = "tokio")]
            (_, Self::Driver(_)) | (Self::None, _) => other,
            _ => self,
        }
    }
}

/// Waits for tasks, until the deadline at most. If this thread is one of several of the runtime that polls them,
/// another thread takes its place meanwhile.
///
/// # Panics
///
/// On the only thread of that runtime, which would wait for itself, and if no thread drives that runtime.
#[cfg(feature = "tokio")]
#[track_caller]
pub(crate) fn wait<T>(blocked: BlockedRuntime, deadline: Option<Instant>, wait: impl FnOnce() -> T) -> T {
    match blocked {
        BlockedRuntime::None => wait(),
        BlockedRuntime::Worker => in_place(wait),
        BlockedRuntime::Driver(runtime) => {
            let is_inside = || tokio::runtime::Handle::try_current().is_ok_and(|here| here.id() == runtime.id());
            if is_inside() && !can_block() {
                refuse();
            }
            assert!(
                super::runtime_driver::is_driven(&runtime, deadline),
                "no thread drives the async runtime of one thread that is to run what this waits for: `.await` the \
                 task inside of its `block_on`, or submit it where that runtime is not entered"
            );
            wait()
        }
    }
}

#[cfg(not(feature = "tokio"))]
pub(crate) fn wait<T>(_: BlockedRuntime, _: Option<Instant>, wait: impl FnOnce() -> T) -> T {
    wait()
}

/// Waits on a thread of an async runtime. Another thread takes its place meanwhile.
///
/// # Panics
///
/// On the only thread of a runtime.
#[cfg(feature = "tokio")]
#[track_caller]
pub(crate) fn in_place<T>(wait: impl FnOnce() -> T) -> T {
    if can_block() { tokio::task::block_in_place(wait) } else { refuse() }
}

#[cfg(feature = "tokio")]
#[track_caller]
fn refuse() -> ! {
    panic!(
        "this would block the only thread of the async runtime that is to run what it waits for: `.await` the task, or \
         end the map with `stream()`"
    )
}

/// Whether this thread may block: it is not inside of the `block_on` of a runtime of one thread.
#[cfg(feature = "tokio")]
pub(crate) fn can_block() -> bool {
    // Tokio has no query for this. Its `block_in_place` panics where it is not allowed.
    crate::error::panics::quietly(|| tokio::task::block_in_place(|| ())).is_ok()
}

#[cfg(feature = "tokio")]
thread_local! {
    /// Whether this thread belongs to Fanfold's own async runtime.
    static IS_OWN_RUNTIME: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Notes that this thread belongs to Fanfold's own async runtime.
#[cfg(feature = "tokio")]
pub(crate) fn mark_own_runtime_thread() {
    IS_OWN_RUNTIME.set(true);
}

/// Waits. If this thread belongs to Fanfold's own async runtime or to Polars' streaming engine, another thread takes
/// its place meanwhile: the runtime or the engine may have to run what this thread waits for.
pub(crate) fn with_replacement_thread<T>(wait: impl FnOnce() -> T) -> T {
    #[cfg(feature = "tokio")]
    if IS_OWN_RUNTIME.get() && can_block() {
        return tokio::task::block_in_place(wait);
    }
    #[cfg(feature = "polars")]
    return super::polars_threads::polars_block_in_place(wait);
    #[cfg(not(feature = "polars"))]
    wait()
}

/// Waits for the other side of a channel, which may be a task of the async runtime that this thread is in. On a runtime
/// of several threads another thread takes this thread's place meanwhile.
///
/// # Panics
///
/// On the only thread of a runtime.
#[cfg(feature = "process")]
#[track_caller]
pub(crate) fn wait_on_channel<T>(wait: impl FnOnce() -> T) -> T {
    #[cfg(feature = "tokio")]
    if tokio::runtime::Handle::try_current().is_ok() {
        assert!(
            can_block(),
            "this would block the only thread of an async runtime, and with it whatever is to come through the channel \
             from there: use `recv_async` or `send_async`"
        );
        return tokio::task::block_in_place(wait);
    }
    wait()
}
