//! Threads of a pool that sleep until they are called.
//!
//! The one that went to sleep last is called first: its core and its caches are the warmest, and those below it end for
//! want of work. (In the order of their coming a trickle of jobs would keep all of them alive.)

use std::sync::{Arc, Condvar};

use crate::few::Few;

/// Where one thread sleeps.
pub(super) type Bell = Arc<Condvar>;

/// Those who sleep, and have not been called.
#[derive(Default)]
pub(super) struct Sleepers(Vec<Bell>);

impl Sleepers {
    #[inline]
    pub(super) fn push(&mut self, bell: &Bell) {
        self.0.push(Arc::clone(bell));
    }

    /// Takes a thread out that has woken; `false` if it was called.
    #[inline]
    pub(super) fn remove(&mut self, bell: &Bell) -> bool {
        let place = self.0.iter().rposition(|other| Arc::ptr_eq(other, bell));
        place.map(|place| self.0.remove(place)).is_some()
    }

    /// Takes up to `count` threads out, to be [rung](Called::ring) for.
    #[inline]
    pub(super) fn call(&mut self, count: usize) -> Called {
        match count {
            0 => Called(Few::None),
            1 => Called(self.0.pop().map_or(Few::None, Few::One)),
            _ => Called(Few::More(self.0.split_off(self.0.len().saturating_sub(count)))),
        }
    }

    /// All of them.
    pub(super) fn call_all(&mut self) -> Called {
        Called(Few::More(std::mem::take(&mut self.0)))
    }

    /// Wakes one of them, which goes back to sleep if there is nothing to do.
    #[cfg(feature = "process")]
    pub(super) fn nudge(&self) {
        if let Some(bell) = self.0.last() {
            bell.notify_one();
        }
    }
}

/// Threads that were called, and sleep still.
#[must_use = "they sleep until their bells ring"]
pub(super) struct Called(Few<Bell>);

impl Called {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Wakes them; not under the lock, which they want at once.
    #[inline]
    pub(super) fn ring(self) {
        self.0.for_each(|bell| bell.notify_one());
    }
}
