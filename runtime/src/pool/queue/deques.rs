//! The deques of a cpu pool's workers: one for each of rayon's threads.
//!
//! A task that such a thread submits to its own pool goes to the back of its own deque. The thread takes its next job
//! from the front, and threads without a job steal from there. Each deque has a lock of its own, which its owner mostly
//! finds free, so nested tasks touch nothing that all threads share. (A lock-free deque would save the owner some ten
//! nanoseconds; but it cannot remove dead jobs from its middle, and allocates where the program's allocator may come
//! back with another task.)
//!
//! # No wake-up is lost
//!
//! A thread that pushes takes the queue's lock only if [`Queue::wants_workers`] says that a permit is free and no
//! thread is on its way to use it. That flag is written under the lock, and every thread that looks for jobs under the
//! lock, to take one or to decide that none is left, publishes it before it looks ([`Queue::publish`]). Between the two
//! steps each side has a sequentially consistent fence:
//!
//! | the thread that pushes | the thread that looks, under the lock |
//! |---|---|
//! | adds the job; fence; reads the flag | writes the flag; fence; reads the lengths of the deques |
//!
//! Of two such fences one is first. If it is that of the thread which pushes, the other one sees the job. Else the
//! thread that pushes reads the flag, sees that a worker is wanted, takes the lock and wakes one. A flag that is false
//! means that all permits are used, or that threads are on their way for the others. Both look again: a thread on its
//! way does so when it arrives, and a thread that returns a permit after that. A thread that keeps its permit and takes
//! jobs without the queue's lock may miss one; it looks under the lock before it returns the permit.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard};

use crossbeam_utils::CachePadded;

use super::state::State;
use super::{Queue, SHARED_LISTS};
use crate::pool::job::Job;
use crate::sys::mutex;
use crate::sys::reserve;

/// How many tasks a worker moves from the queue to its deque, if there are as many for each worker. These tasks may
/// start out of order by as many, and the more they are, the fewer times the queue's lock is taken for each. The tasks of
/// a shorter queue start in the order of their submission.
const REFILL: usize = 16;

/// What the lock of a deque guards.
pub(super) struct Jobs {
    pub(super) jobs: VecDeque<Arc<dyn Job>>,
    /// Whether the pool takes no more jobs.
    closed: bool,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { jobs: VecDeque::with_capacity(REFILL), closed: false }
    }
}

/// The deque of one worker, and counters to which mostly this worker adds.
#[derive(Default)]
pub(super) struct Deque {
    jobs: Mutex<Jobs>,
    /// The number of jobs, for threads that look without the lock.
    len: AtomicUsize,
    /// Dead tasks that this worker has counted, less those that it has discounted. Only the sum over all workers, with
    /// the queue's own number, is the number of dead tasks.
    dead_tasks: AtomicIsize,
    /// Jobs that the worker has finished without taking the queue's lock.
    finished: AtomicU64,
}

impl Deque {
    pub(super) fn lock(&self) -> MutexGuard<'_, Jobs> {
        mutex::lock(&self.jobs)
    }

    /// Publishes the number of jobs after a change under the lock.
    pub(super) fn publish_len(&self, jobs: &Jobs) {
        self.len.store(jobs.jobs.len(), Ordering::Release);
    }

    fn pop(&self) -> Option<Arc<dyn Job>> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut jobs = self.lock();
        let job = jobs.jobs.pop_front();
        self.publish_len(&jobs);
        job
    }

    /// Takes the last job if it is dead.
    fn pop_dead(&self) -> Option<Arc<dyn Job>> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut jobs = self.lock();
        if !jobs.jobs.back()?.is_dead() {
            return None;
        }
        let job = jobs.jobs.pop_back();
        self.publish_len(&jobs);
        job
    }
}

/// The deques of a pool: as many as a cpu pool has threads, and none in other pools.
pub(super) struct Deques(Box<[CachePadded<Deque>]>);

impl Deques {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| CachePadded::default()).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Deque> {
        self.0.iter().map(|deque| &**deque)
    }

    /// The number of jobs.
    pub(super) fn len(&self) -> usize {
        self.iter().map(|deque| deque.len.load(Ordering::Acquire)).sum()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.iter().all(|deque| deque.len.load(Ordering::Acquire) == 0)
    }

    /// Takes the oldest job of the first deque that has one, in the order from `first` on.
    pub(super) fn pop(&self, first: usize) -> Option<Arc<dyn Job>> {
        let (before, after) = self.0.split_at(first.min(self.0.len()));
        after.iter().chain(before).find_map(|deque| deque.pop())
    }

    /// Takes the oldest job of the deque `own`.
    pub(super) fn pop_own(&self, own: usize) -> Option<Arc<dyn Job>> {
        self.0[own].pop()
    }

    /// Moves [`REFILL`] tasks from the front of a long queue to the deque `own`, if that is empty. So its worker takes the
    /// queue's lock once for all of them, while others can steal them.
    pub(super) fn refill(&self, own: usize, queue: &mut VecDeque<Arc<dyn Job>>) {
        let deque = &self.0[own];
        if queue.len() < REFILL * self.0.len() || deque.len.load(Ordering::Relaxed) > 0 {
            return;
        }
        let mut own = deque.lock();
        // The deque does not grow here, under the queue's lock.
        for _ in 0..REFILL.min(own.jobs.capacity() - own.jobs.len()) {
            // A map takes the copies of its share back from the queue.
            if !queue.front().is_some_and(|job| job.is_task()) {
                break;
            }
            let Some(task) = queue.pop_front() else { break };
            own.jobs.push_back(task);
        }
        deque.publish_len(&own);
    }

    /// The number of dead tasks that the workers have counted.
    pub(super) fn dead_tasks(&self) -> isize {
        self.iter().map(|deque| deque.dead_tasks.load(Ordering::Relaxed)).sum()
    }

    /// Closes the deques: later pushes fail.
    fn close(&self) {
        self.iter().for_each(|deque| deque.lock().closed = true);
    }

    /// Moves all jobs out, into `jobs`, which has room for one buffer of each deque.
    fn take_all(&self, jobs: &mut Vec<VecDeque<Arc<dyn Job>>>) {
        for deque in self.iter() {
            let mut own = deque.lock();
            jobs.push(std::mem::take(&mut own.jobs));
            deque.publish_len(&own);
        }
    }
}

