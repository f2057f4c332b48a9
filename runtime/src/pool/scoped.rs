//! Lending: workers of a pool run a closure that borrows from the caller's stack.
//!
//! This is the one place where a borrow crosses threads, and this is the proof that it may:
//!
//! - Workers reach the closure through a [`Lease`] alone, and count themselves in and out around every use.
//! - [`lend`] closes the lease before it returns, and then waits until nobody is in. It does so on every path:
//!   a panic of the caller's own share is caught, and thrown on only after that.
//! - Who comes to a closed lease turns back without looking at the closure. So jobs that no worker has started
//!   are simply left in the queue, and the caller never waits for a worker that is busy elsewhere.
//! - A lease for one worker alone is closed by that worker as it enters, in the same step: when it has left, nothing is
//!   left to be closed.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::span::CallerSpan;
use crate::error::panics;
use crate::pool::{self, Core, Job, JobEnd};
use crate::sys::unwind;
use crate::sys::{fork, park};

/// How long the caller looks for the end of the workers' last blocks: most are shorter, and a sleep costs as much.
const LAST_BLOCK: Duration = Duration::from_micros(30);

/// Nobody may enter any more.
const CLOSED: usize = 1;
/// A worker has entered at some time.
const ENTERED: usize = 2;
/// The pool will not run the job.
const ABANDONED: usize = 4;
/// The caller sleeps, or is about to: whoever goes out wakes it.
const ASLEEP: usize = 8;
/// One worker inside.
const INSIDE: usize = 16;

/// Why [`lend`] could not have its work done.
pub(crate) struct Abandoned;

/// What a lease is for.
trait Work: Send + Sync {
    /// Does it.
    ///
    /// # Safety
    ///
    /// [`lend`] or [`run_on`] has not returned: the caller is counted in, or is that function itself. Where the lease is
    /// a single one, the caller is the one that entered.
    unsafe fn work(&self);
}

/// Points into the caller's stack; valid while the lease is open or somebody is inside.
struct Lent(*const (dyn Fn() + Sync));

// SAFETY: the closure behind it is `Sync`, and the counting keeps it alive for whoever is inside.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl Work for Lent {
    unsafe fn work(&self) {
        // SAFETY: the caller's promise: the closure is alive.
        unsafe { (*self.0)() }
    }
}

/// Work for the one worker that enters, and its result for the caller. They lie in the lease: what a worker has to
/// fetch from the caller's core, and the caller from the worker's, is one piece of memory.
struct Errand<F, T> {
    work: UnsafeCell<Option<F>>,
    result: UnsafeCell<Option<T>>,
}

// SAFETY: both move to another thread and back, and a single lease lets one thread at a time at them.
unsafe impl<F: Send, T: Send> Sync for Errand<F, T> {}

impl<F: FnOnce() -> T + Send, T: Send> Work for Errand<F, T> {
    unsafe fn work(&self) {
        // SAFETY: the caller's promise: nobody else looks at either before it goes out.
        let work = unsafe { (*self.work.get()).take() };
        let value = work.map(|work| work());
        // SAFETY: as above.
        unsafe { *self.result.get() = value };
    }
}

struct Lease<W> {
    state: AtomicUsize,
    work: W,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether there is one: so that the caller need not lock to see that there is none.
    panicked: AtomicBool,
    /// Whether the first to enter is the only one.
    single: bool,
    /// There before the caller sleeps. Most calls end while it still looks, and a waker that is made and dropped for
    /// nothing is a cache line that two threads pass to and fro.
    caller: OnceLock<Waker>,
    /// Whether the caller works along: a share of a map.
    along: bool,
    /// Whether a caller that waits may run it, where no thread can be had.
    claims: bool,
    context: CallerSpan,
}

impl<W> Lease<W> {
    fn new(work: W, single: bool, along: bool) -> Self {
        Self {
            state: AtomicUsize::new(0),
            work,
            panic: Mutex::new(None),
            panicked: AtomicBool::new(false),
            single,
            caller: OnceLock::new(),
            along,
            claims: false,
            context: CallerSpan::here(),
        }
    }

