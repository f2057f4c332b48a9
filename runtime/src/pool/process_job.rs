//! A job of a process pool, and those behind it: several short ones are sent to a worker at once, so that it need not
//! wait for its parent between them.

use std::sync::Arc;

use super::job::{Job, JobEnd, Ship};
use super::{Core, blocking};
use crate::process::{self, PipelineSource, PipelinedTask};

/// Runs a job on this thread's worker process, and others that it is quick with.
pub(super) fn run(core: &Arc<Core>, job: Arc<dyn Job>) -> JobEnd {
    if core.queue.waiting() == 0 || !job.can_be_shipped() {
        return job.run();
    }
    let mut line = Line { core, first: Some(job), alone: None };
    process::pipeline(&mut line);
    line.alone.map_or(JobEnd::Here, Job::run)
}

/// The pool's queue, as this thread's share of it.
struct Line<'a> {
    core: &'a Arc<Core>,
    first: Option<Arc<dyn Job>>,
    /// One that wants a worker for itself; nothing is taken behind it.
    alone: Option<Arc<dyn Job>>,
}

impl PipelineSource<Arc<dyn Job>> for Line<'_> {
    fn next(&mut self, in_flight: usize) -> Option<Box<dyn PipelinedTask<Arc<dyn Job>>>> {
        loop {
            // Others want their share of what waits.
            let share = self.core.queue.waiting() / self.core.threads;
            if self.alone.is_some() || (self.first.is_none() && in_flight > share) {
                return None;
            }
            let job = self.first.take().or_else(|| self.core.queue.take_along())?;
            match Arc::clone(&job).ship() {
                Ship::Ready(shipment) => return Some(shipment),
                Ship::Alone => self.alone = Some(job),
                Ship::Gone => {}
            }
        }
    }

    fn put_back(&mut self, shipments: Vec<Box<dyn PipelinedTask<Arc<dyn Job>>>>) {
        let mut jobs: Vec<_> = shipments.into_iter().filter_map(PipelinedTask::into_job).collect();
        let mut state = self.core.queue.lock_with_room(jobs.len());
        // Under the lock: from the moment that the pool is cancelled its queue stays empty.
        if self.core.is_cancelled() {
            drop(state);
            return jobs.into_iter().for_each(|job| job.abandon(true));
        }
        self.core.queue.put_back(&mut state, &mut jobs);
        blocking::rouse(self.core, state);
    }
}
