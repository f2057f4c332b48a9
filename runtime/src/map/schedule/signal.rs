//! A signal that threads wait for while they have nothing to do in a map.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::pool;
use crate::sys::{mutex, park, reserve};

/// The first and the longest pause after which a parked thread looks for itself. `notify` is a plain load, as it is
/// called for each item. It may miss a thread that parks at this very moment; that thread finds the item 1 ms later.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(128);

/// The threads that wait.
pub(super) struct Signal {
    /// The length of `wakers`.
    waiting: AtomicUsize,
    wakers: Mutex<Vec<Waker>>,
}

impl Signal {
    pub(super) fn new() -> Self {
        Self { waiting: AtomicUsize::new(0), wakers: Mutex::new(Vec::new()) }
    }

    /// Waits until `done` holds, or `gives_up`, which is asked from time to time only. A worker gives its permit back
    /// meanwhile.
    pub(super) fn wait(&self, done: impl Fn() -> bool, gives_up: impl Fn() -> bool) {
        if park::spin_up_to(park::HELPER_SPIN, &done) {
            return;
        }
        let waker = park::waker();
        let mut wakers = reserve::lock_with_capacity(|| self.lock(), |wakers| wakers, 1);
        wakers.push(waker.clone());
        self.waiting.store(wakers.len(), Ordering::SeqCst);
        drop(wakers);
        pool::blocking_section(|| {
            let mut pause = FIRST_PAUSE;
            while !park::wait_until_deadline(&done, Instant::now() + pause) && !gives_up() {
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        });
        let mut wakers = self.lock();
        let own = wakers.iter().position(|other| other.will_wake(&waker)).map(|own| wakers.swap_remove(own));
        self.waiting.store(wakers.len(), Ordering::Relaxed);
        drop(wakers);
        drop(own);
    }

    /// Wakes one thread, if one waits. Returns whether one does.
    #[inline]
    pub(super) fn notify(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 && self.wake_one()
    }

    #[cold]
    fn wake_one(&self) -> bool {
        let waker = self.lock().last().cloned();
        waker.map(Waker::wake).is_some()
    }

    /// Wakes all threads that wait.
    pub(super) fn notify_all(&self) {
        let mut buffer = Vec::new();
        let wakers = reserve::lock_with_buffer(|| self.lock(), |wakers| wakers.len(), &mut buffer);
        buffer.extend(wakers.iter().cloned());
        drop(wakers);
        buffer.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        mutex::lock(&self.wakers)
    }
}
