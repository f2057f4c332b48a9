//! The task that a thread runs, for [`cancelled`].

use std::cell::Cell;

use super::sync::{AtomicU32, Ordering};
use crate::pool;

/// The flag in a slot's state that asks whoever runs it to stop.
pub(crate) const STOP: u32 = 8;

thread_local! {
    /// The state of the task that this thread runs.
    static CURRENT: Cell<*const AtomicU32> = const { Cell::new(std::ptr::null()) };
}

/// The task that this thread runs, until the guard is dropped.
pub(crate) struct Current {
    before: *const AtomicU32,
}

impl Current {
    /// Makes the slot with this state the thread's task.
    #[inline]
    pub(crate) fn enter(state: &AtomicU32) -> Self {
        Self { before: CURRENT.replace(state) }
    }
}

impl Current {
    /// Makes it so that this thread runs no task.
    #[cfg(feature = "process")]
    pub(crate) fn none() -> Self {
        Self { before: CURRENT.replace(std::ptr::null()) }
    }
}

/// What tells the task that this thread runs from all others that run; `None` outside tasks.
pub(crate) fn current() -> Option<usize> {
    let state = CURRENT.get();
    (!state.is_null()).then(|| state.addr())
}

impl Drop for Current {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Whether the task that calls this was cancelled, or has run out of time: it should return soon. So too if its pool was
/// shut down with [`Pending::Cancel`](crate::Pending::Cancel).
///
/// `false` outside tasks, and in calls that nobody can cancel.
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
#[must_use]
pub fn cancelled() -> bool {
    let state = CURRENT.get();
    // SAFETY: null, or the state of a slot that this thread runs right now, up its stack; whoever runs it holds it.
    let state = unsafe { state.as_ref() };
    state.is_some_and(|state| state.load(Ordering::Relaxed) & STOP != 0) || pool::is_cancelled_here()
}
