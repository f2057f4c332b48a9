//! [`Job`]: what a worker takes from the queue and runs, and [`JobEnd`]: how that ended.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "process")]
use crate::process::PipelinedTask;

/// An entry of a pool's queue: a task, or a share of a scoped call. A panic stays inside: `run` and `abandon` do not
/// unwind.
pub(crate) trait Job: Send + Sync {
    /// Runs the job, unless another thread has started it.
    fn run(self: Arc<Self>) -> JobEnd;
    /// Whether the job may be sent to a worker process that has other jobs to run before it.
    #[cfg(feature = "process")]
    fn can_be_pipelined(&self) -> bool {
        false
    }
    /// Encodes the job for a worker process.
    #[cfg(feature = "process")]
    fn prepare_for_process(self: Arc<Self>) -> PreparedJob {
        PreparedJob::Ended
    }
    /// Whether the job has ended while it is queued, so that running it does nothing.
    fn is_dead(&self) -> bool;
    /// Whether the job is a task, which is counted when it ends in the queue.
    fn is_task(&self) -> bool {
        true
    }
    /// How long the job may run.
    fn time_limit(&self) -> Option<Duration> {
        None
    }
    /// Ends a queued job as timed out, because no thread could be had for it within its time limit.
    fn time_out_queued(&self) {}
    /// Ends a job that will never run. `cancelled` says why: it was cancelled, or else the pool is closed.
    fn abandon(&self, cancelled: bool);
}

/// A job for a worker process, after [`Job::prepare_for_process`].
#[cfg(feature = "process")]
pub(crate) enum PreparedJob {
    /// It is encoded.
    Ready(Box<dyn PipelinedTask<Arc<dyn Job>>>),
    /// It is too large to be pipelined.
    TooLarge,
    /// It has ended.
    Ended,
}

/// How a run of a job ended, as far as the permit and the counters are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobEnd {
    /// It ran.
    Ran,
    /// It ran, and was a share of a map: the next map may follow at once.
    RanMapShare,
    /// It was a task that had ended in the queue: nothing was run.
    Dead,
    /// It ran for so long that its worker was written off, and the worker's permit went to another.
    WrittenOff,
}
