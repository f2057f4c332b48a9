//! Jobs of process pools. Several short jobs are sent to a worker process at once (*pipelined*), so that it does not
//! wait for its parent between them.

use std::sync::Arc;

use super::job::{Job, JobEnd, PreparedJob};
use super::{Core, blocking, current_worker};
use crate::process::{self, PipelineSource, PipelinedTask};
use crate::sys::fork;

/// Runs a job on this thread's worker process, and further queued jobs with it if they are short.
pub(super) fn run(core: &Arc<Core>, job: Arc<dyn Job>) -> JobEnd {
    if core.queue.queued() == 0 || !job.can_be_pipelined() {
        return job.run();
    }
    let mut supply = QueueSupply { core, first: Some(job), too_large: None };
    process::pipeline(&mut supply);
    supply.too_large.map_or(JobEnd::Ran, Job::run)
}

/// The jobs that one thread takes from its pool's queue for a pipeline.
struct QueueSupply<'a> {
    core: &'a Arc<Core>,
    first: Option<Arc<dyn Job>>,
    /// A job that needs a worker process for itself. No job is taken after it.
    too_large: Option<Arc<dyn Job>>,
}

impl PipelineSource<Arc<dyn Job>> for QueueSupply<'_> {
    fn next(&mut self, in_flight: usize) -> Option<Box<dyn PipelinedTask<Arc<dyn Job>>>> {
        loop {
            // Each of the pool's workers has an equal share of the queue.
            let share = self.core.queue.queued() / self.core.threads();
            if self.too_large.is_some() || (self.first.is_none() && in_flight > share) {
                return None;
            }
            let job = self.first.take().or_else(|| self.core.queue.take_pipelined())?;
            match Arc::clone(&job).prepare_for_process() {
                PreparedJob::Ready(shipment) => return Some(shipment),
                PreparedJob::TooLarge => self.too_large = Some(job),
                PreparedJob::Ended => {}
            }
        }
    }

    fn put_back(&mut self, shipments: Vec<Box<dyn PipelinedTask<Arc<dyn Job>>>>) {
        let mut jobs: Vec<_> = shipments.into_iter().filter_map(PipelinedTask::into_job).collect();
        let mut state = self.core.queue.lock_with_capacity(jobs.len());
        // Asked under the lock: once the pool is cancelled its queue stays empty.
        if self.core.is_cancelled() {
            drop(state);
            return jobs.into_iter().for_each(|job| job.abandon(true));
        }
        self.core.queue.requeue_front(&mut state, &mut jobs);
        blocking::wake_workers(self.core, state);
    }
}

impl Core {
    /// Runs `work` on this thread with a worker process of the pool, without a job, if a worker process is idle and no
    /// job is queued.
    pub(crate) fn try_directly<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> Option<T> {
        fork::check(self.forks);
        if self.has_hooks() || self.queue.queued() > 0 || current_worker::is_worker_of(self) || self.is_closed() {
            return None;
        }
        let (result, needs_cleanup) =
            current_worker::run_as_worker(self, || self.process_slots.try_run_on_idle(work))??;
        if needs_cleanup {
            self.queue.request_cleanup();
        }
        Some(result)
    }
}
