//! The count of submitted futures that have not ended, for which [`shutdown`](super::shutdown::shutdown) waits.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::sys::fork;
use crate::sys::mutex;

static LIVE: Mutex<LiveCount> = Mutex::new(LiveCount { live: 0, forks: 0 });
/// Notified when the count is 0.
static NONE_LIVE: Condvar = Condvar::new();

pub(crate) struct LiveCount {
    /// Submitted futures that have not ended.
    live: usize,
    /// [`fork::count`] when they were submitted: in a forked child no thread polls its parent's futures.
    forks: u32,
}

/// Locks the count, which starts from 0 in a forked child.
pub(super) fn lock() -> MutexGuard<'static, LiveCount> {
    let mut count = mutex::lock(&LIVE);
    let forks = fork::generation();
    if count.forks != forks {
        *count = LiveCount { live: 0, forks };
    }
    count
}

/// Counts one submitted future until it is dropped.
pub(crate) struct LiveFuture;

impl LiveFuture {
    pub(crate) fn new() -> Self {
        lock().live += 1;
        Self
    }
}

impl Drop for LiveFuture {
    fn drop(&mut self) {
        let mut count = lock();
        count.live = count.live.saturating_sub(1);
        if count.live == 0 {
            NONE_LIVE.notify_all();
        }
    }
}

/// Waits until all submitted futures have ended, until the deadline at most. Returns whether they have.
pub(super) fn drain(deadline: Option<Instant>) -> bool {
    let mut count = lock();
    while count.live > 0 {
        count = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => return false,
            Some(time) => mutex::wait_timeout(&NONE_LIVE, count, time).0,
            None => mutex::wait(&NONE_LIVE, count),
        };
    }
    true
}
