//! Blocking a thread that may belong to an async runtime.

use std::time::Instant;

/// What a thread blocks that waits for a task.
#[derive(Clone, Default)]
pub(crate) enum Blocked {
    /// Nothing that the task needs.
    #[default]
    Nothing,
    /// One of several threads of the async runtime that polls the task.
    #[cfg(feature = "tokio")]
    OneThread,
    /// The only thread of this runtime, which is to poll the task; or nothing, if another thread drives it.
    #[cfg(feature = "tokio")]
    Driver(tokio::runtime::Handle),
}

impl Blocked {
    /// What matters more of both.
    #[cfg_attr(not(feature = "tokio"), allow(clippy::needless_pass_by_value, reason = "there is one value only"))]
    pub(crate) fn or(self, other: Self) -> Self {
        match (&self, &other) {
            #[cfg(feature = "tokio")]
            (_, Self::Driver(_)) | (Self::Nothing, _) => other,
            _ => self,
        }
    }
}

/// Waits for tasks, until the deadline at most. On an async runtime of several threads that polls one of them, another
/// one takes this thread's place meanwhile.
///
/// # Panics
///
/// On the thread of a runtime of one thread, which would wait for itself, and if no thread drives that runtime.
#[cfg(feature = "tokio")]
#[track_caller]
pub(crate) fn on<T>(blocked: Blocked, deadline: Option<Instant>, wait: impl FnOnce() -> T) -> T {
    match blocked {
        Blocked::Nothing => wait(),
        Blocked::OneThread => aside(wait),
        Blocked::Driver(runtime) => {
            let is_inside = || tokio::runtime::Handle::try_current().is_ok_and(|here| here.id() == runtime.id());
            if is_inside() && !may_block() {
                refuse();
            }
            assert!(
                super::runtime_driver::is_driven(&runtime, deadline),
                "no thread drives the async runtime of one thread that is to run what this waits for: `.await` the task \
                 inside of its `block_on`, or submit it where that runtime is not entered"
            );
            wait()
        }
    }
}

#[cfg(feature = "tokio")]
#[track_caller]
fn refuse() -> ! {
    panic!(
        "this would block the only thread of the async runtime that is to run what it waits for: `.await` the task, or \
         end the map with `stream()`"
    )
}

#[cfg(feature = "tokio")]
thread_local! {
    /// Whether this thread is one of Fanfold's own async runtime.
    static OWN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Notes that this thread is one of Fanfold's own async runtime.
#[cfg(feature = "tokio")]
pub(crate) fn is_own_runtime() {
    OWN.set(true);
}

/// Waits. A thread of Fanfold's own async runtime or of Polars' streaming engine may be needed for what it waits for:
/// another one takes its place meanwhile.
pub(crate) fn giving_way<T>(wait: impl FnOnce() -> T) -> T {
    #[cfg(feature = "tokio")]
    if OWN.get() && may_block() {
        return tokio::task::block_in_place(wait);
    }
    #[cfg(feature = "polars")]
    return super::polars_threads::leaving_polars(wait);
    #[cfg(not(feature = "polars"))]
    wait()
}

#[cfg(not(feature = "tokio"))]
pub(crate) fn on<T>(_: Blocked, _: Option<Instant>, wait: impl FnOnce() -> T) -> T {
    wait()
}

#[cfg(feature = "tokio")]
#[track_caller]
pub(crate) fn aside<T>(wait: impl FnOnce() -> T) -> T {
    if may_block() { tokio::task::block_in_place(wait) } else { refuse() }
}

/// Whether this thread is not the only one of an async runtime, inside of its `block_on`.
#[cfg(feature = "tokio")]
pub(crate) fn may_block() -> bool {
    // Tokio alone knows, and says so by a panic.
    crate::error::panics::quietly(|| tokio::task::block_in_place(|| ())).is_ok()
}

/// Waits for the other side of a channel, which may be a task of this thread's async runtime, if it has one: on a
/// runtime of several threads another one takes this thread's place meanwhile.
///
/// # Panics
///
/// On the thread of a runtime of one thread.
#[cfg(feature = "process")]
#[track_caller]
pub(crate) fn on_channel<T>(wait: impl FnOnce() -> T) -> T {
    #[cfg(feature = "tokio")]
    if tokio::runtime::Handle::try_current().is_ok() {
        assert!(
            may_block(),
            "this would block the only thread of an async runtime, and with it whatever is to come through the channel \
             from there: use `recv_async` or `send_async`"
        );
        return tokio::task::block_in_place(wait);
    }
    wait()
}
