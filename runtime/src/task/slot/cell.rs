//! [`TaskCell`]: the state machine of a task, and the two cells that it guards, the work and the outcome.
//!
//! ```text
//!   QUEUED --claim--> RUNNING --seal--> FINISHING --publish--> DONE
//!     | ^--put back-----/                   ^
//!     \--------------- revoke --------------/
//! ```
//!
//! Every arrow is one compare-and-swap, so exactly one thread takes it: of a worker, a joiner and a canceller that race
//! for a queued task, one gets it; of a worker that has a result and a timer that expires, one seals the outcome.
//!
//! The thread that moved the state away from `QUEUED` owns the work. The thread that moved it to `FINISHING` owns the
//! outcome until it publishes it. After `DONE` the outcome belongs to the one [`Task`](crate::Task) handle. The models
//! in `runtime/loom` check the races in every order; `README.md` in the folder above lists states, transitions and
//! memory orders.

use crate::sys::reserve;
use crate::sys::small_vec::SmallVec;
use crate::task::cancel::{STOP_REQUESTED, STOP_SEEN};
use crate::task::sync::{AtomicU32, Mutex, MutexGuard, Ordering, UnsafeCell, lock};

const QUEUED: u32 = 0;
const RUNNING: u32 = 1;
const FINISHING: u32 = 2;
const DONE: u32 = 3;
/// The bits of the word that hold the state. The other bits are flags.
const STATE_MASK: u32 = 3;
/// The flag that the list of listeners may not be empty.
const HAS_LISTENERS: u32 = 4;

/// The flag that the task has ended, or ends, without running its work.
const REVOKED: u32 = 32;

/// Work of type `F`, its outcome of type `R`, and listeners of type `L` for its end.
pub(super) struct TaskCell<F, R, L> {
    state: AtomicU32,
    listeners: Mutex<SmallVec<L>>,
    work: UnsafeCell<Option<F>>,
    outcome: UnsafeCell<Option<R>>,
}

// SAFETY: by the contract of `new` work and outcome may move between threads; `L` is `Send`.
unsafe impl<F, R, L: Send> Send for TaskCell<F, R, L> {}
// SAFETY: the state machine lets one thread at a time access the work, and write or take the outcome (see the file's
// head). By the contract of `new`, what several threads `peek` at in an outcome may be shared. Listeners are locked.
unsafe impl<F, R, L: Send> Sync for TaskCell<F, R, L> {}

impl<F, R, L> TaskCell<F, R, L> {
    /// A cell in the state `QUEUED`.
    ///
    /// # Safety
    ///
    /// `F` and `R` may move to another thread, and the parts of `R` that callers of [`peek`](Self::peek) read may be
    /// shared between threads.
    pub(super) unsafe fn new(work: F) -> Self {
        Self {
            state: AtomicU32::new(QUEUED),
            listeners: Mutex::new(SmallVec::None),
            work: UnsafeCell::new(Some(work)),
            outcome: UnsafeCell::new(None),
        }
    }

    fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire) & STATE_MASK
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

    /// Whether the work was revoked, so that it never runs.
    pub(super) fn is_revoked(&self) -> bool {
        self.state.load(Ordering::Relaxed) & REVOKED != 0
    }

    /// The word that holds the state and the flag [`STOP_REQUESTED`].
    pub(super) fn state_word(&self) -> &AtomicU32 {
        &self.state
    }

    /// Sets the flag that asks the running task to stop.
    pub(super) fn request_stop(&self) {
        self.state.fetch_or(STOP_REQUESTED, Ordering::Relaxed);
    }

    pub(super) fn is_stop_requested(&self) -> bool {
        self.state.load(Ordering::Relaxed) & STOP_REQUESTED != 0
    }

    /// Whether the task has seen that flag.
    pub(super) fn has_seen_stop(&self) -> bool {
        self.state.load(Ordering::Relaxed) & STOP_SEEN != 0
    }

    /// Moves from one state to the next, keeps the flags and adds those in `to`; `false` if the state is not `from`.
    fn advance(&self, from: u32, to: u32) -> bool {
        let mut now = self.state.load(Ordering::Relaxed);
        while now & STATE_MASK == from {
            let next = (now & !STATE_MASK) | to;
            match self.state.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Takes the work to run it; `None` if the state is not `QUEUED`.
    pub(super) fn claim(&self) -> Option<F> {
        if self.advance(QUEUED, RUNNING) { self.take_work() } else { None }
    }

    /// Returns work that was claimed and not started: other threads may claim it.
    ///
    /// # Safety
    ///
    /// The caller's [`claim`](Self::claim) returned it, and no thread seals the outcome meanwhile.
    #[cfg(feature = "process")]
    pub(super) unsafe fn put_back(&self, work: F) {
        // SAFETY: the state is `RUNNING` by the caller's claim, so no other thread accesses the work.
        self.work.with_mut(|cell| unsafe { *cell = Some(work) });
        self.advance(RUNNING, QUEUED);
    }

    /// Whether a listener is registered for which `is` holds.
    #[cfg(feature = "process")]
    pub(super) fn has_listener(&self, is: impl Fn(&L) -> bool) -> bool {
        self.state.load(Ordering::Acquire) & HAS_LISTENERS != 0 && self.lock_listeners().as_mut_slice().iter().any(is)
    }

    /// Takes the work to end the task without running it; `None` if the state is not `QUEUED`. The caller must then
    /// publish the outcome.
    pub(super) fn revoke(&self) -> Option<F> {
        if self.advance(QUEUED, FINISHING | REVOKED) { self.take_work() } else { None }
    }

    fn take_work(&self) -> Option<F> {
        // SAFETY: only the thread whose compare-and-swap moved the state away from `QUEUED` calls this, and no other
        // thread accesses the work in any other state.
        self.work.with_mut(|work| unsafe { (*work).take() })
    }

    /// Claims the outcome of a running task; `false` if the state is not `RUNNING`. The caller must then publish it.
    pub(super) fn seal(&self) -> bool {
        self.advance(RUNNING, FINISHING)
    }

    /// Writes the outcome and moves to `DONE`. `notify` is called with each listener before `DONE`, when the handle
    /// cannot take the outcome yet. The listeners that it returns are returned, for the caller to notify after `DONE`.
    ///
    /// # Safety
    ///
    /// This thread's [`revoke`](Self::revoke) or [`seal`](Self::seal) succeeded, and it has not published yet.
    #[inline]
    pub(super) unsafe fn publish(&self, outcome: R, notify: impl FnMut(&R, L) -> Option<L>) -> SmallVec<L> {
        // SAFETY: the state is `FINISHING` by this thread's transition, so no other thread accesses the outcome. It is
        // `None`, so overwriting it drops nothing.
        self.outcome.with_mut(|cell| unsafe { cell.write(Some(outcome)) });
        if self.try_finish() {
            return SmallVec::None;
        }
        // SAFETY: by this function's contract the state is `FINISHING` by this thread's transition; the outcome is
        // written.
        unsafe { self.notify_and_finish(notify) }
    }

    /// Moves from `FINISHING` to `DONE` unless listeners are registered; whether it did.
    #[inline]
    fn try_finish(&self) -> bool {
        let mut now = self.state.load(Ordering::Acquire);
        while now & HAS_LISTENERS == 0 {
            let done = (now & !STATE_MASK) | DONE;
            match self.state.compare_exchange_weak(now, done, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Passes listeners to `notify` until none is left, and moves to `DONE`.
    ///
    /// # Safety
    ///
    /// As [`publish`](Self::publish), which calls this after it has written the outcome.
    #[inline(never)]
    unsafe fn notify_and_finish(&self, mut notify: impl FnMut(&R, L) -> Option<L>) -> SmallVec<L> {
        let mut later = SmallVec::None;
        loop {
            let listeners = {
                let mut listeners = self.lock_listeners();
                self.state.fetch_and(!HAS_LISTENERS, Ordering::AcqRel);
                listeners.take()
            };
            listeners.for_each(|listener| {
                // SAFETY: the state is `FINISHING` by this thread's transition: before `DONE` no other thread accesses
                // the outcome.
                let unnotified =
                    self.outcome.with(|cell| unsafe { (*cell).as_ref() }.map(|outcome| notify(outcome, listener)));
                if let Some(listener) = unnotified.flatten() {
                    later.push(listener);
                }
            });
            if self.try_finish() {
                return later;
            }
        }
    }

    /// Registers a listener, in place of one for which `same` holds. Returns it if the state is `DONE`.
    pub(super) fn add_or_replace_listener(&self, listener: L, same: impl Fn(&L, &L) -> bool) -> Option<L> {
        self.insert_listener(listener, |all, new| all.iter().position(|known| same(known, new)))
    }

    /// As [`add_or_replace_listener`](Self::add_or_replace_listener), without replacing one: it takes constant time.
    pub(super) fn add_listener(&self, listener: L) -> Option<L> {
        self.insert_listener(listener, |_, _| None)
    }

    /// Registers a listener at the index that `find` returns, or at the end.
    fn insert_listener(&self, listener: L, find: impl FnOnce(&[L], &L) -> Option<usize>) -> Option<L> {
        let mut listeners = reserve::lock_with_capacity(|| self.lock_listeners(), |listeners| listeners, 1);
        // Flag and state are one word: either this sees `DONE`, or the publisher sees the flag and locks the list,
        // which is locked here until the listener is in it.
        if self.state.fetch_or(HAS_LISTENERS, Ordering::AcqRel) & STATE_MASK == DONE {
            return Some(listener);
        }
        let all = listeners.as_mut_slice();
        let before = match find(all, &listener) {
            Some(index) => Some(std::mem::replace(&mut all[index], listener)),
            None => {
                listeners.push(listener);
                None
            }
        };
        // Dropping a listener runs user code, so the lock is released first.
        drop(listeners);
        drop(before);
        None
    }

    /// Removes the first listener for which `is` holds, and returns it.
    pub(super) fn remove_listener(&self, is: impl Fn(&L) -> bool) -> Option<L> {
        self.lock_listeners().remove(is)
    }

    fn lock_listeners(&self) -> MutexGuard<'_, SmallVec<L>> {
        lock(&self.listeners)
    }

    /// Reads the outcome; `None` before `DONE` and after it was taken.
    ///
    /// # Safety
    ///
    /// No thread calls [`take`](Self::take) meanwhile.
    pub(super) unsafe fn peek<T>(&self, read: impl FnOnce(&R) -> T) -> Option<T> {
        if !self.is_done() {
            return None;
        }
        // SAFETY: after `DONE` only `take` changes the outcome, and by this function's contract it does not run.
        self.outcome.with(|cell| unsafe { (*cell).as_ref() }.map(read))
    }

    /// Takes the outcome; `None` before `DONE` and after it was taken.
    ///
    /// # Safety
    ///
    /// No thread calls this or [`peek`](Self::peek) at the same time.
    pub(super) unsafe fn take(&self) -> Option<R> {
        if !self.is_done() {
            return None;
        }
        // SAFETY: after `DONE` only `take` changes the outcome, and by this function's contract no other access runs.
        self.outcome.with_mut(|cell| unsafe { (*cell).take() })
    }
}
