//! Threads of a pool that sleep until they are called.
//!
//! The one that went to sleep last is called first: its core and its caches are the warmest, and those below it end for
//! want of work. (In the order of their coming a trickle of jobs would keep all of them alive.)

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar};

/// Where one thread sleeps.
#[derive(Default)]
pub(crate) struct Bell {
    /// Waits under the queue's lock.
    pub(crate) condvar: Condvar,
    /// Whether the thread was called and has not noticed yet. Under the queue's lock.
    called: AtomicBool,
}

impl Bell {
    fn call(self: Arc<Self>) -> Arc<Self> {
        self.called.store(true, Ordering::Relaxed);
        self
    }
}

/// Those who sleep, and have not been called.
#[derive(Default)]
pub(crate) struct Sleepers(pub(crate) Vec<Arc<Bell>>);

/// Threads that one call takes, at most; they call the next ones.
pub(crate) const CHAIN: usize = 2;

impl Sleepers {
    #[inline]
    pub(crate) fn push(&mut self, bell: &Arc<Bell>) {
        self.0.push(Arc::clone(bell));
    }

    /// Takes a thread out that has woken; `false` if it was called.
    #[inline]
    pub(crate) fn remove(&mut self, bell: &Arc<Bell>) -> bool {
        if bell.called.swap(false, Ordering::Relaxed) {
            return false;
        }
        let place = self.0.iter().rposition(|other| Arc::ptr_eq(other, bell));
        place.map(|place| self.0.remove(place)).is_some()
    }

    /// How many sleep.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes up to `count` threads out, and [`CHAIN`] at most, to be [rung](Called::ring) for.
    #[inline]
    pub(crate) fn call(&mut self, count: usize) -> Called {
        let mut called = [const { None }; CHAIN];
        for place in called.iter_mut().take(count) {
            *place = self.0.pop().map(Bell::call);
        }
        Called(called)
    }

    /// Wakes all of them; how many.
    pub(crate) fn call_all(&mut self) -> usize {
        let count = self.0.len();
        self.0.drain(..).for_each(|bell| bell.call().condvar.notify_one());
        count
    }

    /// Wakes one of them, which goes back to sleep if there is nothing to do.
    #[cfg(feature = "process")]
    pub(crate) fn nudge(&self) {
        if let Some(bell) = self.0.last() {
            bell.condvar.notify_one();
        }
    }
}

/// Threads that were called, and sleep still.
#[must_use = "they sleep until their bells ring"]
pub(crate) struct Called([Option<Arc<Bell>>; CHAIN]);

impl Called {
    pub(crate) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Wakes them; not under the lock, which they want at once.
    #[inline]
    pub(crate) fn ring(self) {
        self.0.iter().flatten().for_each(|bell| bell.condvar.notify_one());
    }
}
