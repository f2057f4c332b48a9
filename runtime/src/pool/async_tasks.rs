//! How many submitted futures have not ended: what the end of the program waits for, beside the pools.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::fork;

/// How many submitted futures have not ended.
static ALIVE: Mutex<Futures> = Mutex::new(Futures { alive: 0, forks: 0 });
static NONE_ALIVE: Condvar = Condvar::new();

pub(crate) struct Futures {
    alive: usize,
    /// The forks before they were submitted: in a forked child nobody polls those of its parent.
    forks: u32,
}

pub(crate) fn alive() -> MutexGuard<'static, Futures> {
    let mut futures = ALIVE.lock().unwrap_or_else(PoisonError::into_inner);
    let forks = fork::generation();
    if futures.forks != forks {
        *futures = Futures { alive: 0, forks };
    }
    futures
}

/// One submitted future, until it is dropped.
pub(crate) struct Alive;

impl Alive {
    pub(crate) fn new() -> Self {
        alive().alive += 1;
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut futures = alive();
        futures.alive = futures.alive.saturating_sub(1);
        if futures.alive == 0 {
            NONE_ALIVE.notify_all();
        }
    }
}

/// Waits until no submitted future is left, until the deadline at most; whether none is.
pub(super) fn drain(deadline: Option<Instant>) -> bool {
    let mut left = alive();
    while left.alive > 0 {
        left = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => return false,
            Some(time) => NONE_ALIVE.wait_timeout(left, time).unwrap_or_else(PoisonError::into_inner).0,
            None => NONE_ALIVE.wait(left).unwrap_or_else(PoisonError::into_inner),
        };
    }
    true
}
