//! Running a job of another pool on a permit that this thread borrows from that pool.

use std::sync::Arc;

use super::{BlockingSection, CORE, DOES_CPU_WORK, JOB, JobState, PERMIT, POOL_ID, is_worker_of, own_cpu_pool};
use crate::pool::Core;
use crate::pool::queue::permit::{Overdraw, Permit, PermitState};

/// Whether this thread has a permit of `core` now.
#[inline]
fn has_permit_of(core: &Core) -> bool {
    is_worker_of(core)
        && JOB.get() == JobState::Running
        && PERMIT.with(|permit| permit.borrow().as_ref().is_none_or(|permit| permit.state() != PermitState::Revoked))
}

/// Runs `work` on a permit of `core`: on this thread's own, if it has one of `core`, else on a free one that it
/// borrows. `None` if no permit is free. A worker of another pool gives its own permit back meanwhile.
#[inline]
pub(crate) fn run_as_worker<T>(core: &Arc<Core>, work: impl FnOnce() -> T) -> Option<T> {
    if has_permit_of(core) { Some(work()) } else { on_borrowed_permit(core, work) }
}

/// Runs a task of `core` on this thread, if `core` has a free permit and its hooks have run here. Returns whether it
/// ran. A thread inside of a panic hook runs none: a panic of the task would abort the program.
#[inline]
pub(crate) fn run_claimed(core: &Arc<Core>, run: impl FnOnce() -> bool) -> bool {
    !std::thread::panicking() && (!core.has_hooks() || core.is_own_worker()) && run_as_worker(core, run) == Some(true)
}

/// Runs `work` as a worker of `core` on a free permit; `None` if none is free.
#[inline(never)]
fn on_borrowed_permit<T>(core: &Arc<Core>, work: impl FnOnce() -> T) -> Option<T> {
    if !core.queue.lock().try_permit() {
        return None;
    }
    let section = BlockingSection::enter(Overdraw::Never);
    let borrowed = BorrowedPermit {
        own_cpu_pool_before: own_cpu_pool::leave(),
        core_before: CORE.with(|cell| cell.replace(Some(Arc::clone(core)))),
        permit_before: PERMIT.with(|cell| cell.take()),
        job_before: JOB.replace(JobState::Running),
        cpu_work_before: DOES_CPU_WORK.replace(core.is_frames()),
        lender: Arc::clone(core),
        section: Some(section),
    };
    POOL_ID.set(core.id);
    let result = work();
    drop(borrowed);
    Some(result)
}

/// A permit of another pool, under which the current thread is that pool's worker. When dropped it goes back, and the
/// thread is what it was before.
struct BorrowedPermit {
    own_cpu_pool_before: *const Core,
    core_before: Option<Arc<Core>>,
    permit_before: Option<Arc<Permit>>,
    job_before: JobState,
    cpu_work_before: bool,
    lender: Arc<Core>,
    /// Dropped last, when the thread is its own pool's worker again: it waits for that pool's permit.
    section: Option<BlockingSection>,
}

impl Drop for BorrowedPermit {
    fn drop(&mut self) {
        let mut state = self.lender.queue.lock();
        self.lender.queue.release_permit(&mut state);
        JOB.set(JobState::None);
        self.lender.wake_workers(state);
        let before = self.core_before.take();
        POOL_ID.set(before.as_ref().map_or(0, |own| own.id));
        DOES_CPU_WORK.set(self.cpu_work_before);
        JOB.set(self.job_before);
        let permit = PERMIT.with(|cell| cell.replace(self.permit_before.take()));
        let lender = CORE.with(|cell| cell.replace(before));
        own_cpu_pool::restore(self.own_cpu_pool_before);
        drop((permit, lender));
        drop(self.section.take());
    }
}
