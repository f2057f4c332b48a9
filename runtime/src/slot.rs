//! The task slot: one `Arc` that holds a task's work, its state and its outcome.
//!
//! ```text
//!   QUEUED --claim--> RUNNING --seal--> FINISHING --publish--> DONE
//!      \------------- cancel ----------^
//! ```
//!
//! Every arrow is one compare-and-swap, so each happens once: of a worker, a joiner and a canceller that all
//! want a queued task, one gets it. Who holds `RUNNING` owns the work, who holds `FINISHING` owns the outcome
//! until it is published, and after `DONE` the outcome belongs to the one [`Task`](crate::Task) handle.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use crate::error::TaskError;
use crate::sent::Crossing;
use crate::workers::{Core, Run};

const QUEUED: u32 = 0;
const RUNNING: u32 = 1;
const FINISHING: u32 = 2;
const DONE: u32 = 3;
/// The low bits hold the state, the next one a flag: somebody waits and must be woken.
const STATE: u32 = 3;
const WAITED: u32 = 4;

/// A task's result, or why there is none.
pub(crate) type Outcome<T> = Result<T, TaskError>;

/// What a [`Task`](crate::Task) handle does with its slot, whatever the work's type.
pub(crate) trait Handle<T>: Send + Sync {
    fn is_done(&self) -> bool;
    fn is_running(&self) -> bool;
    /// Wakes `waker` when the task is done; `false` if it is done already.
    fn wake_when_done(&self, waker: &Waker) -> bool;
    /// The outcome, once; `None` before the task is done and after it was taken.
    fn take(&self) -> Option<Outcome<T>>;
    /// Ends a task that nobody has started; `false` if it was too late for that.
    fn cancel(&self, why: TaskError) -> bool;
    /// Runs the task here if nobody has started it.
    fn run_if_queued(&self) -> bool;
    fn core(&self) -> &Arc<Core>;
    fn function(&self) -> &'static str;
}

pub(crate) struct Slot<F, T> {
    state: AtomicU32,
    waiters: Mutex<Vec<Waker>>,
    work: UnsafeCell<Option<F>>,
    outcome: UnsafeCell<Option<Outcome<T>>>,
    function: &'static str,
    core: Arc<Core>,
}

// SAFETY: `Slot::new` takes a witness that `F` and `T` may move between threads, and the state machine lets only
// one thread at a time reach either cell (see the module's text), so nothing in them is ever shared.
unsafe impl<F, T> Send for Slot<F, T> {}
// SAFETY: as above.
unsafe impl<F, T> Sync for Slot<F, T> {}

impl<F, T> Slot<F, T>
where
    F: FnOnce() -> T,
{
    /// A queued slot.
    pub(crate) fn new(core: Arc<Core>, function: &'static str, work: F, _: Crossing<F, T>) -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU32::new(QUEUED),
            waiters: Mutex::new(Vec::new()),
            work: UnsafeCell::new(Some(work)),
            outcome: UnsafeCell::new(None),
            function,
            core,
        })
    }

    fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire) & STATE
    }

    /// Moves from one state to the next, keeping the flag; `false` if another thread was first.
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

    /// Writes the outcome and wakes whoever waits. The caller holds `FINISHING`.
    fn publish(&self, outcome: Outcome<T>) {
        // SAFETY: only the holder of `FINISHING` reaches the outcome, and it got there by a compare-and-swap.
        unsafe { *self.outcome.get() = Some(outcome) };
        let before = self.state.swap(DONE, Ordering::AcqRel);
        if before & WAITED != 0 {
            let waiters = std::mem::take(&mut *self.lock_waiters());
            waiters.into_iter().for_each(Waker::wake);
        }
    }

    fn lock_waiters(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the work out. The caller holds `RUNNING` or `FINISHING`, reached from `QUEUED`.
    fn take_work(&self) -> Option<F> {
        // SAFETY: the thread that moved the state away from `QUEUED` is the only one that touches the work.
        unsafe { (*self.work.get()).take() }
    }
}

impl<F, T> Handle<T> for Slot<F, T>
where
    F: FnOnce() -> T,
{
    fn is_done(&self) -> bool {
        self.state() == DONE
    }

    fn is_running(&self) -> bool {
        matches!(self.state(), RUNNING | FINISHING)
    }

    fn wake_when_done(&self, waker: &Waker) -> bool {
        let mut waiters = self.lock_waiters();
        if !waiters.iter().any(|known| known.will_wake(waker)) {
            waiters.push(waker.clone());
        }
        // Flag and state are one word: either this sees `DONE`, or the publisher sees the flag.
        self.state.fetch_or(WAITED, Ordering::AcqRel) & STATE != DONE
    }

    fn take(&self) -> Option<Outcome<T>> {
        if self.state() != DONE {
            return None;
        }
        // SAFETY: after `DONE` only the one `Task` handle calls this, and it takes turns with itself.
        unsafe { (*self.outcome.get()).take() }
    }

    fn cancel(&self, why: TaskError) -> bool {
        if !self.advance(QUEUED, FINISHING) {
            return false;
        }
        // A destructor that panics must not leave the slot unfinished.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self.take_work())));
        self.publish(Err(why));
        true
    }

    fn run_if_queued(&self) -> bool {
        if !self.advance(QUEUED, RUNNING) {
            return false;
        }
        let Some(work) = self.take_work() else {
            return false;
        };
        let outcome =
            catch_unwind(AssertUnwindSafe(work)).map_err(|payload| TaskError::panicked(self.function, payload));
        if self.advance(RUNNING, FINISHING) {
            self.publish(outcome);
        }
        true
    }

    fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn function(&self) -> &'static str {
        self.function
    }
}

impl<F, T> Run for Slot<F, T>
where
    F: FnOnce() -> T,
{
    fn run(&self) {
        self.run_if_queued();
    }

    fn abandon(&self) {
        self.cancel(TaskError::PoolClosed);
    }
}
