//! Running a closure that borrows from the caller's stack on workers of a pool, as `rayon::scope` and
//! `std::thread::scope` do: [`lend`] on several workers, [`run_on`] on one.
//!
//! This is the one place where a borrow crosses threads. It is sound for these reasons:
//!
//! - Workers reach the closure only through a [`Lease`], and are counted inside of it around every use.
//! - [`serve`] closes the lease before it returns, and then waits until no worker is inside. It does so on every path:
//!   a panic of the caller's own share is caught, and resumed only after that.
//! - A worker that comes to a closed lease does not touch the closure. So jobs that no worker has started are simply
//!   left in the queue, and the caller never waits for a worker that is busy with another job.
//! - A lease for a single worker is closed by that worker as it enters, in the same step.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lease::{BorrowedWork, Lease, LeaseState};
use crate::error::panics;
use crate::pool::{self, Core, Job};
use crate::sys::{fork, park};
use crate::task::cancel::CallerTask;

/// How long the caller spins for the end of the workers' last blocks: most are shorter, and parking costs as much.
const LAST_BLOCK: Duration = Duration::from_micros(30);

/// The pool was closed before it ran the work.
pub(crate) struct Abandoned;

/// A closure on the caller's stack. Valid while the lease is open or a worker is inside.
struct BorrowedClosure(*const (dyn Fn() + Sync));

// SAFETY: the closure behind the pointer is `Sync`, so any thread may call it through a shared reference. It is only
// called by threads inside of the lease, for which `serve` keeps it alive.
unsafe impl Send for BorrowedClosure {}
// SAFETY: the closure behind the pointer is `Sync`, so several threads may call it at once. It is only called by
// threads inside of the lease, for which `serve` keeps it alive.
unsafe impl Sync for BorrowedClosure {}

impl BorrowedWork for BorrowedClosure {
    unsafe fn call(&self) {
        // SAFETY: the caller of `call` is inside of the lease, and `serve` keeps the closure alive until all have left.
        unsafe { (*self.0)() }
    }
}

/// A closure for the one worker that enters, and its result for the caller. Both lie in the lease, so that caller and
/// worker pass one piece of memory back and forth.
struct SingleCall<F, T> {
    work: UnsafeCell<Option<F>>,
    result: UnsafeCell<Option<T>>,
}

// SAFETY: `F` and `T` move to another thread and back, so they are `Send`. A single lease lets one thread in, and the
// caller uses the cells only when the lease is closed and empty: they are never used by two threads at once.
unsafe impl<F: Send, T: Send> Sync for SingleCall<F, T> {}

impl<F: FnOnce() -> T + Send, T: Send> BorrowedWork for SingleCall<F, T> {
    unsafe fn call(&self) {
        // SAFETY: the contract of `call` says that this thread is the one worker inside of a single lease. The caller
        // uses the cells only after it has left.
        let work = unsafe { (*self.work.get()).take() };
        let value = work.map(|work| work());
        // SAFETY: this thread is still the one worker inside of the lease.
        unsafe { *self.result.get() = value };
    }
}

/// Runs `work` on up to `helpers` workers of the pool at once, and on this thread as well if `caller_computes`. Returns
/// when no thread runs it any more.
///
/// Each thread calls `work` once, inside of the caller's task: it takes shares of the work until none is left, and
/// returns. Without `caller_computes` at least one worker has done so, unless the pool is closed.
///
/// # Errors
///
/// [`Abandoned`] if no thread has run `work`, because the pool is closed.
///
/// # Panics
///
/// With the payload of the first `work` that panicked, after all calls have ended.
pub(crate) fn lend(
    core: &Arc<Core>,
    helpers: usize,
    caller_computes: bool,
    work: &(dyn Fn() + Sync),
) -> Result<(), Abandoned> {
    // SAFETY: only the lifetime changes. The pointer is used by threads inside of the lease, and `serve` returns when
    // the lease is closed and empty.
    let work = BorrowedClosure(unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) });
    let lease =
        Arc::new(Lease::new(work, helpers == 1 && !caller_computes, caller_computes, false, CallerTask::here()));
    finish(serve(core, helpers, &lease, || Arc::clone(&lease) as _))
}

