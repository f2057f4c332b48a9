//! Threads of a pool that sleep until they are called.
//!
//! The one that went to sleep last is called first: its core and its caches are the warmest, and those below it end for
//! want of work. (In the order of their coming a trickle of jobs would keep all of them alive.)

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar};

/// Where one thread sleeps.
#[derive(Default)]
pub(crate) struct Sleeper {
    /// Waits under the queue's lock.
    pub(crate) condvar: Condvar,
    /// Whether the thread was called and has not noticed yet. Under the queue's lock.
    is_woken: AtomicBool,
}

impl Sleeper {
    fn mark_woken(self: Arc<Self>) -> Arc<Self> {
        self.is_woken.store(true, Ordering::Relaxed);
        self
    }
}

/// Those who sleep, and have not been called.
#[derive(Default)]
pub(crate) struct Sleepers(pub(crate) Vec<Arc<Sleeper>>);

/// Threads that one call takes, at most; they call the next ones.
pub(crate) const WAKE_FANOUT: usize = 2;

impl Sleepers {
    #[inline]
    pub(crate) fn push(&mut self, sleeper: &Arc<Sleeper>) {
        self.0.push(Arc::clone(sleeper));
    }

    /// Takes a thread out that has woken; `false` if it was called.
    #[inline]
    pub(crate) fn remove(&mut self, sleeper: &Arc<Sleeper>) -> bool {
        if sleeper.is_woken.swap(false, Ordering::Relaxed) {
            return false;
        }
        let place = self.0.iter().rposition(|other| Arc::ptr_eq(other, sleeper));
        place.map(|place| self.0.remove(place)).is_some()
    }

    /// How many sleep.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes up to `count` threads out, and [`WAKE_FANOUT`] at most, to be [rung](PendingWakes::last_wake) for.
    #[inline]
    pub(crate) fn begin_wake(&mut self, count: usize) -> PendingWakes {
        let mut called = [const { None }; WAKE_FANOUT];
        for place in called.iter_mut().take(count) {
            *place = self.0.pop().map(Sleeper::mark_woken);
        }
        PendingWakes(called)
    }

    /// Wakes all of them; how many.
    pub(crate) fn wake_all(&mut self) -> usize {
        let count = self.0.len();
        self.0.drain(..).for_each(|sleeper| sleeper.mark_woken().condvar.notify_one());
        count
    }

    /// Wakes one of them, which goes back to sleep if there is nothing to do.
    #[cfg(feature = "process")]
    pub(crate) fn notify_last(&self) {
        if let Some(sleeper) = self.0.last() {
            sleeper.condvar.notify_one();
        }
    }
}

/// Threads that were called, and sleep still.
#[must_use = "they sleep until their bells last_wake"]
pub(crate) struct PendingWakes([Option<Arc<Sleeper>>; WAKE_FANOUT]);

impl PendingWakes {
    pub(crate) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Wakes them; not under the lock, which they want at once.
    #[inline]
    pub(crate) fn notify(self) {
        self.0.iter().flatten().for_each(|sleeper| sleeper.condvar.notify_one());
    }
}
