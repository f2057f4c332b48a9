//! Whether this process is a worker process, and the memory limit of a worker process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The parent's process id, set in a worker process only.
static PARENT: OnceLock<u32> = OnceLock::new();

/// Bytes of private memory that this worker process may have; 0 means no limit.
static MEMORY_LIMIT: AtomicU64 = AtomicU64::new(0);

/// Marks this process as a worker of `parent`.
pub(super) fn become_worker_of(parent: u32) {
    // A worker process serves one parent, so this is the only call.
    let _ = PARENT.set(parent);
}

/// Whether this process is a worker process.
pub(crate) fn is_worker_process() -> bool {
    PARENT.get().is_some()
}

/// Records the memory limit that the parent gave to this worker process.
pub(super) fn set_memory_limit(bytes: u64) {
    MEMORY_LIMIT.store(bytes, Ordering::Relaxed);
}

/// The memory limit of this worker process; `None` in other processes and in workers without a limit.
pub(super) fn memory_limit() -> Option<u64> {
    Some(MEMORY_LIMIT.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
}
