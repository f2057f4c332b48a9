//! The doorbell of the rings: how each side sleeps, and how the other side wakes it.
//!
//! A side that is about to sleep announces it, checks once more for work, and sleeps. The other side makes its change,
//! and then checks whether the first side sleeps. Both put a sequentially consistent fence between the two steps, so at
//! least one of them sees what the other did, and no wake-up is lost.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::ring::Rings;
use crate::process::os;

/// Why the worker sleeps: no request waits, or the ring of replies is full.
const IDLE: u32 = 1;
const RING_FULL: u32 = 2;

/// How the parent sleeps: not at all, on a futex, or in `poll` on the socket.
const AWAKE: u32 = 0;
const ON_FUTEX: u32 = 1;
const ON_SOCKET: u32 = 2;

/// The command to exit once all requests are done.
pub(crate) const CLOSE: u32 = 1;
/// The command to release unused memory.
pub(crate) const RELEASE_MEMORY: u32 = 2;

impl Rings {
    /// Parent: wakes the worker if it sleeps because no request waits.
    pub(crate) fn wake_worker(&self) {
        self.wake_worker_from(IDLE);
    }

    /// Parent: wakes the worker if it sleeps because the ring of replies is full.
    pub(crate) fn wake_worker_for_space(&self) {
        self.wake_worker_from(RING_FULL);
    }

    fn wake_worker_from(&self, sleep: u32) {
        fence(Ordering::SeqCst);
        let counters = self.counters();
        if counters.worker_sleeps.0.load(Ordering::Relaxed) == sleep {
            counters.doorbell.0.fetch_add(1, Ordering::Release);
            self.bell.ring(&counters.doorbell.0);
        }
    }

    /// Parent: gives the worker a command.
    pub(crate) fn send_command(&self, command: u32) {
        self.counters().commands.0.fetch_or(command, Ordering::Release);
        self.wake_worker();
    }

    /// Parent: announces that it is about to sleep on the socket, or that it is awake. Before it sleeps it must check
    /// for replies once more.
    pub(crate) fn set_parent_sleep(&self, sleeps: bool) {
        let how = if sleeps { ON_SOCKET } else { AWAKE };
        self.counters().parent_sleep.0.store(how, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Parent: sleeps until the worker rings, or `limit`; not at all if `done` returns true. The death of the worker
    /// does not end this sleep.
    pub(crate) fn parent_sleep_on_futex(&self, limit: Duration, done: impl Fn() -> bool) {
        if !os::HAS_FUTEX {
            os::spin(limit, done);
            return;
        }
        let sleeps = &self.counters().parent_sleep.0;
        sleeps.store(ON_FUTEX, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !done() {
            os::futex_wait(sleeps, ON_FUTEX, Some(limit));
        }
        self.set_parent_sleep(false);
    }

    /// Worker: wakes a parent that sleeps on the futex. Returns whether the parent sleeps on the socket, and the caller
    /// must send a byte there; true once for each sleep.
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

    /// Worker: takes a command; whether it was given.
    pub(crate) fn take_command(&self, command: u32) -> bool {
        let commands = &self.counters().commands.0;
        commands.load(Ordering::Acquire) & command != 0 && commands.fetch_and(!command, Ordering::AcqRel) & command != 0
    }

    /// Worker: sleeps until there is a request or a command.
    pub(crate) fn wait_for_request(&self) {
        let counters = self.counters();
        os::spin_before_sleep(|| self.has_request() || counters.commands.0.load(Ordering::Relaxed) != 0);
        let doorbell = counters.doorbell.0.load(Ordering::Acquire);
        counters.worker_sleeps.0.store(IDLE, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !self.has_request() && counters.commands.0.load(Ordering::Acquire) == 0 {
            self.bell.sleep(&counters.doorbell.0, doorbell);
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
            self.bell.sleep(&counters.doorbell.0, doorbell);
        }
        counters.worker_sleeps.0.store(0, Ordering::Relaxed);
    }
}
