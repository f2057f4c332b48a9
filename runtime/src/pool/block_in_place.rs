//! Blocking a thread that may belong to an async runtime, as `tokio::task::block_in_place` does.

/// Waits on a thread of an async runtime. Another thread takes its place meanwhile.
///
/// # Panics
///
/// On the only thread of a runtime.
#[cfg(feature = "tokio")]
#[track_caller]
pub(crate) fn in_place<T>(wait: impl FnOnce() -> T) -> T {
    if can_block() { tokio::task::block_in_place(wait) } else { panic_would_block() }
}

#[cfg(feature = "tokio")]
#[track_caller]
pub(super) fn panic_would_block() -> ! {
    panic!(
        "this would block the only thread of the async runtime that is to run what it waits for: `.await` the task, or \
         end the map with `stream()`"
    )
}

/// Whether this thread may block: it is not inside of the `block_on` of a runtime of one thread.
#[cfg(feature = "tokio")]
pub(crate) fn can_block() -> bool {
    // Tokio has no query for this. Its `block_in_place` panics where it is not allowed. Where it is, it may move the
    // worker of this thread to a thread of the runtime that is entered, even if that is another one.
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

/// Whether this thread belongs to Fanfold's own async runtime.
#[cfg(all(feature = "tokio", debug_assertions))]
pub(super) fn is_own_runtime_thread() -> bool {
    IS_OWN_RUNTIME.get()
}

/// Waits. If this thread belongs to Fanfold's own async runtime or to Polars' streaming engine, another thread takes
/// its place meanwhile: the runtime or the engine may have to run what this thread waits for.
///
/// It is not generic, as each instance would contain one of Tokio's `block_in_place` and one of Polars'.
pub(crate) fn with_replacement_thread(wait: &mut dyn FnMut()) {
    #[cfg(feature = "tokio")]
    if IS_OWN_RUNTIME.get() && can_block() {
        return tokio::task::block_in_place(wait);
    }
    #[cfg(feature = "polars")]
    super::polars_threads::polars_block_in_place(wait);
    #[cfg(not(feature = "polars"))]
    wait();
}

/// Waits for the other side of a channel, which may be a task of the async runtime that this thread is in. On a runtime
/// of several threads another thread takes this thread's place meanwhile.
///
/// # Panics
///
/// On the only thread of a runtime.
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
