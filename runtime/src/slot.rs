//! The task slot: one `Arc` that holds a task's work, its state and its outcome.
//!
//! ```text
//!   QUEUED --claim--> RUNNING --seal--> FINISHING --publish--> DONE
//!      \------------- cancel ----------^
//! ```
//!
//! Every arrow is one compare-and-swap, so each happens once: of a worker, a joiner and a canceller that all want a
//! queued task, one gets it; of a worker that is done and a timer that is up, one seals the outcome. Who holds
//! `RUNNING` owns the work, who holds `FINISHING` owns the outcome until it is published, and after `DONE` the
//! outcome belongs to the one [`Task`](crate::Task) handle.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use crate::error::TaskError;
use crate::panics;
use crate::sent::Crossing;
use crate::timer::{self, Expire};
use crate::workers::{Core, Ran, Run};

const QUEUED: u32 = 0;
const RUNNING: u32 = 1;
const FINISHING: u32 = 2;
const DONE: u32 = 3;
/// The low bits hold the state, the next ones flags.
const STATE: u32 = 3;
/// Somebody waits and must be told.
const WAITED: u32 = 4;
/// Whoever runs it should stop.
const STOP: u32 = 8;

/// The number of a task; no two tasks of a process have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How a task ended, as [`Task::on_done`](crate::Task::on_done) tells it. The result itself belongs to the task.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    error: Option<&'a TaskError>,
}

impl<'a> Outcome<'a> {
    /// Whether the function returned.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.error.is_none()
    }

    /// Why it did not.
    #[must_use]
    pub fn error(&self) -> Option<&'a TaskError> {
        self.error
    }
}

/// What is done when a task has ended.
pub(crate) enum Listener {
    Wake(Waker),
    Call(Box<dyn FnOnce(&Outcome<'_>) + Send>),
}

/// What a [`Task`](crate::Task) handle does with its slot, whatever the work's type.
pub(crate) trait Handle<T>: Send + Sync {
    fn id(&self) -> TaskId;
    fn is_done(&self) -> bool;
    fn is_running(&self) -> bool;
    /// Whether the task is done, and has no result.
    fn has_failed(&self) -> bool;
    /// Tells the listener when the task is done; gives it back if the task is done already.
    fn listen(&self, listener: Listener) -> Option<Listener>;
    /// Runs a listener of a task that is done.
    fn tell(&self, listener: Listener);
    /// The outcome, once; `None` before the task is done and after it was taken.
    fn take(&self) -> Option<Result<T, TaskError>>;
    /// Ends a task that nobody has started and returns `true`; asks one that runs to stop.
    fn cancel(&self) -> bool;
    /// Runs the task here if nobody has started it.
    fn run_if_queued(&self) -> bool;
    /// Whether a thread that waits may run the task in its own time.
    fn may_be_claimed(&self) -> bool;
    fn core(&self) -> &Arc<Core>;
    fn function(&self) -> &'static str;
}

pub(crate) struct Slot<F, T> {
    state: AtomicU32,
    id: TaskId,
    listeners: Mutex<Vec<Listener>>,
    work: UnsafeCell<Option<F>>,
    outcome: UnsafeCell<Option<Result<T, TaskError>>>,
    function: &'static str,
    terms: Terms,
    core: Arc<Core>,
}

/// What a task asks of its worker.
#[derive(Clone, Copy, Default)]
pub(crate) struct Terms {
    /// Its time, from the start of the run.
    pub(crate) timeout: Option<Duration>,
    /// It has state that belongs to its worker, or a time-out: no thread that waits may claim it.
    pub(crate) own_worker: bool,
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
    pub(crate) fn new(core: Arc<Core>, function: &'static str, terms: Terms, work: F, _: Crossing<F, T>) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            state: AtomicU32::new(QUEUED),
            id: TaskId(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            listeners: Mutex::new(Vec::new()),
            work: UnsafeCell::new(Some(work)),
            outcome: UnsafeCell::new(None),
            function,
            terms,
            core,
        })
    }

    fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire) & STATE
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

