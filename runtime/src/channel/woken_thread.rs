//! A thread that waits for a waker, as a task does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Instant;

use crate::sys::park;

/// Remembers that it was woken, and wakes a thread.
pub(super) struct WokenThread {
    is_woken: AtomicBool,
    thread: Waker,
}

impl WokenThread {
    /// For this thread, which waits by [`park`].
    pub(super) fn this() -> Arc<Self> {
        Arc::new(Self { is_woken: AtomicBool::new(false), thread: park::waker() })
    }

    /// Waits until it is woken, or was since the last wait; `false` at the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        let is_woken = || self.is_woken.swap(false, Ordering::Acquire);
        match deadline {
            Some(deadline) => park::wait_until_deadline(is_woken, deadline),
            None => {
                park::wait_until(is_woken);
                true
            }
        }
    }
}

impl Wake for WokenThread {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.thread.wake_by_ref();
    }
}