    fn enter(&self) -> bool {
        let mut now = self.state.load(Ordering::Relaxed);
        while now & CLOSED == 0 {
            let next = (now + INSIDE) | ENTERED | if self.single { CLOSED } else { 0 };
            match self.state.compare_exchange_weak(now, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    fn nobody_inside(&self) -> bool {
        self.state.load(Ordering::Acquire) < INSIDE
    }

    /// The caller sleeps until `done` holds, which whoever changes the state makes true.
    fn sleep(&self, done: impl Fn() -> bool) {
        self.be_woken();
        park::wait_until(done);
    }

    /// A thread that changes the state after this sees that it must wake the caller; the caller sees what was changed
    /// before.
    fn be_woken(&self) {
        self.caller.get_or_init(park::waker);
        self.state.fetch_or(ASLEEP, Ordering::AcqRel);
    }

    /// Wakes the caller, if the state before a change says that it sleeps.
    fn wake(&self, before: usize) {
        if before & ASLEEP != 0
            && let Some(caller) = self.caller.get()
        {
            caller.wake_by_ref();
        }
    }

    /// Nobody enters any more; gives the state before. What has happened in there has happened for the caller.
    fn close(&self) -> usize {
        let now = self.state.load(Ordering::Acquire);
        // It is worth a look: the line is the worker's, and only a change would have to fetch it.
        if now & CLOSED != 0 && now < INSIDE { now } else { self.state.fetch_or(CLOSED, Ordering::AcqRel) }
    }

    /// The first panic, once nobody is inside.
    fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        let panicked = self.panicked.load(Ordering::Relaxed);
        panicked.then(|| self.panic.lock().unwrap_or_else(PoisonError::into_inner).take()).flatten()
    }

    fn keep(&self, payload: Box<dyn Any + Send>) {
        let mut slot = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            drop(slot);
            return unwind::discard(payload);
        }
        *slot = Some(payload);
        // Whoever keeps one goes out after this, and the caller looks after that.
        self.panicked.store(true, Ordering::Relaxed);
    }
}

impl<W: Work> Job for Lease<W> {
    fn run(self: Arc<Self>) -> JobEnd {
        if !self.enter() {
            return JobEnd::Here;
        }
        let in_context = || {
            let _inside = self.context.enter();
            // SAFETY: this worker is counted in.
            unsafe { self.work.work() };
        };
        let forks = fork::watched_generation();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(in_context)) {
            self.keep(payload);
        }
        if fork::is_child(forks) {
            fork::exit_child();
        }
        // The last use of anything of the caller's. The waker is ours.
        let before = self.state.fetch_sub(INSIDE, Ordering::AcqRel);
        self.wake(before);
        if self.along { JobEnd::Helped } else { JobEnd::Here }
    }

    fn is_dead(&self) -> bool {
        self.state.load(Ordering::Relaxed) & CLOSED != 0
    }

    fn is_task(&self) -> bool {
        false
    }

    fn abandon(&self, _: bool) {
        let before = self.state.fetch_or(ABANDONED, Ordering::AcqRel);
        self.wake(before);
    }
}

/// Runs `work` on up to `helpers` workers of the pool at once, and here as well if `along`; returns when nobody
/// is at it any more.
///
/// `work` is called once on each, takes what there is to do until nothing is left, and returns. Without `along`
/// at least one worker has done so, unless the pool is closed.
///
/// # Panics
///
/// With the payload of the first `work` that panicked, after all have ended.
pub(crate) fn lend(core: &Arc<Core>, helpers: usize, along: bool, work: &(dyn Fn() + Sync)) -> Result<(), Abandoned> {
    // SAFETY: only the lifetime changes; the module's text says why no use outlives it.
    let work = Lent(unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) });
    let lease = Arc::new(Lease::new(work, helpers == 1 && !along, along));
    finish(serve(core, helpers, &lease, || Arc::clone(&lease) as _))
}

/// How a lease ended that did not end well.
enum Bad {
    Abandoned,
    Panicked(Box<dyn Any + Send>),
}

fn finish(ended: Result<(), Bad>) -> Result<(), Abandoned> {
    ended.map_err(|bad| match bad {
        Bad::Abandoned => Abandoned,
        Bad::Panicked(payload) => panics::resume(payload),
    })
}

