//! [`WorkerLimits`]: what a pool allows its worker processes.

/// What a pool allows its worker processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkerLimits {
    /// The bytes of private memory that a worker may have.
    pub(crate) memory_limit: Option<u64>,
    /// The number of tasks after which a worker is replaced.
    pub(crate) max_tasks: Option<u64>,
    /// The number of workers, which share the machine's cores.
    pub(crate) workers: usize,
}