impl Queue {
    /// Adds a job to the deque of the current thread, whose index is `own`; returns the job if the pool is closed. The
    /// caller then asks [`wants_workers`](Self::wants_workers).
    #[inline]
    pub(crate) fn push_own(&self, own: usize, job: Arc<dyn Job>) -> Result<(), Arc<dyn Job>> {
        let deque = &self.deques.0[own];
        let mut jobs = reserve::lock_with_capacity(|| deque.lock(), |jobs| &mut jobs.jobs, 1);
        if jobs.closed {
            return Err(job);
        }
        jobs.jobs.push_back(job);
        deque.publish_len(&jobs);
        Ok(())
    }

    /// Whether a worker must be woken for a job that was pushed to a deque: see the text of the module.
    #[inline]
    pub(crate) fn wants_workers(&self) -> bool {
        fence(Ordering::SeqCst);
        self.wants_workers.load(Ordering::Relaxed)
    }

    /// Publishes whether a thread that pushes to a deque must wake a worker. Called before a look at the deques.
    #[inline]
    pub(super) fn publish(&self, state: &State) {
        if self.deques.0.is_empty() {
            return;
        }
        let wants = state.permits() > state.running + state.reacquiring + state.on_the_way();
        if self.wants_workers.load(Ordering::Relaxed) != wants {
            self.wants_workers.store(wants, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
    }

    /// The number of jobs in the deque of the worker `own`.
    pub(crate) fn own_len(&self, own: usize) -> usize {
        self.deques.0[own].len.load(Ordering::Relaxed)
    }

    /// Takes the next job for the worker `own`, which keeps the permit of a job that has ended; `None` if it must take
    /// the queue's lock: it finds no job, or another worker waits for the permit, or the pool's queue has its turn.
    ///
    /// The queue has its turn when `own_turns` is 0. Else this job comes from the worker's deque, if that has one.
    pub(crate) fn take_keeping_permit(&self, own: usize, own_turns: usize) -> Option<Arc<dyn Job>> {
        if self.reacquiring.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let deque = &self.deques.0[own];
        let job = match self.has_shared_jobs() {
            false => self.deques.pop(own),
            true if own_turns > 0 => deque.pop(),
            true => None,
        };
        // This thread alone writes the number.
        deque.finished.store(deque.finished.load(Ordering::Relaxed) + u64::from(job.is_some()), Ordering::Relaxed);
        job
    }

    /// How many jobs workers have finished.
    pub(crate) fn jobs_finished(&self, state: &State) -> u64 {
        state.jobs_finished + self.deques.iter().map(|deque| deque.finished.load(Ordering::Relaxed)).sum::<u64>()
    }

    /// Where the worker `own` counts dead tasks.
    pub(super) fn own_dead_tasks(&self, own: usize) -> &AtomicIsize {
        &self.deques.0[own].dead_tasks
    }

    /// Takes the last job of the deque `own` if it is dead.
    pub(super) fn pop_own_dead(&self, own: usize) -> Option<Arc<dyn Job>> {
        self.deques.0[own].pop_dead()
    }

    /// Closes the queue: later pushes fail.
    pub(crate) fn close(&self, state: &mut State) {
        state.closed = true;
        self.deques.close();
    }

    /// Closes the queue, and takes all jobs out. Returns the locked state.
    pub(crate) fn close_and_take_all(&self, taken: &mut Vec<VecDeque<Arc<dyn Job>>>) -> MutexGuard<'_, State> {
        taken.reserve(SHARED_LISTS + self.deques.0.len());
        let mut state = self.lock();
        self.close(&mut state);
        self.deques.take_all(taken);
        self.take_shared(&mut state, taken);
        state
    }

    /// Calls `collect` with the jobs of the queue and of each deque, under their locks, and with `found`, which has
    /// room for one more entry for each of the jobs.
    pub(crate) fn for_each_list<T>(&self, found: &mut Vec<T>, collect: impl Fn(&mut Vec<T>, &VecDeque<Arc<dyn Job>>)) {
        let state = reserve::lock_with_buffer(|| self.lock(), |state| state.shared_jobs(), found);
        collect(found, &state.jobs);
        state.lanes.lists().into_iter().for_each(|lane| collect(found, lane));
        drop(state);
        for deque in self.deques.iter() {
            let own = reserve::lock_with_buffer(|| deque.lock(), |own| own.jobs.len(), found);
            collect(found, &own.jobs);
        }
    }
}