/// Has up to `helpers` workers enter the lease. When this returns it is closed, and nobody is inside; it does not unwind.
fn serve<W: Work>(
    core: &Arc<Core>,
    helpers: usize,
    lease: &Arc<Lease<W>>,
    job: impl Fn() -> Arc<dyn Job>,
) -> Result<(), Bad> {
    let along = lease.along;
    let forks = fork::generation();
    // From here on nothing unwinds before the lease is closed.
    let pushed = catch_unwind(AssertUnwindSafe(|| {
        if helpers > 0 {
            core.push_copies(job(), helpers);
        }
    }));
    if let Err(payload) = pushed {
        lease.keep(payload);
    } else if along {
        // SAFETY: the lease is open, and not a single one, as this thread works along.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| unsafe { lease.work.work() })) {
            lease.keep(payload);
        }
        // In a forked child nobody else is inside, or will be: nothing is to be waited for, and the lease is over.
        fork::check(forks);
    } else {
        let done = || {
            let now = lease.state.load(Ordering::Acquire);
            now & ABANDONED != 0 || (now & ENTERED != 0 && now < INSIDE)
        };
        if !park::spin(done) {
            if core.is_frames() {
                wait_until_begun(core, lease, &job);
            }
            let mut refusals = pool::refusals();
            while !done() {
                pool::wait_by(|| lease.sleep(|| done() || (lease.claims && pool::refusals() != refusals)));
                refusals = pool::refusals();
                if !done() {
                    run_refused(core, job());
                }
            }
        }
    }
    let before = lease.close();
    // Alone, one has entered, and there is no other.
    if helpers > usize::from(!along) {
        core.retract(&job());
    }
    // Each worker inside is at its last block, and may wait there for the permit that this thread gives back meanwhile.
    if before >= INSIDE && !park::spin_for(LAST_BLOCK, || lease.nobody_inside()) {
        pool::wait_by(|| lease.sleep(|| lease.nobody_inside()));
    }
    if let Some(payload) = lease.take_panic() {
        return Err(Bad::Panicked(payload));
    }
    if !along && before & ENTERED == 0 {
        return Err(Bad::Abandoned);
    }
    Ok(())
}

/// Waits until a worker has entered the lease, or the job is abandoned. Where all workers are inside of other jobs and
/// none of those ends, each of them may wait for this one: then a thread of its own runs it.
fn wait_until_begun<W: Work>(core: &Arc<Core>, lease: &Lease<W>, job: impl Fn() -> Arc<dyn Job>) {
    let has_begun = || lease.state.load(Ordering::Acquire) & (ENTERED | ABANDONED) != 0;
    let look = || {
        lease.be_woken();
        pool::wait_by(|| park::wait_until_deadline(has_begun, Instant::now() + pool::LOOK))
    };
    let mut before = None;
    let mut has_extra = false;
    while !look() {
        let now = core.retakes_if_full();
        let stands_still = now.is_some() && now == before;
        before = now;
        if !stands_still || has_extra {
            continue;
        }
        has_extra = core.start_extra(job()).is_ok();
        // Where the thread is refused, this one does it, unless it belongs to rayon, where Polars would panic, or the
        // pool has hooks: the next look asks for a thread again then.
        if !has_extra && !core.has_hooks() && rayon::current_thread_index().is_none() {
            job().run();
        }
    }
}

/// Runs a job here that waits for a thread which the operating system refuses its pool, if this thread is a worker.
fn run_refused(core: &Arc<Core>, job: Arc<dyn Job>) {
    if pool::is_worker() && core.is_refused_threads() && (!core.has_hooks() || core.is_own_worker()) {
        pool::work_for(core, || job.run());
    }
}

/// Runs `work` on a worker of the pool and gives its result. With `claims` a worker that waits runs it, if the operating
/// system refuses the pool a thread.
///
/// # Panics
///
/// With the payload of `work`, if it panicked.
pub(crate) fn run_on<T: Send>(core: &Arc<Core>, claims: bool, work: impl FnOnce() -> T + Send) -> Result<T, Abandoned> {
    let errand = Errand { work: UnsafeCell::new(Some(work)), result: UnsafeCell::new(None) };
    let lease = Arc::new(Lease { claims, ..Lease::new(errand, true, false) });
    let job = || {
        let job: Arc<dyn Job + '_> = Arc::clone(&lease) as _;
        // SAFETY: only the lifetime changes. What lives as long is taken out below, before this returns or unwinds: a
        // worker that holds the job longer holds an empty one.
        unsafe { std::mem::transmute::<Arc<dyn Job + '_>, Arc<dyn Job>>(job) }
    };
    let ended = serve(core, 1, &lease, job);
    // SAFETY: the lease is closed, and nobody is inside.
    let (work, result) = unsafe { ((*lease.work.work.get()).take(), (*lease.work.result.get()).take()) };
    drop(work);
    finish(ended)?;
    result.ok_or(Abandoned)
}
