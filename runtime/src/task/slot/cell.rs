//! The task cell: the state machine alone, and the two places it guards.
//!
//! ```text
//!   QUEUED --claim--> RUNNING --seal--> FINISHING --publish--> DONE
//!     | ^--put back-----/                   ^
//!     \--------------- revoke --------------/
//! ```
//!
//! Every arrow is one compare-and-swap, so each happens once: of a worker, a joiner and a canceller that all want a
//! queued task, one gets it; of a worker that is done and a timer that is up, one seals the outcome. Who moves the state
//! away from `QUEUED` owns the work, who holds `FINISHING` owns the outcome until it is published, and after `DONE` the
//! outcome belongs to the one [`Task`](crate::Task) handle. Loom checks the races in every order
//! (`runtime/loom`).

use std::sync::PoisonError;

use crate::sys::reserve;
use crate::sys::small_vec::SmallVec;
use crate::task::cancel::STOP;
use crate::task::sync::{AtomicU32, Mutex, MutexGuard, Ordering, UnsafeCell};

const QUEUED: u32 = 0;
const RUNNING: u32 = 1;
const FINISHING: u32 = 2;
const DONE: u32 = 3;
/// The low bits hold the state, the next ones flags.
const STATE: u32 = 3;
/// Somebody waits and must be told.
const WAITED: u32 = 4;

/// Work of type `F`, its outcome of type `R`, and listeners of type `L` who wait for it.
pub(super) struct TaskCell<F, R, L> {
    state: AtomicU32,
    listeners: Mutex<SmallVec<L>>,
    work: UnsafeCell<Option<F>>,
    outcome: UnsafeCell<Option<R>>,
}

// SAFETY: whoever makes one has a proof that `F` and `R` may move between threads; `L` is `Send`. The state machine
// lets only one thread at a time change either place (see the module's text).
unsafe impl<F, R, L: Send> Send for TaskCell<F, R, L> {}
// SAFETY: as above; threads that look at an outcome at the same time only do so where `R`'s shared part is `Sync`.
unsafe impl<F, R, L: Send> Sync for TaskCell<F, R, L> {}

impl<F, R, L> TaskCell<F, R, L> {
    /// A queued cell.
    ///
    /// # Safety
    ///
    /// `F` and `R` may move to another thread, and what [`peek`](Self::peek) is used for may be shared.
    pub(super) unsafe fn new(work: F) -> Self {
        Self {
            state: AtomicU32::new(QUEUED),
            listeners: Mutex::new(SmallVec::None),
            work: UnsafeCell::new(Some(work)),
            outcome: UnsafeCell::new(None),
        }
    }

    fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire) & STATE
    }

    pub(super) fn is_queued(&self) -> bool {
        self.state() == QUEUED
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state(), RUNNING | FINISHING)
    }

    pub(super) fn is_done(&self) -> bool {
        self.state() == DONE
    }

    /// The word with the flag [`STOP`].
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.state
    }

    /// Asks whoever runs it to stop.
    pub(super) fn ask_to_stop(&self) {
        self.state.fetch_or(STOP, Ordering::Relaxed);
    }

    /// Moves from one state to the next, keeping the flags; `false` if another thread was first.
    fn advance(&self, from: u32, to: u32) -> bool {
        let mut now = self.state.load(Ordering::Relaxed);
        while now & STATE == from {
            let next = (now & !STATE) | to;
            match self.state.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Takes the work to run it, if nobody has.
    pub(super) fn claim(&self) -> Option<F> {
        if self.advance(QUEUED, RUNNING) { self.take_work() } else { None }
    }

    /// Puts work back that was claimed and that nothing was done with: others may claim it.
    ///
    /// # Safety
    ///
    /// This thread's [`claim`](Self::claim) took it, and nobody seals the outcome meanwhile.
    #[cfg(feature = "process")]
    pub(super) unsafe fn put_back(&self, work: F) {
        // SAFETY: whoever moved the state to `RUNNING` has the place.
        self.work.with_mut(|place| unsafe { *place = Some(work) });
        self.advance(RUNNING, QUEUED);
    }

    /// Whether somebody waits of whom this holds.
    #[cfg(feature = "process")]
    pub(super) fn has_listener(&self, is: impl Fn(&L) -> bool) -> bool {
        self.state.load(Ordering::Acquire) & WAITED != 0 && self.lock_listeners().as_mut_slice().iter().any(is)
    }

    /// Takes the work to end it unrun, if nobody has. The outcome is then this thread's to publish.
    pub(super) fn revoke(&self) -> Option<F> {
        if self.advance(QUEUED, FINISHING) { self.take_work() } else { None }
    }

    fn take_work(&self) -> Option<F> {
        // SAFETY: the one thread that moved the state away from `QUEUED` calls this, and nobody else touches the work.
        self.work.with_mut(|work| unsafe { (*work).take() })
    }

    /// Claims the outcome of a task that runs; `false` if another thread was first.
    pub(super) fn seal(&self) -> bool {
        self.advance(RUNNING, FINISHING)
    }

    /// Writes the outcome. `tell` is given each listener before the outcome's owner can take it away, and gives back
    /// those that are to be told once it can; they are returned.
    ///
    /// # Safety
    ///
    /// This thread holds `FINISHING`: its [`revoke`](Self::revoke) or [`seal`](Self::seal) succeeded, and it has not
    /// published yet.
    #[inline]
    pub(super) unsafe fn publish(&self, outcome: R, tell: impl FnMut(&R, L) -> Option<L>) -> SmallVec<L> {
        // SAFETY: only the holder of `FINISHING` reaches the outcome. There was none, so there is nothing to be dropped.
        self.outcome.with_mut(|place| unsafe { place.write(Some(outcome)) });
        if self.finish() {
            return SmallVec::None;
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.tell_and_finish(tell) }
    }

    /// Moves from `FINISHING` to `DONE`, unless there are listeners to be told first; whether it did.
    #[inline]
    fn finish(&self) -> bool {
        let mut now = self.state.load(Ordering::Acquire);
        while now & WAITED == 0 {
            let done = (now & !STATE) | DONE;
            match self.state.compare_exchange_weak(now, done, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Tells listeners until there are none left, and moves to `DONE`.
    ///
    /// # Safety
    ///
    /// As [`publish`](Self::publish), which has written the outcome.
    #[inline(never)]
    unsafe fn tell_and_finish(&self, mut tell: impl FnMut(&R, L) -> Option<L>) -> SmallVec<L> {
        let mut later = SmallVec::None;
        loop {
            let listeners = {
                let mut listeners = self.lock_listeners();
                self.state.fetch_and(!WAITED, Ordering::AcqRel);
                listeners.take()
            };
            listeners.for_each(|listener| {
                // SAFETY: the caller holds `FINISHING`: until `DONE` no other thread reaches the outcome.
                let told =
                    self.outcome.with(|place| unsafe { (*place).as_ref() }.map(|outcome| tell(outcome, listener)));
                if let Some(listener) = told.flatten() {
                    later.push(listener);
                }
            });
            if self.finish() {
                return later;
            }
        }
    }

    /// Adds a listener, in the place of one that is the `same`; gives it back if the outcome is there already.
    pub(super) fn listen(&self, listener: L, same: impl Fn(&L, &L) -> bool) -> Option<L> {
        self.add(listener, |all, new| all.iter().position(|known| same(known, new)))
    }

    /// As [`listen`](Self::listen), beside all others: of many listeners none is looked at.
    pub(super) fn listen_too(&self, listener: L) -> Option<L> {
        self.add(listener, |_, _| None)
    }

    /// Adds a listener in the place that `find` says, or at the end.
    fn add(&self, listener: L, find: impl FnOnce(&[L], &L) -> Option<usize>) -> Option<L> {
        let mut listeners = reserve::lock_with_capacity(|| self.lock_listeners(), |listeners| listeners, 1);
        // Flag and state are one word: either this sees `DONE`, or the publisher sees the flag and comes for the list,
        // which is locked until the listener is in it.
        if self.state.fetch_or(WAITED, Ordering::AcqRel) & STATE == DONE {
            return Some(listener);
        }
        let all = listeners.as_mut_slice();
        let before = match find(all, &listener) {
            Some(place) => Some(std::mem::replace(&mut all[place], listener)),
            None => {
                listeners.push(listener);
                None
            }
        };
        // A waker is somebody else's code: not under the lock.
        drop(listeners);
        drop(before);
        None
    }

    /// Takes a listener out that is not to be told any more.
    pub(super) fn forget(&self, is: impl Fn(&L) -> bool) {
        let mut listeners = self.lock_listeners();
        let found = listeners.remove(is);
        drop(listeners);
        drop(found);
    }

    fn lock_listeners(&self) -> MutexGuard<'_, SmallVec<L>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the outcome, if it is there and was not taken.
    ///
    /// # Safety
    ///
    /// Nobody calls [`take`](Self::take) meanwhile.
    pub(super) unsafe fn peek<T>(&self, look: impl FnOnce(&R) -> T) -> Option<T> {
        if !self.is_done() {
            return None;
        }
        // SAFETY: after `DONE` only `take` changes the outcome, which the caller excludes.
        self.outcome.with(|place| unsafe { (*place).as_ref() }.map(look))
    }

    /// Takes the outcome, if it is there and was not taken.
    ///
    /// # Safety
    ///
    /// Nobody calls this, or [`peek`](Self::peek), at the same time.
    pub(super) unsafe fn take(&self) -> Option<R> {
        if !self.is_done() {
            return None;
        }
        // SAFETY: after `DONE` only this changes the outcome, once at a time, says the caller.
        self.outcome.with_mut(|place| unsafe { (*place).take() })
    }
}
