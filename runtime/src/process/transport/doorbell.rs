//! Who sleeps beside the rings, and who wakes whom.
//!
//! Each side says that it is about to sleep, looks once more, and sleeps; the other makes its change, and then looks
//! whether anybody sleeps. With a fence between the two steps on both sides, one of them sees the other.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::ring::Rings;
use crate::process::os;

/// Why the worker sleeps: it has nothing to do, or no room for a reply.
const IDLE: u32 = 1;
const RING_FULL: u32 = 2;

/// How the parent sleeps: not at all, on its word, or on the socket.
const AWAKE: u32 = 0;
const ON_FUTEX: u32 = 1;
const ON_SOCKET: u32 = 2;

/// An send_command: end when all requests are done.
pub(crate) const CLOSE: u32 = 1;
/// An send_command: give unused memory back.
pub(crate) const RELEASE_MEMORY: u32 = 2;

impl Rings {
    /// Parent: wakes the worker if it sleeps for want of requests and commands.
    pub(crate) fn wake_worker(&self) {
        self.wake_worker_from(IDLE);
    }

    /// Parent: wakes the worker if it sleeps for want of room for replies.
    pub(crate) fn wake_worker_for_space(&self) {
        self.wake_worker_from(RING_FULL);
    }

    fn wake_worker_from(&self, sleep: u32) {
        fence(Ordering::SeqCst);
        let counters = self.counters();
        if counters.worker_sleeps.0.load(Ordering::Relaxed) == sleep {
            counters.doorbell.0.fetch_add(1, Ordering::Release);
            os::futex_wake(&counters.doorbell.0);
        }
    }

    /// Parent: asks for something beside requests.
    pub(crate) fn send_command(&self, command: u32) {
        self.counters().commands.0.fetch_or(command, Ordering::Release);
        self.wake_worker();
    }

    /// Parent: says that it is about to sleep on the socket, or that it is awake. It must look for replies once more
    /// before it sleeps.
    pub(crate) fn set_parent_sleep(&self, sleeps: bool) {
        let how = if sleeps { ON_SOCKET } else { AWAKE };
        self.counters().parent_sleep.0.store(how, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Parent: sleeps until the worker calls, for `limit` at most, unless `done` holds by then. The end of the worker
    /// does not wake it.
    pub(crate) fn parent_sleep_on_futex(&self, limit: Duration, done: impl Fn() -> bool) {
        let sleeps = &self.counters().parent_sleep.0;
        sleeps.store(ON_FUTEX, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !done() {
            os::futex_wait(sleeps, ON_FUTEX, Some(limit));
        }
        self.set_parent_sleep(false);
    }

    /// Worker: wakes the parent if it sleeps on its word; whether it sleeps on the socket, and must be told there. It
    /// is called once.
    pub(crate) fn wake_parent(&self) -> bool {
        fence(Ordering::SeqCst);
        let sleeps = &self.counters().parent_sleep.0;
        if sleeps.load(Ordering::Relaxed) == AWAKE {
            return false;
        }
        let how = sleeps.swap(AWAKE, Ordering::Relaxed);
        if how == ON_FUTEX {
            os::futex_wake(sleeps);
        }
        how == ON_SOCKET
    }

    /// Worker: takes an send_command, if it was given.
    pub(crate) fn take_command(&self, command: u32) -> bool {
        let commands = &self.counters().commands.0;
        commands.load(Ordering::Acquire) & command != 0 && commands.fetch_and(!command, Ordering::AcqRel) & command != 0
    }

    /// Worker: sleeps until there is a request or an send_command.
    pub(crate) fn wait_for_request(&self) {
        let counters = self.counters();
        let doorbell = counters.doorbell.0.load(Ordering::Acquire);
        counters.worker_sleeps.0.store(IDLE, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !self.has_request() && counters.commands.0.load(Ordering::Acquire) == 0 {
            os::futex_wait(&counters.doorbell.0, doorbell, None);
        }
        counters.worker_sleeps.0.store(0, Ordering::Relaxed);
    }

    /// Worker: sleeps until the parent has taken replies.
    pub(crate) fn wait_for_reply_space(&self, payload: usize) {
        let counters = self.counters();
        let doorbell = counters.doorbell.0.load(Ordering::Acquire);
        counters.worker_sleeps.0.store(RING_FULL, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if let Ok(None) = self.reserve_reply(payload) {
            os::futex_wait(&counters.doorbell.0, doorbell, None);
        }
        counters.worker_sleeps.0.store(0, Ordering::Relaxed);
    }
}