/// Runs `own` on this thread, and `work` on as many workers as it calls meanwhile. Returns when no thread runs either.
///
/// # Panics
///
/// With the payload of the first of them that panicked, after all have ended.
pub(crate) fn lend_beside(core: &Arc<Core>, work: &(dyn Fn() + Sync), own: impl FnOnce(&Beside<'_>)) {
    // SAFETY: only the lifetime changes. The pointer is used by threads inside of the lease, and `close` returns when
    // the lease is closed and empty.
    let work = BorrowedClosure(unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) });
    let lease = Arc::new(Lease::new(work, false, true, false, CallerTask::here()));
    let forks = fork::generation();
    let beside = Beside { core, lease: &lease, called: Cell::new(0) };
    // From here on nothing unwinds before the lease is closed.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| own(&beside))) {
        lease.keep_panic(payload);
    }
    // In a forked child no worker is or will be inside: there is nothing to wait for.
    fork::check(forks);
    close(core, &lease, (beside.called.get() > 0).then(|| Arc::clone(&lease) as _));
    if let Some(payload) = lease.take_panic() {
        panics::resume(payload);
    }
}

/// Calls workers to the work of [`lend_beside`].
pub(crate) struct Beside<'a> {
    core: &'a Arc<Core>,
    lease: &'a Arc<Lease<BorrowedClosure>>,
    called: Cell<usize>,
}

impl Beside<'_> {
    /// Calls one more worker.
    pub(crate) fn call(&self) {
        self.called.set(self.called.get() + 1);
        self.core.push_copies(Arc::clone(self.lease) as _, 1);
    }

    /// The number of workers that were called.
    pub(crate) fn called(&self) -> usize {
        self.called.get()
    }

    /// Whether the pool is closed, and a worker that was called will not come.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.lease.state().is_abandoned()
    }
}

/// Runs `work` on a worker of the pool, outside of any task, and returns its result. With `may_run_on_caller`, a worker
/// that waits runs it itself if the operating system refuses the pool a thread.
///
/// # Errors
///
/// [`Abandoned`] if `work` has not run, because the pool is closed.
///
/// # Panics
///
/// With the payload of `work`, if it panicked.
pub(crate) fn run_on<T: Send>(
    core: &Arc<Core>,
    may_run_on_caller: bool,
    work: impl FnOnce() -> T + Send,
) -> Result<T, Abandoned> {
    let call = SingleCall { work: UnsafeCell::new(Some(work)), result: UnsafeCell::new(None) };
    let lease = Arc::new(Lease::new(call, true, false, may_run_on_caller, CallerTask::NONE));
    let job = || {
        let job: Arc<dyn Job + '_> = Arc::clone(&lease) as _;
        // SAFETY: only the lifetime changes. The closure and the result are taken out below, before this function
        // returns or unwinds: a worker that holds the job longer holds an empty one.
        unsafe { std::mem::transmute::<Arc<dyn Job + '_>, Arc<dyn Job>>(job) }
    };
    let ended = serve(core, 1, &lease, job);
    // SAFETY: `serve` has closed the lease and returned when no worker was inside, so no other thread uses the cells.
    let (work, result) = unsafe { ((*lease.work.work.get()).take(), (*lease.work.result.get()).take()) };
    drop(work);
    finish(ended)?;
    result.ok_or(Abandoned)
}

/// Why the work of a lease has no result.
enum Failure {
    Abandoned,
    Panicked(Box<dyn Any + Send>),
}

fn finish(ended: Result<(), Failure>) -> Result<(), Abandoned> {
    ended.map_err(|failure| match failure {
        Failure::Abandoned => Abandoned,
        Failure::Panicked(payload) => panics::resume(payload),
    })
}

/// Has up to `helpers` workers enter the lease. When this returns the lease is closed and no worker is inside. It does
/// not unwind.
fn serve<W: BorrowedWork>(
    core: &Arc<Core>,
    helpers: usize,
    lease: &Arc<Lease<W>>,
    job: impl Fn() -> Arc<dyn Job>,
) -> Result<(), Failure> {
    let caller_computes = lease.caller_computes;
    let forks = fork::generation();
    // From here on nothing unwinds before the lease is closed.
    let pushed = catch_unwind(AssertUnwindSafe(|| {
        if helpers > 0 {
            core.push_copies(job(), helpers);
        }
    }));
    if let Err(payload) = pushed {
        lease.keep_panic(payload);
    } else if caller_computes {
        // SAFETY: the lease is open, so what the work borrows is alive. It is not a single lease, as the caller
        // computes.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| unsafe { lease.work.call() })) {
            lease.keep_panic(payload);
        }
        // In a forked child no worker is or will be inside: there is nothing to wait for.
        fork::check(forks);
    } else {
        wait_until_run(core, lease, &job);
    }
    // Of a single job, the one copy was entered, and none is left in the queue.
    let before = close(core, lease, (helpers > usize::from(!caller_computes)).then(&job));
    if let Some(payload) = lease.take_panic() {
        return Err(Failure::Panicked(payload));
    }
    if !caller_computes && !before.was_entered() {
        return Err(Failure::Abandoned);
    }
    Ok(())
}

