//! Blocking a thread that may belong to an async runtime.

/// Waits. `step_aside` says that a task of this thread's own async runtime is waited for: on a runtime of several
/// threads another one takes this thread's place meanwhile.
///
/// # Panics
///
/// On a runtime of one thread, which would wait for itself.
#[cfg(feature = "tokio")]
#[track_caller]
pub(crate) fn on<T>(step_aside: bool, wait: impl FnOnce() -> T) -> T {
    if step_aside { aside(wait) } else { wait() }
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
    if OWN.get() && crate::panics::quietly(|| tokio::task::block_in_place(|| ())).is_ok() {
        return tokio::task::block_in_place(wait);
    }
    #[cfg(feature = "polars")]
    return crate::frame::leaving_polars(wait);
    #[cfg(not(feature = "polars"))]
    wait()
}

#[cfg(not(feature = "tokio"))]
pub(crate) fn on<T>(_step_aside: bool, wait: impl FnOnce() -> T) -> T {
    wait()
}

#[cfg(feature = "tokio")]
#[track_caller]
pub(crate) fn aside<T>(wait: impl FnOnce() -> T) -> T {
    use crate::panics;

    // Tokio alone knows whether this thread is one that it may block, and says so by a panic.
    assert!(
        panics::quietly(|| tokio::task::block_in_place(|| ())).is_ok(),
        "this would block the only thread of the async runtime that is to run what it waits for: `.await` the task, or \
         end the map with `stream()`"
    );
    tokio::task::block_in_place(wait)
}
