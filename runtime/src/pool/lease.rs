//! [`Lease`]: a job that borrows from its caller's stack, for as long as the caller waits.
//!
//! The caller opens a lease when it makes one, and closes it. A worker *enters* the lease before it uses the borrowed
//! closure, and *leaves* it afterwards. The lease counts the workers inside in one atomic word, together with its
//! flags. A worker that comes to a closed lease does not enter, and does not touch the closure. So after
//! [`close`](Lease::close), once no worker is inside, no thread can reach the closure any more, and the caller's frame
//! may end. Copies of the job that are still queued then are dead.
//!
//! A lease for a single worker is closed by that worker as it enters, in the same step.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;

use super::span::CallerSpan;
use super::{Job, JobEnd};
use crate::sys::unwind;
use crate::sys::{fork, mutex, park};
use crate::task::cancel::CallerTask;

/// Flag: no worker may enter any more.
const CLOSED: usize = 1;
/// Flag: a worker has entered.
const ENTERED: usize = 2;
/// Flag: the pool will not run the job.
const ABANDONED: usize = 4;
/// Flag: the caller is parked, or about to park. A worker that leaves wakes it.
const CALLER_PARKED: usize = 8;
/// One worker inside. The bits from here on count them.
const INSIDE: usize = 16;

/// The borrowed work of a lease.
pub(super) trait BorrowedWork: Send + Sync {
    /// Does the work.
    ///
    /// # Safety
    ///
    /// What the work borrows is alive: the calling thread is counted inside of the lease, or is the caller that has not
    /// closed the lease yet. In a single lease, the calling thread is the worker that has entered.
    unsafe fn call(&self);
}

/// A snapshot of a lease's state.
#[derive(Clone, Copy)]
pub(super) struct LeaseState(usize);

impl LeaseState {
    /// Whether no worker is inside.
    pub(super) fn is_empty(self) -> bool {
        self.0 < INSIDE
    }

    /// Whether a worker has entered.
    pub(super) fn was_entered(self) -> bool {
        self.0 & ENTERED != 0
    }

    /// Whether the pool will not run the job.
    pub(super) fn is_abandoned(self) -> bool {
        self.0 & ABANDONED != 0
    }
}

/// See the text of the module.
pub(super) struct Lease<W> {
    state: AtomicUsize,
    pub(super) work: W,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether `panic` holds a payload: the caller locks it only then.
    has_panicked: AtomicBool,
    /// Whether the first worker that enters is the only one.
    is_single: bool,
    /// Wakes the caller. Set before the caller parks: most calls end while it spins, and a waker that is made and
    /// dropped for each call is a cache line that two threads pass back and forth.
    caller: OnceLock<Waker>,
    /// Whether the caller computes along, as in a map: then the job is a share of a map.
    pub(super) caller_computes: bool,
    /// Whether a caller that waits may run the job itself where the pool can have no thread.
    pub(super) may_run_on_caller: bool,
    span: CallerSpan,
    /// The task that workers inside see as their own.
    task: CallerTask,
}

impl<W> Lease<W> {
    /// `task` is [`CallerTask::here`] of the caller, or none.
    pub(super) fn new(
        work: W,
        is_single: bool,
        caller_computes: bool,
        may_run_on_caller: bool,
        task: CallerTask,
    ) -> Self {
        Self {
            state: AtomicUsize::new(0),
            work,
            panic: Mutex::new(None),
            has_panicked: AtomicBool::new(false),
            is_single,
            caller: OnceLock::new(),
            caller_computes,
            may_run_on_caller,
            span: CallerSpan::here(),
            task,
        }
    }

    /// The state now. Everything that the workers which have left did is visible.
    pub(super) fn state(&self) -> LeaseState {
        LeaseState(self.state.load(Ordering::Acquire))
    }

    /// Counts the calling worker inside; `false` if the lease is closed.
    fn enter(&self) -> bool {
        let mut now = self.state.load(Ordering::Relaxed);
        while now & CLOSED == 0 {
            let next = (now + INSIDE) | ENTERED | if self.is_single { CLOSED } else { 0 };
            match self.state.compare_exchange_weak(now, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Parks the caller until `done` holds, which a change of the state makes true.
    pub(super) fn park_caller(&self, done: impl Fn() -> bool) {
        self.register_caller();
        park::wait_until(done);
    }

    /// Has the caller woken by later changes of the state. The caller sees earlier changes when it looks after this.
    pub(super) fn register_caller(&self) {
        self.caller.get_or_init(park::waker);
        self.state.fetch_or(CALLER_PARKED, Ordering::AcqRel);
    }

    /// Wakes the caller, if the state before a change says that it is parked.
    fn wake_caller(&self, before: usize) {
        if before & CALLER_PARKED != 0
            && let Some(caller) = self.caller.get()
        {
            caller.wake_by_ref();
        }
    }

    /// Closes the lease: no worker enters any more. Returns the state before. Everything that the workers which have
    /// left did is visible.
    pub(super) fn close(&self) -> LeaseState {
        let now = self.state.load(Ordering::Acquire);
        // A read first: the cache line is the worker's, and only a write would have to fetch it exclusively.
        if now & CLOSED != 0 && now < INSIDE {
            return LeaseState(now);
        }
        LeaseState(self.state.fetch_or(CLOSED, Ordering::AcqRel))
    }

    /// The first panic. Only called when no worker is inside.
    pub(super) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        let has_panicked = self.has_panicked.load(Ordering::Relaxed);
        has_panicked.then(|| mutex::lock(&self.panic).take()).flatten()
    }

    /// Keeps a panic's payload for the caller, if it is the first.
    pub(super) fn keep_panic(&self, payload: Box<dyn Any + Send>) {
        let mut slot = mutex::lock(&self.panic);
        if slot.is_some() {
            drop(slot);
            return unwind::discard(payload);
        }
        *slot = Some(payload);
        // Relaxed: the worker leaves after this with a release, which the caller acquires before it reads.
        self.has_panicked.store(true, Ordering::Relaxed);
    }
}

impl<W: BorrowedWork> Job for Lease<W> {
    fn run(self: Arc<Self>) -> JobEnd {
        if !self.enter() {
            return JobEnd::Ran;
        }
        let in_span = || {
            let _entered = self.span.enter();
            // SAFETY: this worker is counted inside, so the frame of the caller, which called `here`, stays.
            let _task = unsafe { self.task.enter() };
            // SAFETY: `enter` has counted this worker inside, and closed a single lease for others. The caller's frame
            // stays until no worker is inside.
            unsafe { self.work.call() };
        };
        let forks = fork::watched_generation();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(in_span)) {
            self.keep_panic(payload);
        }
        if fork::is_child(forks) {
            fork::exit_child();
        }
        // From here on nothing of the caller's frame is used. The lease, with the waker, is reference-counted.
        let before = self.state.fetch_sub(INSIDE, Ordering::AcqRel);
        self.wake_caller(before);
        if self.caller_computes { JobEnd::RanMapShare } else { JobEnd::Ran }
    }

    fn is_dead(&self) -> bool {
        self.state.load(Ordering::Relaxed) & CLOSED != 0
    }

    fn is_task(&self) -> bool {
        false
    }

    fn abandon(&self, _: bool) {
        let before = self.state.fetch_or(ABANDONED, Ordering::AcqRel);
        self.wake_caller(before);
    }
}
