//! Lending: workers of a pool run a closure that borrows from the caller's stack.
//!
//! This is the one place where a borrow crosses threads, and this is the proof that it may:
//!
//! - Workers reach the closure through a [`Lease`] alone, and count themselves in and out around every use.
//! - [`lend`] closes the lease before it returns, and then waits until nobody is in. It does so on every path:
//!   a panic of the caller's own share is caught, and thrown on only after that.
//! - Who comes to a closed lease turns back without looking at the closure. So jobs that no worker has started
//!   are simply left in the queue, and the caller never waits for a worker that is busy elsewhere.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::context::Context;
use crate::workers::{self, Core, Ran, Run};
use crate::{panics, park};

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

struct Lease {
    state: AtomicUsize,
    /// Points into the caller's stack; valid while the lease is open or somebody is inside.
    work: *const (dyn Fn() + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// There before the caller sleeps. Most calls end while it still looks, and a waker that is made and dropped for
    /// nothing is a cache line that two threads pass to and fro.
    caller: OnceLock<Waker>,
    /// Whether the caller works along: a share of a map.
    along: bool,
    context: Context,
}

// SAFETY: the closure behind `work` is `Sync`, and the counting keeps it alive for whoever is inside.
unsafe impl Send for Lease {}
// SAFETY: as above.
unsafe impl Sync for Lease {}

impl Lease {
    fn enter(&self) -> bool {
        let mut now = self.state.load(Ordering::Relaxed);
        while now & CLOSED == 0 {
            let next = (now + INSIDE) | ENTERED;
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
        self.caller.get_or_init(park::waker);
        // Whoever changes the state after this sees that it must wake; what was changed before, `done` sees.
        self.state.fetch_or(ASLEEP, Ordering::AcqRel);
        park::wait_until(done);
    }

    /// Wakes the caller, if the state before a change says that it sleeps.
    fn wake(&self, before: usize) {
        if before & ASLEEP != 0
            && let Some(caller) = self.caller.get()
        {
            caller.wake_by_ref();
        }
    }

    fn keep(&self, payload: Box<dyn Any + Send>) {
        let mut slot = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            drop(slot);
            return panics::discard(payload);
        }
        *slot = Some(payload);
    }
}

impl Run for Lease {
    fn run(self: Arc<Self>) -> Ran {
        if !self.enter() {
            return Ran::Here;
        }
        // SAFETY: this worker is counted in, so `lend` has not returned and the closure is alive.
        let work = unsafe { &*self.work };
        let in_context = || {
            let _inside = self.context.enter();
            work();
        };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(in_context)) {
            self.keep(payload);
        }
        // The last use of anything of the caller's. The waker is ours.
        let before = self.state.fetch_sub(INSIDE, Ordering::AcqRel);
        self.wake(before);
        if self.along { Ran::Helped } else { Ran::Here }
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
    let lease = Arc::new(Lease {
        state: AtomicUsize::new(0),
        // SAFETY: only the lifetime changes; the module's text says why no use outlives it.
        work: unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) },
        panic: Mutex::new(None),
        caller: OnceLock::new(),
        along,
        context: Context::here(),
    });
    let job: Arc<dyn Run> = Arc::clone(&lease) as _;
    // From here on nothing unwinds before the lease is closed.
    let pushed = catch_unwind(AssertUnwindSafe(|| {
        if helpers > 0 {
            core.push_copies(Arc::clone(&job), helpers);
        }
    }));
    if let Err(payload) = pushed {
        lease.keep(payload);
    } else if along {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
            lease.keep(payload);
        }
    } else {
        let done = || {
            let now = lease.state.load(Ordering::Acquire);
            now & ABANDONED != 0 || (now & ENTERED != 0 && now < INSIDE)
        };
        if !park::look(done) {
            workers::wait_by(|| lease.sleep(done));
        }
    }
    let before = lease.state.fetch_or(CLOSED, Ordering::AcqRel);
    if along && helpers > 0 {
        core.retract(&job);
    }
    // Whoever is inside is at its last block.
    if before >= INSIDE && !park::look_for(LAST_BLOCK, || lease.nobody_inside()) {
        lease.sleep(|| lease.nobody_inside());
    }
    let panic = lease.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(payload) = panic {
        resume_unwind(panics::readable(payload));
    }
    if !along && before & ENTERED == 0 {
        return Err(Abandoned);
    }
    Ok(())
}

/// Runs `work` on a worker of the pool and gives its result.
///
/// # Panics
///
/// With the payload of `work`, if it panicked.
pub(crate) fn run_on<T: Send>(core: &Arc<Core>, work: impl FnOnce() -> T + Send) -> Result<T, Abandoned> {
    let work = Mutex::new(Some(work));
    let result = Mutex::new(None);
    lend(core, 1, false, &|| {
        let taken = work.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = taken {
            let value = work();
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }
    })?;
    let value = result.into_inner().unwrap_or_else(PoisonError::into_inner);
    value.ok_or(Abandoned)
}
