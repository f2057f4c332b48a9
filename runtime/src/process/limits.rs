//! [`WorkerLimits`]: what a pool allows its worker processes.

use std::time::Duration;

use super::worker_hooks::WorkerHooks;

/// What a pool allows its worker processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkerLimits {
    /// The bytes of private memory that a worker may have.
    pub(crate) memory_limit: Option<u64>,
    /// The number of tasks after which a worker is replaced.
    pub(crate) max_tasks: Option<u64>,
    /// The number of workers, which share the machine's cores.
    pub(crate) workers: usize,
    /// How long a worker may be idle before it is ended.
    pub(crate) idle_timeout: Option<Duration>,
    /// What each worker runs first and last.
    pub(crate) hooks: WorkerHooks,
}