    /// Writes the outcome, calls back, and wakes whoever waits. The caller holds `FINISHING`.
    fn publish(&self, outcome: Result<T, TaskError>) {
        let counts = self.core.counts();
        let count = match &outcome {
            Ok(_) => &counts.done,
            Err(TaskError::Cancelled | TaskError::PoolClosed) => &counts.cancelled,
            Err(_) => &counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        // SAFETY: only the holder of `FINISHING` reaches the outcome, and it got there by a compare-and-swap.
        unsafe { *self.outcome.get() = Some(outcome) };
        let mut wakers = Vec::new();
        let mut now = self.state.load(Ordering::Acquire);
        loop {
            if now & WAITED == 0 {
                let done = (now & !STATE) | DONE;
                match self.state.compare_exchange_weak(now, done, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => break,
                    Err(other) => now = other,
                }
                continue;
            }
            // Callbacks see the outcome before its owner can take it away.
            let listeners = {
                let mut listeners = self.lock_listeners();
                self.state.fetch_and(!WAITED, Ordering::AcqRel);
                std::mem::take(&mut *listeners)
            };
            for listener in listeners {
                match listener {
                    Listener::Wake(waker) => wakers.push(waker),
                    call @ Listener::Call(_) => self.tell(call),
                }
            }
            now = self.state.load(Ordering::Acquire);
        }
        wakers.into_iter().for_each(|waker| panics::contain(|| waker.wake()));
    }

    fn lock_listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the work out. The caller moved the state away from `QUEUED`.
    fn take_work(&self) -> Option<F> {
        // SAFETY: the thread that moved the state away from `QUEUED` is the only one that touches the work.
        unsafe { (*self.work.get()).take() }
    }

    /// Ends a task that nobody has started.
    fn end_queued(&self, why: TaskError) -> bool {
        if !self.advance(QUEUED, FINISHING) {
            return false;
        }
        // A destructor that panics must not leave the slot unfinished.
        panics::discard(self.take_work());
        self.publish(Err(why));
        true
    }

    /// Runs the task here, unless another thread was first; `None` then. `started` is called in between.
    fn claim_and_run(&self, started: impl FnOnce()) -> Option<Ran> {
        if !self.advance(QUEUED, RUNNING) {
            return None;
        }
        let work = self.take_work()?;
        started();
        let current = Current::enter(&self.state);
        let outcome = panics::catch(self.function, work);
        drop(current);
        if self.advance(RUNNING, FINISHING) {
            self.publish(outcome);
            return Some(Ran::Here);
        }
        // The timer was first.
        panics::discard(outcome);
        Some(Ran::WrittenOff)
    }
}

impl<F, T> Handle<T> for Slot<F, T>
where
    F: FnOnce() -> T,
{
    fn id(&self) -> TaskId {
        self.id
    }

    fn is_done(&self) -> bool {
        self.state() == DONE
    }

    fn is_running(&self) -> bool {
        matches!(self.state(), RUNNING | FINISHING)
    }

    fn has_failed(&self) -> bool {
        // SAFETY: the task is done, the caller has the handle, and looks as others may at the same time.
        self.state() == DONE && matches!(unsafe { &*self.outcome.get() }, Some(Err(_)))
    }

    fn listen(&self, listener: Listener) -> Option<Listener> {
        let mut listeners = self.lock_listeners();
        // Flag and state are one word: either this sees `DONE`, or the publisher sees the flag and comes for the
        // list, which is locked until the listener is in it.
        if self.state.fetch_or(WAITED, Ordering::AcqRel) & STATE == DONE {
            return Some(listener);
        }
        let known = |waker: &Waker| {
            listeners.iter().any(|known| matches!(known, Listener::Wake(other) if other.will_wake(waker)))
        };
        if !matches!(&listener, Listener::Wake(waker) if known(waker)) {
            listeners.push(listener);
        }
        None
    }

    fn tell(&self, listener: Listener) {
        match listener {
            Listener::Wake(waker) => waker.wake(),
            Listener::Call(call) => {
                // SAFETY: the caller publishes, and nobody else reaches the outcome yet; or the task is done, the
                // caller has the handle, and looks at the outcome as others may at the same time.
                let outcome = unsafe { &*self.outcome.get() };
                let error = outcome.as_ref().and_then(|outcome| outcome.as_ref().err());
                // Whoever waits for the task must not suffer.
                panics::contain(|| call(&Outcome { error }));
            }
        }
    }

    fn take(&self) -> Option<Result<T, TaskError>> {
        if self.state() != DONE {
            return None;
        }
        // SAFETY: after `DONE` only the one `Task` handle calls this, and it does so once at a time: by value, or
        // through `&mut`.
        unsafe { (*self.outcome.get()).take() }
    }

    fn cancel(&self) -> bool {
        if self.end_queued(TaskError::Cancelled) {
            return true;
        }
        self.state.fetch_or(STOP, Ordering::Relaxed);
        false
    }

    fn run_if_queued(&self) -> bool {
        self.claim_and_run(|| {}).is_some()
    }

    fn may_be_claimed(&self) -> bool {
        !self.terms.own_worker && self.state() == QUEUED
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
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    fn run(self: Arc<Self>) -> Ran {
        let start_timer = || {
            if let Some(limit) = self.terms.timeout {
                timer::after(limit, Arc::downgrade(&self) as Weak<dyn Expire>);
            }
        };
        let ran = self.claim_and_run(start_timer).unwrap_or(Ran::Here);
        // A detached task's result goes with the slot, and its destructor may panic.
        panics::discard(self);
        ran
    }

    fn abandon(&self, cancelled: bool) {
        self.end_queued(if cancelled { TaskError::Cancelled } else { TaskError::PoolClosed });
    }
}

impl<F, T> Expire for Slot<F, T>
where
    F: FnOnce() -> T,
{
    fn expire(&self, after: Duration) {
        if !self.advance(RUNNING, FINISHING) {
            return;
        }
        self.state.fetch_or(STOP, Ordering::Relaxed);
        self.core.write_off();
        self.publish(Err(TaskError::TimedOut { after }));
    }
}

thread_local! {
    /// The state of the task that this thread runs.
    static CURRENT: Cell<*const AtomicU32> = const { Cell::new(std::ptr::null()) };
}

/// The task that this thread runs, until the guard is dropped.
struct Current {
    before: *const AtomicU32,
}

impl Current {
    fn enter(state: &AtomicU32) -> Self {
        Self { before: CURRENT.replace(state) }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Whether the task that calls this was cancelled, or has run out of time: it should return soon.
///
/// `false` outside tasks, and in calls that nobody can cancel.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, cancelled};
///
/// # fn main() -> Result<(), fanfold::TaskError> {
/// let (started, starts) = std::sync::mpsc::channel();
/// let counting = Pool::cpu_default().submit(move || {
///     started.send(()).ok();
///     let mut rounds = 0_u64;
///     while !cancelled() {
///         rounds += 1;
///     }
///     rounds
/// });
/// starts.recv().ok();
/// assert!(!counting.cancel()); // it runs already, and is asked to stop
/// let rounds = counting.join()?; // what it returned
/// # let _ = rounds;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn cancelled() -> bool {
    let state = CURRENT.get();
    // SAFETY: null, or the state of a slot that this thread runs right now, up its stack; whoever runs it holds it.
    let state = unsafe { state.as_ref() };
    state.is_some_and(|state| state.load(Ordering::Relaxed) & STOP != 0)
}
