//! [`Stats`]: what a pool has done and does now.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counts::Counts;
use super::histogram::Histogram;
use super::{Core, Pool};

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
    /// Maps, folds and calls with `chunks` that have begun, and frames and scans that were mapped. Maps that are
    /// iterated are not counted: their items are tasks.
    pub maps: u64,
    /// How long tasks were queued before they started. Measured while
    /// [`task_times`](crate::Configure::task_times) is on.
    pub queue_wait: Histogram,
    /// How long tasks ran, the time included in which they waited for others; of a future, from its first poll to its
    /// end. Measured while [`task_times`](crate::Configure::task_times) is on.
    pub run_time: Histogram,
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
        self.core().stats()
    }
}

impl Core {
    pub(crate) fn stats(&self) -> Stats {
        let (threads, busy, queued) = self.thread_counts();
        let sum = |count: fn(&Counts) -> &AtomicU64| {
            self.all_counts().map(|counts| count(counts).load(Ordering::Relaxed)).sum::<u64>()
        };
        let (mut queue_wait, mut run_time) = (Histogram::EMPTY, Histogram::EMPTY);
        for times in self.all_counts().filter_map(Counts::measured_times) {
            queue_wait.add(&times.queue_wait);
            run_time.add(&times.run_time);
        }
        Stats {
            limit: self.threads(),
            threads,
            busy,
            queued,
            done: sum(|counts| &counts.done),
            failed: sum(|counts| &counts.failed),
            cancelled: sum(|counts| &counts.cancelled),
            maps: sum(|counts| &counts.maps),
            queue_wait,
            run_time,
        }
    }

    /// Threads that exist, permits in use, and jobs that are queued and not dead.
    fn thread_counts(&self) -> (usize, usize, usize) {
        if self.is_from_parent() {
            return (0, 0, 0);
        }
        let state = self.queue.lock();
        (state.threads, state.running, self.queue.len(&state).saturating_sub(self.queue.dead_tasks()))
    }
}
