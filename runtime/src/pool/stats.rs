//! [`Stats`]: what a pool has done and does now.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Core, Pool};

/// Tasks that have ended, by how they ended.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
}

/// What a pool has done, and does now. [`Pool::stats`] makes it.
///
/// A task's result is published before its worker goes idle: right after a `join`, `busy` may still count that worker.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Tasks that may run at once.
    pub limit: usize,
    /// Threads that exist.
    pub threads: usize,
    /// Workers that run a task or a share of a map, and do not wait for another task.
    pub busy: usize,
    /// Tasks that wait for a worker, and requests of maps for helpers.
    pub queued: usize,
    /// Tasks whose function has returned, without those that are counted as cancelled. Direct calls, and the items of a map that is collected, are not tasks.
    pub done: u64,
    /// Tasks whose function has panicked, the destructors of its locals included, or timed out.
    pub failed: u64,
    /// Tasks that were cancelled, or submitted after the pool was closed; also those that were asked to stop, saw it by
    /// [`cancelled()`](crate::cancelled), and returned.
    pub cancelled: u64,
}

impl Pool {
    /// What the pool has done, and does now. The call starts the pool if it has not started.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::io("counted").threads(4).build()?;
    /// pool.submit(|| ()).join()?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.limit, stats.done, stats.failed, stats.queued), (4, 1, 0, 0));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[track_caller]
    pub fn stats(&self) -> Stats {
        let core = self.core();
        let (threads, busy, queued) = core.thread_counts();
        let sum = |count: fn(&Counts) -> &AtomicU64| {
            core.all_counts().map(|counts| count(counts).load(Ordering::Relaxed)).sum::<u64>()
        };
        Stats {
            limit: core.threads(),
            threads,
            busy,
            queued,
            done: sum(|counts| &counts.done),
            failed: sum(|counts| &counts.failed),
            cancelled: sum(|counts| &counts.cancelled),
        }
    }
}

impl Core {
    /// Threads that exist, permits in use, and jobs that are queued and not dead.
    fn thread_counts(&self) -> (usize, usize, usize) {
        if self.is_from_parent() {
            return (0, 0, 0);
        }
        let state = self.queue.lock();
        (state.threads, state.running, self.queue.len(&state).saturating_sub(self.queue.dead_tasks()))
    }
}