/// Closes the lease, removes the copies of `queued` from the queue, and waits until no worker is inside.
fn close<W: BorrowedWork>(core: &Arc<Core>, lease: &Lease<W>, queued: Option<Arc<dyn Job>>) -> LeaseState {
    let before = lease.close();
    if let Some(queued) = queued {
        core.retract_copies(&queued);
    }
    // Each worker inside is at its last block. It may wait there for the permit that this thread gives back meanwhile.
    if !before.is_empty() && !park::spin_for(LAST_BLOCK, || lease.state().is_empty()) {
        pool::blocking_section(|| lease.park_caller(|| lease.state().is_empty()));
    }
    before
}

/// Waits until workers have entered the lease and all of them have left, or the job is abandoned.
fn wait_until_run<W: BorrowedWork>(core: &Arc<Core>, lease: &Lease<W>, job: impl Fn() -> Arc<dyn Job>) {
    let done = || {
        let now = lease.state();
        now.is_abandoned() || (now.was_entered() && now.is_empty())
    };
    if park::spin(done) {
        return;
    }
    if core.is_frames() {
        wait_until_entered(core, lease, &job);
    }
    let mut refusals = pool::refusals();
    while !done() {
        pool::blocking_section(|| {
            lease.park_caller(|| done() || (lease.may_run_on_caller && pool::refusals() != refusals));
        });
        refusals = pool::refusals();
        if !done() {
            run_refused(core, job());
        }
    }
}

/// Waits until a worker has entered the lease, or the job is abandoned. If all workers are inside of other jobs and
/// none of these ends, each of them may wait for this very job: then an overflow worker runs it.
fn wait_until_entered<W: BorrowedWork>(core: &Arc<Core>, lease: &Lease<W>, job: impl Fn() -> Arc<dyn Job>) {
    let has_begun = || {
        let now = lease.state();
        now.was_entered() || now.is_abandoned()
    };
    let check = || {
        lease.register_caller();
        pool::blocking_section(|| park::wait_until_deadline(has_begun, Instant::now() + pool::STALL_CHECK))
    };
    let mut before = None;
    let mut has_overflow_worker = false;
    while !check() {
        let now = core.jobs_finished_if_full();
        let is_stalled = now.is_some() && now == before;
        before = now;
        if !is_stalled || has_overflow_worker {
            continue;
        }
        has_overflow_worker = core.spawn_overflow_worker(job()).is_ok();
        // If the thread is refused, this one runs the job, with two exceptions: a thread of rayon's, where Polars would
        // panic, and a pool with hooks. Then the next check asks for a thread again.
        if !has_overflow_worker && !core.has_hooks() && rayon::current_thread_index().is_none() {
            job().run();
        }
    }
}

/// Runs a job on this thread whose pool is refused a thread by the operating system, if this thread is a worker.
fn run_refused(core: &Arc<Core>, job: Arc<dyn Job>) {
    if pool::is_worker() && core.has_refused_spawn() && (!core.has_hooks() || core.is_own_worker()) {
        pool::run_as_worker(core, || job.run());
    }
}
