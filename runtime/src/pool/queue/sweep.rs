//! Jobs that stay in the queue though nobody will run them: tasks that were cancelled, timed out or run by a thread that
//! waited for them, and calls for help with a map that has ended.
//!
//! A task is counted when it dies in the queue, and when a worker takes a dead one out. When half of a queue is dead, and
//! 1,024 jobs at least, all of them are thrown out: so a dead job costs a few nanoseconds, and they hold no more memory
//! than the others do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Queue;
use super::state::State;
use crate::pool::Core;
use crate::pool::job::Job;
use crate::sys::reserve;
use crate::sys::unwind;

/// Fewer dead jobs are left where they are.
const MIN_DEAD: usize = 1_024;

impl Queue {
    fn has_too_many(&self, dead: usize) -> bool {
        dead >= MIN_DEAD && 2 * dead >= self.queued()
    }

    /// A worker has taken a dead task out.
    #[inline]
    pub(crate) fn removed_dead_task(&self) {
        self.dead_tasks.fetch_sub(1, Ordering::Relaxed);
    }

    /// Dead tasks in the queue.
    pub(crate) fn dead_tasks(&self) -> usize {
        usize::try_from(self.dead_tasks.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Takes dead jobs out, to be dropped without the lock.
    fn take_dead(&self) -> Vec<Arc<dyn Job>> {
        let mut dead = Vec::new();
        let mut state = reserve::lock_to_copy(|| self.lock(), |state| state.jobs.len(), &mut dead);
        state.closed_copies = 0;
        state.jobs.retain(|job| {
            let is_dead = job.is_dead();
            if is_dead {
                dead.push(Arc::clone(job));
            }
            !is_dead
        });
        let tasks = dead.iter().filter(|job| job.is_task()).count();
        self.dead_tasks.fetch_sub(isize::try_from(tasks).unwrap_or(isize::MAX), Ordering::Relaxed);
        self.after_removal(&mut state);
        let (len, capacity) = (state.jobs.len(), state.jobs.capacity());
        drop(state);
        if capacity > 4 * len.max(MIN_DEAD) {
            reserve::replace(|| self.lock(), |state| &mut state.jobs, capacity, 2 * len);
        }
        dead
    }

    /// Throws dead jobs out.
    pub(crate) fn sweep(&self) {
        let dead = self.take_dead();
        // A span that goes with one is the user's code, as is the error of one that was cancelled.
        dead.into_iter().for_each(unwind::discard);
    }

    /// Copies of a job may be left in the queue that nobody will enter; whether the queue is to be swept.
    pub(crate) fn count_closed_copies(&self, state: &mut State, copies: usize) -> bool {
        state.closed_copies += copies;
        self.has_too_many(self.dead_tasks() + state.closed_copies)
    }
}

impl Core {
    /// A task of this pool has ended in the queue, and no worker of the pool had taken it out.
    #[inline]
    pub(crate) fn count_dead_task(&self) {
        // A worker may take it out before it is counted: the number is less than 0 then for a moment.
        if self.queue.dead_tasks.fetch_add(1, Ordering::Relaxed) >= MIN_DEAD.cast_signed() {
            self.sweep();
        }
    }

    #[cold]
    fn sweep(&self) {
        // In a forked child a thread of the parent may hold the lock.
        if !self.is_from_parent() && self.queue.has_too_many(self.queue.dead_tasks()) {
            self.queue.sweep();
        }
    }

    /// A worker has taken a task out that had ended.
    #[cfg(feature = "process")]
    pub(crate) fn removed_dead_task(&self) {
        self.queue.removed_dead_task();
    }
}
