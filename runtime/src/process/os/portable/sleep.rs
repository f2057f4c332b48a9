//! Sleeping until the other process acts, without a futex.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Socket;
use super::frame::Kind;
use super::link::Link;

/// Whether a process can sleep on a word of shared memory.
pub(crate) const HAS_FUTEX: bool = false;

/// The time that a side looks again and again before it sleeps. A wake-up through the connection takes 20 to 30 us
/// more than one by a futex, and a short call takes 5 us.
const SPIN: Duration = Duration::from_micros(50);

/// The naps of a process that waits for a word which another process changes: short at first.
const SHORTEST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(10);

/// Looks again and again until `done` returns true, for 50 us or `limit` at most.
pub(crate) fn spin(limit: Duration, done: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    let limit = limit.min(SPIN);
    loop {
        for _ in 0..32 {
            if done() {
                return true;
            }
            std::hint::spin_loop();
        }
        if begun.elapsed() >= limit {
            return false;
        }
        // On a busy machine the other process gets the core.
        thread::yield_now();
    }
}

/// As [`spin`], for a worker that is about to sleep.
pub(crate) fn spin_before_sleep(done: impl Fn() -> bool) {
    spin(SPIN, done);
}

/// Sleeps while the word is `seen`, until the time limit. May return early.
pub(crate) fn futex_wait(word: &AtomicU32, seen: u32, limit: Option<Duration>) {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut nap = SHORTEST_NAP;
    while word.load(Ordering::Acquire) == seen {
        let left = deadline.map_or(nap, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return;
        }
        thread::sleep(nap.min(left));
        nap = (nap * 2).min(LONGEST_NAP);
    }
}

/// Those who sleep on a word look at it themselves.
pub(crate) fn futex_wake(_: &AtomicU32) {}

/// How a parent wakes its worker: through their connection.
pub(crate) struct Bell(Option<Arc<Link>>);

impl Bell {
    /// A bell without a connection. The worker looks at the word itself.
    pub(crate) fn unconnected() -> Self {
        Self(None)
    }

    pub(crate) fn of(socket: &Socket) -> Self {
        Self(socket.link().ok().map(Arc::clone))
    }

    /// Parent: wakes the worker.
    pub(crate) fn ring(&self, word: &AtomicU32) {
        match &self.0 {
            // A worker that is gone needs no wake-up.
            Some(link) => _ = link.send((Kind::DOORBELL, 0, 0), &[], &[]),
            None => futex_wake(word),
        }
    }

    /// Worker: sleeps until the parent rings. May return early.
    pub(crate) fn sleep(&self, word: &AtomicU32, seen: u32) {
        match &self.0 {
            Some(link) => link.inbox.sleep(),
            None => futex_wait(word, seen, None),
        }
    }
}
