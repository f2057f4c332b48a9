//! Which pool the current thread works for, and what follows from it when it has to wait.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::at_work::{self, AtWork};
use super::block_in_place;
use super::{Core, closing};
use crate::error::panics;
use crate::pool::queue::permit::{Permit, Place};
use crate::sys::park;

/// A thread-local that outlives the destructors of the others, which may wait and call pools. What it holds is taken out
/// by [`leave`].
type Lasting<T> = ManuallyDrop<RefCell<Option<Arc<T>>>>;

thread_local! {
    /// The pool whose job this thread runs, if it is a worker.
    static CORE: Lasting<Core> = const { ManuallyDrop::new(RefCell::new(None)) };
    /// Its number, to be looked up without a borrow; 0 is none.
    static ID: Cell<u64> = const { Cell::new(0) };
    /// The number of the pool that the thread belongs to, also while it runs a job of another; 0 is none.
    static HOME: Cell<u64> = const { Cell::new(0) };
    /// Whether it has one of the pool's permits: inside a job, and not in what it runs before its first and after its
    /// last one.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
    /// The permit of its job, if that has a time limit and may lose it.
    static PERMIT: Lasting<Permit> = const { ManuallyDrop::new(RefCell::new(None)) };
    /// Whether it takes its pool's next job as soon as the one that it runs has told its outcome.
    static RETURNS: Cell<bool> = const { Cell::new(false) };
    /// Whether the pool counts on that.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
    /// Whether the thread does the default cpu pool's work: as a DataFrame worker, or as a caller that works along.
    /// A nested call then runs in place instead of asking for one more thread.
    static CPU_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Makes the current thread a worker, until it [leaves](leave).
pub(super) fn take(core: &Arc<Core>) {
    CORE.with(|seat| seat.replace(Some(Arc::clone(core))));
    ID.set(core.id);
    HOME.set(core.id);
    CPU_WORK.set(core.is_frames());
    panics::set_worker(true);
}

/// Ends the current thread's time as a worker: the destructors of its thread-locals run on a thread like any other.
pub(super) fn leave() {
    ID.set(0);
    CPU_WORK.set(false);
    panics::set_worker(false);
    drop(CORE.with(|seat| seat.take()));
}

/// In a forked child: this thread works for nobody.
#[cfg(all(unix, not(miri)))]
pub(super) fn forget_parent() {
    ID.set(0);
    HOLDS.set(false);
    RETURNS.set(false);
    EXPECTED.set(false);
    CPU_WORK.set(false);
    panics::set_worker(false);
    at_work::forget_parent();
}

/// Whether the current thread is a worker of this very pool.
#[inline]
pub(super) fn is_worker_of(core: &Core) -> bool {
    ID.get() == core.id
}

/// Whether the current thread is a worker of this very pool, and one of its own threads.
#[inline]
pub(super) fn is_own_worker_of(core: &Core) -> bool {
    is_worker_of(core) && HOME.get() == core.id
}

/// Whether the current thread is a worker of any pool. One that is being taken down, and runs the last destructors of
/// its thread-locals, is none any more.
#[inline]
pub(crate) fn is_worker() -> bool {
    ID.get() != 0
}

/// Whether the job that this thread runs is of a pool that was closed with its running tasks asked to stop.
#[inline]
pub(crate) fn is_cancelled_here() -> bool {
    closing::any_cancelled()
        && HOLDS.get()
        && CORE.with(|core| core.borrow().as_ref().is_some_and(|core| core.is_cancelled()))
}

/// Whether the current thread is inside of a job of this very pool.
#[inline]
pub(super) fn is_inside(core: &Core) -> bool {
    is_worker_of(core) && HOLDS.get()
}

/// Whether the current thread does the default cpu pool's work.
pub(super) fn does_cpu_work() -> bool {
    CPU_WORK.get()
}

/// Lets the current thread do the default cpu pool's work until the guard is dropped.
pub(crate) fn cpu_seat() -> CpuSeat {
    CpuSeat { before: CPU_WORK.replace(true) }
}

/// Gives the seat before back when dropped.
pub(crate) struct CpuSeat {
    before: bool,
}

impl Drop for CpuSeat {
    fn drop(&mut self) {
        CPU_WORK.set(self.before);
    }
}

/// Waits until `done` holds. A worker gives its permit back meanwhile.
///
/// Whoever makes it hold must then wake this thread's [`park::waker`].
pub(crate) fn wait_until(done: impl Fn() -> bool) {
    if park::spin(&done) {
        return;
    }
    sleep_until(done);
}

/// As [`wait_until`], for those who have looked already.
pub(crate) fn sleep_until(done: impl Fn() -> bool) {
    let _aside = Aside::step();
    block_in_place::giving_way(|| park::wait_until(done));
}

/// As [`wait_until`], with a deadline; whether it holds in time.
pub(crate) fn wait_until_deadline(done: impl Fn() -> bool, deadline: std::time::Instant) -> bool {
    if park::spin(&done) {
        return true;
    }
    let _aside = Aside::step();
    block_in_place::giving_way(|| park::wait_until_deadline(done, deadline))
}

/// Waits in a way of the caller's. A worker gives its permit back meanwhile.
pub(crate) fn wait_by<T>(wait: impl FnOnce() -> T) -> T {
    let _aside = Aside::step();
    block_in_place::giving_way(wait)
}

/// A worker that has given its permit back; it takes one again when dropped.
struct Aside {
    permit: Option<(Arc<Core>, Option<Arc<Permit>>)>,
    _waits: AtWork,
}

impl Aside {
    #[inline]
    fn step() -> Self {
        let waits = at_work::waiting();
        if !HOLDS.get() {
            return Self { permit: None, _waits: waits };
        }
        let (core, permit) = (CORE.with(|core| core.borrow().clone()), PERMIT.with(|permit| permit.borrow().clone()));
        let permit = core.filter(|core| core.step_aside(permit.as_deref())).map(|core| (core, permit));
        Self { permit, _waits: waits }
    }
}

impl Drop for Aside {
    #[inline]
    fn drop(&mut self) {
        if let Some((core, permit)) = &self.permit
            && let Some(state) = core.queue.step_back(permit.as_deref(), core.is_frames())
        {
            core.rouse(state);
        }
    }
}

impl Core {
    /// Gives this worker's permit back; `false` if it has none.
    fn step_aside(self: &Arc<Self>, permit: Option<&Permit>) -> bool {
        let Some(state) = self.queue.step_aside(permit) else { return false };
        // A destructor or an allocator that waits after the outcome was told.
        is_here(self);
        self.rouse(state);
        true
    }
}

/// Notes that this thread has a permit of its pool, and takes its next job when this one has ended, until the guard is
/// dropped.
#[inline]
pub(super) fn hold() -> Holding {
    // One that waits for rayon inside a job may run another one meanwhile.
    Holding { holds: HOLDS.replace(true), returns: RETURNS.replace(true), permit: PERMIT.with(|place| place.take()) }
}

/// See [`hold`].
pub(super) struct Holding {
    holds: bool,
    returns: bool,
    permit: Option<Arc<Permit>>,
}

impl Drop for Holding {
    #[inline]
    fn drop(&mut self) {
        HOLDS.set(self.holds);
        RETURNS.set(self.returns);
        // The job's own is back where it came from.
        if let Some(permit) = self.permit.take() {
            drop(PERMIT.with(|place| place.replace(Some(permit))));
        }
    }
}

impl Core {
    /// This thread is about to tell the outcome of its job, and will be at the queue within a microsecond or, with
    /// somebody to wake, some ten. Nobody else needs to be called for a job that comes meanwhile.
    #[inline]
    pub(crate) fn expect_me(&self) {
        if RETURNS.get() && is_worker_of(self) && !EXPECTED.replace(true) {
            self.queue.expect();
        }
    }

    /// It takes longer.
    pub(crate) fn do_not_expect_me(self: &Arc<Self>) {
        if EXPECTED.replace(false) {
            let state = self.queue.lock();
            self.queue.unexpect();
            self.rouse(state);
        }
    }
}

/// The thread is at the queue, or is about to wait; the queue is locked.
#[inline]
pub(super) fn is_here(core: &Core) {
    if EXPECTED.replace(false) {
        core.queue.unexpect();
    }
}

/// Runs a job with a time limit: whoever waits inside of it gives this permit back.
pub(crate) fn with_permit<T>(permit: &Arc<Permit>, work: impl FnOnce() -> T) -> T {
    let before = PERMIT.with(|place| place.replace(Some(Arc::clone(permit))));
    let result = work();
    drop(PERMIT.with(|place| place.replace(before)));
    result
}

/// Runs a job on a worker of its own pool that has no permit, and so none to give back.
pub(super) fn without_permit<T>(work: impl FnOnce() -> T) -> T {
    let before = HOLDS.replace(true);
    let result = with_permit(&Arc::new(Permit::gone()), work);
    HOLDS.set(before);
    result
}

/// Whether this thread has a permit of `core` at this moment.
#[inline]
fn has_permit_of(core: &Core) -> bool {
    is_inside(core) && PERMIT.with(|permit| permit.borrow().as_ref().is_none_or(|permit| permit.place() != Place::Gone))
}

/// Runs `work` as a worker of `core`, on one of its permits, though the thread is another pool's worker, or has no
/// permit; `None` if none is free. Its own permit is given back meanwhile.
#[inline]
pub(crate) fn work_for<T>(core: &Arc<Core>, work: impl FnOnce() -> T) -> Option<T> {
    let before = RETURNS.replace(false);
    let result = if has_permit_of(core) { Some(work()) } else { on_a_lent_permit(core, work) };
    RETURNS.set(before);
    result
}

/// Runs a task of `core` on this thread, if `core` has a permit to spare and its hooks have run here; whether it ran. A
/// thread inside a panic hook runs none: a panic of the task would end the program.
#[inline]
pub(crate) fn run_claimed(core: &Arc<Core>, run: impl FnOnce() -> bool) -> bool {
    !std::thread::panicking() && (!core.has_hooks() || core.is_own_worker()) && work_for(core, run) == Some(true)
}

/// As [`work_for`], on a permit that `core` has free.
#[inline(never)]
fn on_a_lent_permit<T>(core: &Arc<Core>, work: impl FnOnce() -> T) -> Option<T> {
    if !core.queue.lock().try_permit() {
        return None;
    }
    let aside = Aside::step();
    let lent = Lent {
        before: CORE.with(|seat| seat.replace(Some(Arc::clone(core)))),
        permit: PERMIT.with(|place| place.take()),
        held: HOLDS.replace(true),
        cpu_work: CPU_WORK.replace(core.is_frames()),
        core: Arc::clone(core),
        aside: Some(aside),
    };
    ID.set(core.id);
    let result = work();
    drop(lent);
    Some(result)
}

/// A worker lent to another pool; it goes back when dropped.
struct Lent {
    before: Option<Arc<Core>>,
    permit: Option<Arc<Permit>>,
    held: bool,
    cpu_work: bool,
    core: Arc<Core>,
    /// Dropped last: the worker's own permit, which it waits for.
    aside: Option<Aside>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut state = self.core.queue.lock();
        self.core.queue.release(&mut state);
        self.core.rouse(state);
        let before = self.before.take();
        ID.set(before.as_ref().map_or(0, |own| own.id));
        CPU_WORK.set(self.cpu_work);
        HOLDS.set(self.held);
        drop(PERMIT.with(|place| place.replace(self.permit.take())));
        drop(CORE.with(|seat| seat.replace(before)));
        drop(self.aside.take());
    }
}
