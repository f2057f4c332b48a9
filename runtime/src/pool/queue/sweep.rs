//! Removal of dead jobs: jobs that have ended while they are queued. They are tasks that were cancelled, that have
//! timed out, or that a thread ran which waited for them; and copies of closed leases.
//!
//! The count of dead tasks rises when a queued task ends, and falls when a worker takes it out. When half of a queue is
//! dead, and at least 1,024 jobs are, all dead jobs are removed. So a dead job costs a few nanoseconds, and dead jobs
//! hold no more memory than live ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use super::Queue;
use super::state::State;
use crate::pool::Core;
use crate::pool::current_worker;
use crate::pool::job::Job;
use crate::sys::reserve;
use crate::sys::unwind;

/// Fewer dead jobs are left in the queue.
const MIN_DEAD: usize = 1_024;

impl Queue {
    fn has_too_many(&self, dead: usize) -> bool {
        dead >= MIN_DEAD && 2 * dead >= self.queued()
    }

    /// The number of dead tasks in the queue.
    pub(crate) fn dead_tasks(&self) -> usize {
        usize::try_from(self.dead_tasks.load(Ordering::Relaxed) + self.deques.dead_tasks()).unwrap_or(0)
    }

    /// Takes dead jobs out, to be dropped without the lock.
    fn take_dead(&self) -> Vec<Arc<dyn Job>> {
        let mut dead = Vec::new();
        for deque in self.deques.iter() {
            let mut own = reserve::lock_with_buffer(|| deque.lock(), |own| own.jobs.len(), &mut dead);
            move_dead(&mut own.jobs, &mut dead);
            deque.publish_len(&own);
            let (len, capacity) = (own.jobs.len(), own.jobs.capacity());
            drop(own);
            if capacity > 4 * len.max(MIN_DEAD) {
                reserve::replace_buffer(|| deque.lock(), |own| &mut own.jobs, capacity, 2 * len);
            }
        }
        let mut state = reserve::lock_with_buffer(|| self.lock(), |state| state.shared_jobs(), &mut dead);
        state.closed_copies = 0;
        move_dead(&mut state.jobs, &mut dead);
        state.lanes.lists_mut().into_iter().for_each(|lane| move_dead(lane, &mut dead));
        let tasks = dead.iter().filter(|job| job.is_task()).count();
        self.dead_tasks.fetch_sub(isize::try_from(tasks).unwrap_or(isize::MAX), Ordering::Relaxed);
        self.after_removal(&mut state);
        let (len, capacity) = (state.jobs.len(), state.jobs.capacity());
        drop(state);
        if capacity > 4 * len.max(MIN_DEAD) {
            reserve::replace_buffer(|| self.lock(), |state| &mut state.jobs, capacity, 2 * len);
        }
        dead
    }

    /// Removes dead jobs.
    pub(crate) fn sweep(&self) {
        let dead = self.take_dead();
        // The spans and errors of these jobs may be the user's types, whose destructors may panic.
        dead.into_iter().for_each(unwind::discard);
    }

    /// Counts copies of a closed lease that may be left in the queue. Returns whether the queue must be swept.
    pub(crate) fn count_closed_copies(&self, state: &mut State, copies: usize) -> bool {
        state.closed_copies += copies;
        self.has_too_many(self.dead_tasks() + state.closed_copies)
    }
}

/// Moves the dead jobs to `dead`, which has room for all of them.
fn move_dead(jobs: &mut VecDeque<Arc<dyn Job>>, dead: &mut Vec<Arc<dyn Job>>) {
    jobs.retain(|job| {
        let is_dead = job.is_dead();
        if is_dead {
            dead.push(Arc::clone(job));
        }
        !is_dead
    });
}

impl Core {
    /// Counts a task of this pool that has ended in the queue, where no worker of the pool had taken it out.
    #[inline]
    pub(crate) fn count_dead_task(&self) {
        match current_worker::own_deque_of(self) {
            None => self.add_dead_tasks(&self.queue.dead_tasks, 1),
            Some(own) => self.count_own_dead_task(own),
        }
    }

    /// As [`count_dead_task`](Self::count_dead_task), on the worker of the deque `own`. It takes the dead jobs off the
    /// back of its deque: a worker that submits tasks and joins them leaves nothing behind.
    fn count_own_dead_task(&self, own: usize) {
        let mut change = 1;
        while let Some(job) = self.queue.pop_own_dead(own) {
            change -= isize::from(job.is_task());
            unwind::discard(job);
        }
        if change != 0 {
            self.add_dead_tasks(self.queue.own_dead_tasks(own), change);
        }
    }

    /// Changes one of the numbers whose sum is the number of dead tasks. A worker may take a task out before it is
    /// counted, so the sum is negative for moments. One number says nothing but when to look at the sum.
    #[inline]
    fn add_dead_tasks(&self, count: &AtomicIsize, change: isize) {
        if count.fetch_add(change, Ordering::Relaxed) >= MIN_DEAD.cast_signed() {
            self.sweep();
        }
    }

    #[cold]
    fn sweep(&self) {
        // In a forked child the lock is never released if a thread of the parent held it at the fork.
        if !self.is_from_parent() && self.queue.has_too_many(self.queue.dead_tasks()) {
            self.queue.sweep();
        }
    }

    /// Discounts a dead task that a worker has taken out.
    #[inline]
    pub(crate) fn removed_dead_task(&self) {
        let own = current_worker::own_deque_of(self);
        let count = own.map_or(&self.queue.dead_tasks, |own| self.queue.own_dead_tasks(own));
        count.fetch_sub(1, Ordering::Relaxed);
    }
}
