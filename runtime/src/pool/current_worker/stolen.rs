//! The context of a thread of rayon's that has stolen a part of another thread's job.

use std::sync::Arc;

use super::{BlockingSection, CORE, JOB, JobState};
use crate::pool::Core;
use crate::pool::queue::permit::Overdraw;
use crate::pool::work_span::{Work, is_observed, observed};

/// Makes this thread a worker inside of a job, with a permit, until it is dropped. So it gives the permit to another
/// thread where it blocks, and can run tasks that it waits for.
///
/// A thread that steals while it waits inside of a job has a permit already, and uses that one. So each of rayon's
/// threads has one permit at most. It takes its permit even if spare threads have the last ones: the job that it helps
/// waits for it, and runs already.
pub(crate) struct StolenWork {
    /// `None` if the thread was inside of a job before, or belongs to no pool of ours.
    entered: Option<Arc<Core>>,
}

impl StolenWork {
    /// Runs a part of another thread's job.
    #[cold]
    pub(crate) fn run<T>(work: impl FnOnce() -> T) -> T {
        let _work = Self::enter();
        let core = is_observed().then(|| CORE.with(|core| core.borrow().clone())).flatten();
        match &core {
            Some(core) => observed(Work::half_of_join(core), None, work),
            None => work(),
        }
    }

    fn enter() -> Self {
        let is_inside = JOB.get() != JobState::None;
        let entered = if is_inside { None } else { CORE.with(|core| core.borrow().clone()) };
        if let Some(core) = &entered {
            core.queue.lock().running += 1;
            JOB.set(JobState::Running);
        }
        Self { entered }
    }
}

impl Drop for StolenWork {
    fn drop(&mut self) {
        if let Some(core) = self.entered.take() {
            JOB.set(JobState::None);
            let mut state = core.queue.lock();
            core.queue.release_permit(&mut state);
            core.wake_workers(state);
        }
    }
}

/// The permit of the job inside of which this thread waits for rayon's work, given back while it runs another job of
/// the queue: a thread that had several permits would keep them from the threads that it waits for.
pub(crate) fn without_waiting_permit() -> impl Drop {
    BlockingSection::enter(Overdraw::Never)
}
