//! What a worker runs, and how that may end.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "process")]
use crate::process::PipelinedTask;

/// Something a worker can run. A panic stays inside: `run` and `abandon` do not unwind.
pub(crate) trait Job: Send + Sync {
    /// Runs the job, unless another thread was first.
    fn run(self: Arc<Self>) -> JobEnd;
    /// Whether the job may be sent to a worker process that has others to run before it.
    #[cfg(feature = "process")]
    fn can_be_shipped(&self) -> bool {
        false
    }
    /// Makes it ready to be sent.
    #[cfg(feature = "process")]
    fn ship(self: Arc<Self>) -> Ship {
        Ship::Gone
    }
    /// Whether nothing would come of running it.
    fn is_dead(&self) -> bool;
    /// Whether it is a task, which is counted when it dies in the queue.
    fn is_task(&self) -> bool {
        true
    }
    /// The time that the job has once it runs.
    fn time_limit(&self) -> Option<Duration> {
        None
    }
    /// Ends a job that no thread came for in its time.
    fn end_late(&self) {}
    /// Tells whoever waits that the job will never run: it was cancelled, or the pool is closed.
    fn abandon(&self, cancelled: bool);
}

/// A job that is to be sent to a worker process.
#[cfg(feature = "process")]
pub(crate) enum Ship {
    /// It is ready.
    Ready(Box<dyn PipelinedTask<Arc<dyn Job>>>),
    /// It is too large to be one of many.
    Alone,
    /// Nothing is to be done any more.
    Gone,
}

/// How a run ended, for the pool's books.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobEnd {
    /// In time.
    Here,
    /// In time, and it was a share of a map: more of them may come at once.
    Helped,
    /// A task that had ended: nothing was run.
    Dead,
    /// So late that the pool had given the thread up, and its permit to another.
    WrittenOff,
}
