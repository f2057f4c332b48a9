//! The pool that the current thread works for, and [`blocking_section`], in which a worker gives its permit back.

mod borrowed;
mod own_cpu_pool;
mod stolen;

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::block_in_place;
use super::broadcast::Member;
use super::computing::{self, ComputingGuard};
use super::queue::permit::{self, Overdraw, Permit, PermitState};
#[cfg(feature = "trace")]
use super::recorder::{self, Recording};
use super::{Core, JobEnd, Kind};
use crate::error::panics;
use crate::sys::park;

pub(crate) use borrowed::{run_as_worker, run_claimed};
pub(super) use own_cpu_pool::{enter_rayon, is_on_own_cpu_pool, own_deque, own_deque_of, wake_resident_to_steal};
pub(crate) use stolen::{StolenWork, without_waiting_permit};

/// What the current thread does for the pool whose worker it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum JobState {
    /// It is outside of jobs.
    None,
    /// It runs a job, and has a permit unless that was revoked.
    Running,
    /// It is inside of a job, and has given its permit back. So it gives none back again where it runs foreign code
    /// meanwhile, as an allocator that calls pools.
    Blocked,
}

/// A thread-local without a destructor. It stays usable in the destructors of other thread-locals, which may wait and
/// call pools. [`exit`] takes its content out.
type LeakedCell<T> = ManuallyDrop<RefCell<Option<Arc<T>>>>;

thread_local! {
    /// The pool whose worker this thread is. On a borrowed permit this is the lender.
    static CORE: LeakedCell<Core> = const { ManuallyDrop::new(RefCell::new(None)) };
    /// The id of that pool, which is compared without a borrow; 0 for none.
    static POOL_ID: Cell<u64> = const { Cell::new(0) };
    /// The id of the pool that started this thread, also while it works for another; 0 for none.
    static OWN_POOL_ID: Cell<u64> = const { Cell::new(0) };
    /// What the broadcasts of the pool that started this thread know of it.
    static MEMBER: LeakedCell<Member> = const { ManuallyDrop::new(RefCell::new(None)) };
    /// The number of this thread in its pool, which its name ends with.
    static WORKER_INDEX: Cell<Option<usize>> = const { Cell::new(None) };
    /// Whether this thread is inside of a job. Hooks run outside of jobs.
    static JOB: Cell<JobState> = const { Cell::new(JobState::None) };
    /// The permit of the job that runs here, if the job has a time limit: it may be revoked.
    static PERMIT: LeakedCell<Permit> = const { ManuallyDrop::new(RefCell::new(None)) };
    /// Whether this thread does the default cpu pool's work, as a frame worker or as a caller that computes along. A
    /// nested call then runs in place and wakes no thread.
    static DOES_CPU_WORK: Cell<bool> = const { Cell::new(false) };
}

/// The number of the current thread among the workers of its pool, with which its name ends: 3 in `fanfold-db-3`. `None`
/// on threads that no pool has started, and in worker processes.
///
/// The threads of a cpu pool have the numbers from 0 up to its number of threads. Threads that start later, in place of
/// blocked workers or as an io pool grows, have higher ones; no two threads of a pool have the same.
///
/// # Examples
///
/// ```
/// use fanfold::Pool;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::cpu("few").threads(2).build()?;
/// assert!(pool.submit(fanfold::worker_index).join()? < Some(2));
/// assert_eq!(fanfold::worker_index(), None); // this thread is no worker
/// # Ok(())
/// # }
/// ```
#[doc(alias = "current_thread_index")]
#[must_use]
pub fn worker_index() -> Option<usize> {
    WORKER_INDEX.get()
}

/// Makes the current thread a worker of its own pool, until [`exit`].
pub(super) fn enter(core: &Arc<Core>, index: usize) {
    WORKER_INDEX.set(Some(index));
    CORE.with(|cell| cell.replace(Some(Arc::clone(core))));
    POOL_ID.set(core.id);
    OWN_POOL_ID.set(core.id);
    DOES_CPU_WORK.set(core.is_frames());
    panics::set_worker(true);
}

/// Has this thread, which `core` has started, run the pool's broadcasts until [`exit`].
pub(super) fn join_broadcasts(core: &Core) {
    MEMBER.with(|cell| cell.replace(Some(core.add_member())));
}

/// What broadcasts know of this thread.
pub(super) fn member() -> Option<Arc<Member>> {
    MEMBER.with(|cell| cell.borrow().clone())
}

/// Tells broadcasts whether this thread waits inside of a job of its own pool.
fn set_away(is_away: bool) {
    if OWN_POOL_ID.get() == POOL_ID.get() {
        MEMBER.with(|cell| cell.borrow().iter().for_each(|member| member.set_away(is_away)));
    }
}

/// This thread has ended a job with which it was written off.
pub(super) fn is_back() {
    set_away(false);
}

