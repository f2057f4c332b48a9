//! The parked threads of a pool.
//!
//! The thread that parked last is woken first: its cpu and caches are the warmest, and the threads below it end for
//! want of work. (If they were woken in the order in which they parked, a trickle of jobs would keep all of them
//! alive.)

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar};

/// Where one thread parks.
#[derive(Default)]
pub(crate) struct Sleeper {
    /// Waits under the queue's lock.
    pub(crate) condvar: Condvar,
    /// Whether the thread was woken and has not noticed yet. Changed under the queue's lock.
    is_woken: AtomicBool,
}

impl Sleeper {
    fn mark_woken(self: Arc<Self>) -> Arc<Self> {
        self.is_woken.store(true, Ordering::Relaxed);
        self
    }
}

/// The threads that are parked and not woken, in the order in which they parked.
#[derive(Default)]
pub(crate) struct Sleepers(pub(crate) Vec<Arc<Sleeper>>);

/// The most threads that one wake-up takes. Each of them wakes the next ones.
pub(crate) const WAKE_FANOUT: usize = 2;

impl Sleepers {
    #[inline]
    pub(crate) fn push(&mut self, sleeper: &Arc<Sleeper>) {
        self.0.push(Arc::clone(sleeper));
    }

    /// Removes a thread whose wait has ended; `false` if it was woken, and so removed before.
    #[inline]
    pub(crate) fn remove(&mut self, sleeper: &Arc<Sleeper>) -> bool {
        if sleeper.is_woken.swap(false, Ordering::Relaxed) {
            return false;
        }
        let index = self.0.iter().rposition(|other| Arc::ptr_eq(other, sleeper));
        index.map(|index| self.0.remove(index)).is_some()
    }

    /// The number of threads.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes up to `count` threads, [`WAKE_FANOUT`] at most, and marks them as woken. They must be
    /// [notified](PendingWakes::notify).
    #[inline]
    pub(crate) fn begin_wake(&mut self, count: usize) -> PendingWakes {
        let mut woken = [const { None }; WAKE_FANOUT];
        for slot in woken.iter_mut().take(count) {
            *slot = self.0.pop().map(Sleeper::mark_woken);
        }
        PendingWakes(woken)
    }

    /// Wakes all of them; returns how many.
    pub(crate) fn wake_all(&mut self) -> usize {
        let count = self.0.len();
        self.0.drain(..).for_each(|sleeper| sleeper.mark_woken().condvar.notify_one());
        count
    }
}

/// Threads that are marked as woken, and still wait for their condition variables.
#[must_use = "the threads wait until they are notified"]
pub(crate) struct PendingWakes([Option<Arc<Sleeper>>; WAKE_FANOUT]);

impl PendingWakes {
    pub(crate) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Wakes the threads. Called without the queue's lock, which they take at once.
    #[inline]
    pub(crate) fn notify(self) {
        self.0.iter().flatten().for_each(|sleeper| sleeper.condvar.notify_one());
    }
}
