//! [`cancelled`]: the cancellation flag of the task that the current thread runs.

use std::cell::Cell;

use super::sync::{AtomicU32, Ordering};
use crate::pool;

/// The flag in a slot's state word that asks the running task to stop.
pub(crate) const STOP_REQUESTED: u32 = 8;
/// The flag that the task has seen that it should stop. Its end counts as a cancellation.
pub(crate) const STOP_SEEN: u32 = 16;

thread_local! {
    /// The state word of the task that this thread runs; null outside tasks.
    static CURRENT: Cell<*const AtomicU32> = const { Cell::new(std::ptr::null()) };
    /// Whether this thread runs a part of another thread's work, such as items of its map.
    #[cfg(feature = "progress")]
    static IS_SHARE: Cell<bool> = const { Cell::new(false) };
}

/// Sets the current task of this thread until it is dropped.
pub(crate) struct CurrentTask {
    before: *const AtomicU32,
    #[cfg(feature = "progress")]
    was_share: bool,
}

impl CurrentTask {
    /// Makes the task with this state word the thread's.
    #[inline]
    pub(crate) fn enter(state: &AtomicU32) -> Self {
        Self::replace(state, false)
    }

    /// Makes the thread run no task.
    pub(crate) fn none() -> Self {
        Self::replace(std::ptr::null(), false)
    }

    #[inline]
    #[cfg_attr(not(feature = "progress"), allow(unused_variables, reason = "only bars ask for it"))]
    fn replace(state: *const AtomicU32, is_share: bool) -> Self {
        Self {
            before: CURRENT.replace(state),
            #[cfg(feature = "progress")]
            was_share: IS_SHARE.replace(is_share),
        }
    }
}

impl Drop for CurrentTask {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.before);
        #[cfg(feature = "progress")]
        IS_SHARE.set(self.was_share);
    }
}

/// The task that the caller of a parallel section runs, for the threads that help it.
#[derive(Clone, Copy)]
pub(crate) struct CallerTask(*const AtomicU32);

// SAFETY: the state word is atomic. It is used through functions whose contracts keep it alive.
unsafe impl Send for CallerTask {}
// SAFETY: as for `Send`.
unsafe impl Sync for CallerTask {}

impl CallerTask {
    /// No task.
    pub(crate) const NONE: Self = Self(std::ptr::null());

    /// The task that this thread runs, if any.
    #[inline]
    pub(crate) fn here() -> Self {
        Self(CURRENT.get())
    }

    /// Whether the task was asked to stop.
    ///
    /// # Safety
    ///
    /// The frame that called [`here`](Self::here) has not returned.
    #[inline]
    pub(crate) unsafe fn is_stop_requested(self) -> bool {
        // SAFETY: it is null, or the state word of a slot that a frame below the one that called `here` runs and owns.
        unsafe { self.0.as_ref() }.is_some_and(|state| state.load(Ordering::Relaxed) & STOP_REQUESTED != 0)
    }

    /// Whether the thread runs no task.
    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.0.is_null()
    }

    /// Makes it the current task of this thread, which helps the caller, until the guard is dropped.
    ///
    /// # Safety
    ///
    /// The frame that called [`here`](Self::here) does not return before the guard is dropped.
    #[inline]
    pub(crate) unsafe fn enter(self) -> CurrentTask {
        CurrentTask::replace(self.0, true)
    }
}

/// Whether this thread runs a part of another thread's work, such as items of its map.
#[cfg(feature = "progress")]
pub(crate) fn is_share() -> bool {
    IS_SHARE.get()
}

/// A key of the task that this thread runs, unique among running tasks; `None` outside tasks.
pub(crate) fn current_task_key() -> Option<usize> {
    let state = CURRENT.get();
    (!state.is_null()).then(|| state.addr())
}

/// Whether the calling task should stop: it was cancelled, it has timed out, or its pool was shut down with
/// [`Pending::Cancel`](crate::Pending::Cancel).
///
/// The items of a map and the chunks of a call are parts of the task that waits for them. Outside tasks, and in calls
/// that cannot be cancelled, it is `false`.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, cancelled};
///
/// # fn main() -> Result<(), fanfold::TaskError> {
/// let (started, starts) = std::sync::mpsc::channel();
/// let counting = Pool::cpu_default().submit(move || {
///     started.send(()).ok();
///     let mut rounds = 0_u64;
///     while !cancelled() {
///         rounds += 1;
///     }
///     rounds
/// });
/// starts.recv().ok();
/// assert!(!counting.cancel()); // it runs already, and is asked to stop
/// let rounds = counting.join()?; // what it returned
/// # let _ = rounds;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "CancellationToken")]
#[doc(alias = "is_cancelled")]
#[must_use]
pub fn cancelled() -> bool {
    let state = CURRENT.get();
    // SAFETY: it is null, or `CurrentTask::enter` set it from a reference to the state word of a slot that a frame
    // below this one runs. That frame holds an `Arc` of the slot and drops the `CurrentTask` before it returns. A
    // thread that helps such a frame has it from `CallerTask::enter`, by whose contract that frame is still there.
    let Some(state) = (unsafe { state.as_ref() }) else { return pool::is_cancelled_here() };
    let now = state.load(Ordering::Relaxed);
    let should_stop = now & STOP_REQUESTED != 0 || pool::is_cancelled_here();
    if should_stop && now & STOP_SEEN == 0 {
        state.fetch_or(STOP_SEEN, Ordering::Relaxed);
    }
    should_stop
}