/// The current thread is no worker from here on: the destructors of its thread-locals run as on any other thread.
pub(super) fn exit() {
    POOL_ID.set(0);
    WORKER_INDEX.set(None);
    own_cpu_pool::leave();
    DOES_CPU_WORK.set(false);
    panics::set_worker(false);
    let core = CORE.with(|cell| cell.take());
    if let (Some(core), Some(member)) = (core, MEMBER.with(|cell| cell.take())) {
        core.remove_member(&member);
    }
}

/// In a forked child: this thread is no worker. It only writes to thread-locals without destructors and to atomics.
#[cfg(all(unix, not(miri)))]
pub(super) fn forget_parent() {
    POOL_ID.set(0);
    WORKER_INDEX.set(None);
    own_cpu_pool::leave();
    JOB.set(JobState::None);
    DOES_CPU_WORK.set(false);
    panics::set_worker(false);
    computing::forget_parent();
}

/// Whether the current thread is a worker of this pool, on a permit of its own or a borrowed one.
#[inline]
pub(super) fn is_worker_of(core: &Core) -> bool {
    POOL_ID.get() == core.id
}

/// Whether the current thread is a worker of this pool, and was started by it.
#[inline]
pub(super) fn is_own_worker_of(core: &Core) -> bool {
    is_worker_of(core) && OWN_POOL_ID.get() == core.id
}

/// The cpu pool whose worker this thread is.
pub(super) fn cpu_pool() -> Option<Arc<Core>> {
    if !is_worker() {
        return None;
    }
    CORE.with(|core| core.borrow().as_ref().filter(|core| core.kind == Kind::Cpu).cloned())
}

/// Whether the current thread is a worker of any pool. A thread that runs the last destructors of its thread-locals is
/// none any more.
#[inline]
pub(crate) fn is_worker() -> bool {
    POOL_ID.get() != 0
}

/// Whether any pool was cancelled. Most programs never cancel one, and pay for this check alone.
static ANY_CANCELLED: AtomicBool = AtomicBool::new(false);

/// Has [`is_cancelled_here`] ask the pool of the current job from now on.
pub(super) fn note_cancelled_pool() {
    ANY_CANCELLED.store(true, Ordering::Release);
}

/// Whether any pool was cancelled.
#[inline]
pub(crate) fn is_any_cancelled() -> bool {
    ANY_CANCELLED.load(Ordering::Relaxed)
}

/// The pool of the job that runs here, if this thread is inside of one.
pub(crate) fn job_core() -> Option<Arc<Core>> {
    (JOB.get() != JobState::None).then(|| CORE.with(|core| core.borrow().clone())).flatten()
}

/// Whether the pool of the job that runs here was shut down with [`Pending::Cancel`](crate::Pending::Cancel).
#[inline]
pub(crate) fn is_cancelled_here() -> bool {
    is_any_cancelled()
        && JOB.get() != JobState::None
        && CORE.with(|core| core.borrow().as_ref().is_some_and(|core| core.is_cancelled()))
}

/// Whether the current thread is inside of a job of this pool.
#[inline]
pub(super) fn is_inside(core: &Core) -> bool {
    is_worker_of(core) && JOB.get() != JobState::None
}

/// Whether the current thread does the default cpu pool's work.
pub(super) fn does_cpu_work() -> bool {
    DOES_CPU_WORK.get()
}

/// Marks the current thread as doing the default cpu pool's work until the guard is dropped.
#[inline]
pub(crate) fn mark_cpu_work() -> CpuWorkGuard {
    CpuWorkGuard { before: DOES_CPU_WORK.replace(true) }
}

/// Restores the mark of [`mark_cpu_work`] when dropped.
pub(crate) struct CpuWorkGuard {
    before: bool,
}

impl Drop for CpuWorkGuard {
    #[inline]
    fn drop(&mut self) {
        DOES_CPU_WORK.set(self.before);
    }
}

/// Spins, then parks until `done` holds. A worker gives its permit back before it parks.
///
/// The thread that makes `done` hold must then wake this thread's [`park::waker`].
pub(crate) fn wait_until(done: impl Fn() -> bool) {
    if park::spin(&done) {
        return;
    }
    park_until(done);
}

/// As [`wait_until`], without spinning.
pub(crate) fn park_until(done: impl Fn() -> bool) {
    blocking_section(|| park::wait_until(done));
}

/// As [`wait_until`], until the deadline at most. Returns whether `done` holds.
pub(crate) fn wait_until_deadline(done: impl Fn() -> bool, deadline: Instant) -> bool {
    park::spin(&done) || blocking_section_until(deadline, || park::wait_until_deadline(done, deadline))
}

/// Runs `wait`, which blocks. A worker gives its permit back before and waits for one after it, so that another thread
/// goes on with the queue meanwhile.
pub(crate) fn blocking_section<T>(wait: impl FnOnce() -> T) -> T {
    block(Overdraw::Never, wait)
}

