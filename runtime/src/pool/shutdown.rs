//! The end of a program: every pool, of every kind, is closed and drained.

use std::time::{Duration, Instant};

use crate::pool;

/// Closes every pool that has started, and waits until what was queued has run, for `limit` at most; whether it has.
///
/// The threads of `static` pools end with the process, in the midst of what they do: call this at the end of `main`
/// where that matters. What comes later finds the pools closed, as after [`Pool::shutdown`](crate::Pool::shutdown); a
/// pool that is used for the first time after this starts as ever. Nothing is cancelled, also when time is over:
/// [`Pool::shutdown`](crate::Pool::shutdown) with [`Pending::Cancel`](crate::Pending::Cancel) does that.
///
/// It may be called in an exit handler, and on a worker: for the end of the very function that calls it nobody waits. In a
/// forked child, the pools of the parent have no threads and are left alone.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fanfold::Pool;
///
/// let task = Pool::io_default().submit(|| 1);
/// assert!(fanfold::shutdown(Duration::from_secs(10)));
/// assert!(task.is_finished());
/// assert!(Pool::io_default().submit(|| 2).join().is_err()); // closed
/// ```
#[allow(clippy::must_use_candidate, reason = "a program that ends has no use for the answer")]
pub fn shutdown(limit: Duration) -> bool {
    let deadline = Instant::now().checked_add(limit);
    // Not cut short: every pool is closed, even if an earlier one is late.
    let drained: Vec<bool> = pool::all().iter().map(|core| core.drain(deadline)).collect();
    #[cfg(feature = "tokio")]
    let drained = drained.into_iter().chain([super::async_tasks::drain(deadline)]);
    drained.into_iter().all(|done| done)
}
