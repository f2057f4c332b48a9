//! Who sleeps beside the rings, and who wakes whom.
//!
//! Each side says that it is about to sleep, looks once more, and sleeps; the other makes its change, and then looks
//! whether anybody sleeps. With a fence between the two steps on both sides, one of them sees the other.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::ring::Shared;
use crate::process::os;

/// Why the worker sleeps: it has nothing to do, or no room for a reply.
const IDLE: u32 = 1;
const CRAMPED: u32 = 2;

/// How the parent sleeps: not at all, on its word, or on the socket.
const AWAKE: u32 = 0;
const ON_WORD: u32 = 1;
const ON_SOCKET: u32 = 2;

/// An order: end when all requests are done.
pub(crate) const CLOSE: u32 = 1;
/// An order: give unused memory back.
pub(crate) const TIDY: u32 = 2;

impl Shared {
    /// Parent: wakes the worker if it sleeps for want of requests and orders.
    pub(crate) fn call_worker(&self) {
        self.wake_worker_from(IDLE);
    }

    /// Parent: wakes the worker if it sleeps for want of room for replies.
    pub(crate) fn tell_of_room(&self) {
        self.wake_worker_from(CRAMPED);
    }

    fn wake_worker_from(&self, sleep: u32) {
        fence(Ordering::SeqCst);
        let counters = self.counters();
        if counters.worker_sleeps.0.load(Ordering::Relaxed) == sleep {
            counters.bell.0.fetch_add(1, Ordering::Release);
            os::wake(&counters.bell.0);
        }
    }

    /// Parent: asks for something beside requests.
    pub(crate) fn order(&self, order: u32) {
        self.counters().orders.0.fetch_or(order, Ordering::Release);
        self.call_worker();
    }

    /// Parent: says that it is about to sleep on the socket, or that it is awake. It must look for replies once more
    /// before it sleeps.
    pub(crate) fn parent_sleeps(&self, sleeps: bool) {
        let how = if sleeps { ON_SOCKET } else { AWAKE };
        self.counters().parent_sleeps.0.store(how, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Parent: sleeps until the worker calls, for `limit` at most, unless `done` holds by then. The end of the worker does
    /// not wake it.
    pub(crate) fn doze(&self, limit: Duration, done: impl Fn() -> bool) {
        let sleeps = &self.counters().parent_sleeps.0;
        sleeps.store(ON_WORD, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !done() {
            os::sleep_on(sleeps, ON_WORD, Some(limit));
        }
        self.parent_sleeps(false);
    }

    /// Worker: wakes the parent if it sleeps on its word; whether it sleeps on the socket, and must be told there. It is
    /// called once.
    pub(crate) fn must_call_parent(&self) -> bool {
        fence(Ordering::SeqCst);
        let sleeps = &self.counters().parent_sleeps.0;
        if sleeps.load(Ordering::Relaxed) == AWAKE {
            return false;
        }
        let how = sleeps.swap(AWAKE, Ordering::Relaxed);
        if how == ON_WORD {
            os::wake(sleeps);
        }
        how == ON_SOCKET
    }

    /// Worker: takes an order, if it was given.
    pub(crate) fn take_order(&self, order: u32) -> bool {
        let orders = &self.counters().orders.0;
        orders.load(Ordering::Acquire) & order != 0 && orders.fetch_and(!order, Ordering::AcqRel) & order != 0
    }

    /// Worker: sleeps until there is a request or an order.
    pub(crate) fn wait_for_request(&self) {
        let counters = self.counters();
        let bell = counters.bell.0.load(Ordering::Acquire);
        counters.worker_sleeps.0.store(IDLE, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !self.has_request() && counters.orders.0.load(Ordering::Acquire) == 0 {
            os::sleep_on(&counters.bell.0, bell, None);
        }
        counters.worker_sleeps.0.store(0, Ordering::Relaxed);
    }

    /// Worker: sleeps until the parent has taken replies.
    pub(crate) fn wait_for_room(&self, payload: usize) {
        let counters = self.counters();
        let bell = counters.bell.0.load(Ordering::Acquire);
        counters.worker_sleeps.0.store(CRAMPED, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if let Ok(None) = self.reserve(payload) {
            os::sleep_on(&counters.bell.0, bell, None);
        }
        counters.worker_sleeps.0.store(0, Ordering::Relaxed);
    }
}