/// As [`blocking_section`], for a wait until a deadline. If no permit is free by then, the worker goes on beside as
/// many jobs as the pool has threads, because the wait must keep its limit.
pub(crate) fn blocking_section_until<T>(deadline: Instant, wait: impl FnOnce() -> T) -> T {
    block(Overdraw::At(deadline), wait)
}

/// As [`blocking_section`]. What does not depend on `wait` is compiled once.
fn block<T>(overdraw: Overdraw, wait: impl FnOnce() -> T) -> T {
    fn block(overdraw: Overdraw, wait: &mut dyn FnMut()) {
        let _section = BlockingSection::enter(overdraw);
        block_in_place::with_replacement_thread(wait);
    }
    let (mut wait, mut result) = (Some(wait), None);
    block(overdraw, &mut || result = wait.take().map(|wait| wait()));
    result.expect("`block` calls `wait`")
}

/// A worker without its permit. It waits for a permit when this is dropped.
struct BlockingSection {
    /// `None` if the thread had no permit to give back.
    released: Option<(Arc<Core>, Option<Arc<Permit>>)>,
    overdraw: Overdraw,
    _blocked: ComputingGuard<'static>,
    /// The wait in the report that is being made.
    #[cfg(feature = "trace")]
    _wait: Option<Recording>,
}

impl BlockingSection {
    #[inline]
    fn enter(overdraw: Overdraw) -> Self {
        let blocked = computing::mark_blocked();
        if JOB.get() != JobState::Running {
            return Self::new(None, overdraw, blocked);
        }
        let (core, permit) = (CORE.with(|core| core.borrow().clone()), PERMIT.with(|permit| permit.borrow().clone()));
        let released = core.filter(|core| core.begin_blocking(permit.as_deref())).map(|core| (core, permit));
        Self::new(released, overdraw, blocked)
    }

    fn new(
        released: Option<(Arc<Core>, Option<Arc<Permit>>)>,
        overdraw: Overdraw,
        blocked: ComputingGuard<'static>,
    ) -> Self {
        Self {
            released,
            overdraw,
            _blocked: blocked,
            #[cfg(feature = "trace")]
            _wait: recorder::start_wait(),
        }
    }
}

impl Drop for BlockingSection {
    #[inline]
    fn drop(&mut self) {
        let Some((core, permit)) = &self.released else { return };
        let overdraw = match self.overdraw {
            Overdraw::Never if core.is_frames() => Overdraw::IfNoneIsReturned,
            overdraw => overdraw,
        };
        let state = core.queue.end_blocking(permit.as_deref(), overdraw);
        JOB.set(JobState::Running);
        if permit.as_ref().is_none_or(|permit| permit.state() != PermitState::Revoked) {
            set_away(false);
        }
        if let Some(state) = state {
            core.wake_workers(state);
        }
    }
}

impl Core {
    /// Gives this worker's permit back; `false` if it was revoked.
    fn begin_blocking(self: &Arc<Self>, permit: Option<&Permit>) -> bool {
        let Some(state) = self.queue.begin_blocking(permit) else { return false };
        JOB.set(JobState::Blocked);
        set_away(true);
        self.wake_workers(state);
        true
    }
}

/// Marks this thread as inside of a job, with a permit, until the guard is dropped.
#[inline]
pub(super) fn enter_job() -> JobContext {
    // The values before are kept: a thread that waits for rayon inside of a job may run another one meanwhile.
    JobContext { job: JOB.replace(JobState::Running), permit: PERMIT.with(|cell| cell.take()) }
}

/// Restores what [`enter_job`] has replaced when dropped.
pub(super) struct JobContext {
    job: JobState,
    permit: Option<Arc<Permit>>,
}

impl Drop for JobContext {
    #[inline]
    fn drop(&mut self) {
        JOB.set(self.job);
        // The job's own permit was put back by `with_permit`.
        if let Some(permit) = self.permit.take() {
            drop(PERMIT.with(|cell| cell.replace(Some(permit))));
        }
    }
}

/// Whether this thread has a permit which it may use for one more job, after a job that ended so.
#[inline]
pub(super) fn keeps_permit(ran: JobEnd) -> bool {
    matches!(ran, JobEnd::Ran | JobEnd::Dead) && !permit::is_overdrawn()
}

/// Runs a job with a time limit. Blocking sections inside of it give this permit back.
pub(crate) fn with_permit<T>(permit: &Arc<Permit>, work: impl FnOnce() -> T) -> T {
    let before = PERMIT.with(|cell| cell.replace(Some(Arc::clone(permit))));
    let result = work();
    drop(PERMIT.with(|cell| cell.replace(before)));
    result
}

/// Runs a job on a worker of its own pool that has no permit, and so none to give back.
pub(super) fn without_permit<T>(work: impl FnOnce() -> T) -> T {
    let before = JOB.replace(JobState::Running);
    let result = with_permit(&Arc::new(Permit::revoked()), work);
    JOB.set(before);
    result
}
