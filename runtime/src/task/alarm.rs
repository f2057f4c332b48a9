//! [`Alarm`]: wakes an async wait when its time limit is over.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::pool::timer::{self, Expire};
use crate::sys::mutex;

/// A timer entry that wakes the waker that was set last. The timer forgets it when it is dropped.
pub(crate) struct Alarm(Mutex<Option<Waker>>);

impl Alarm {
    /// An alarm at this time.
    pub(crate) fn at(deadline: Instant) -> Arc<Self> {
        let alarm = Arc::new(Self(Mutex::default()));
        let weak = Arc::downgrade(&alarm);
        timer::after(deadline.saturating_duration_since(Instant::now()), weak);
        alarm
    }

    /// Replaces the waker.
    pub(crate) fn set(&self, waker: Waker) {
        let before = self.lock().replace(waker);
        // Dropping a waker runs user code, so the lock is released first.
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        mutex::lock(&self.0)
    }
}

impl Expire for Alarm {
    fn expire(&self, _: Duration) {
        let waker = self.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
