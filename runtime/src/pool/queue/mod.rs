//! The queue of a pool: jobs in order of submission, permits, and the counts of threads in each state. Of a cpu pool,
//! `deques.rs` has the jobs that workers submit.
//!
//! A worker needs a *permit* to run a job, and a pool has as many permits as its number of threads. A worker that
//! blocks gives its permit back, so that another thread can go on with the queue, and waits for a permit before it goes
//! on itself. So waiting never uses up a pool, and no more jobs run at once than the user allowed.
//!
//! There is one exception. A frame worker may join a thread of the user's and keep its permit, because Fanfold does not
//! see that wait. If a frame that this thread cuts was begun by a worker that waits for a permit, no permit would ever
//! be free. So that worker [overdraws](Queue::end_blocking).

mod deques;
mod lanes;
pub(super) mod permit;
pub(super) mod sleepers;
pub(super) mod state;
mod sweep;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::current_worker;
use super::job::Job;
use crate::sys::mutex;
use crate::sys::reserve;
use deques::Deques;
use state::{State, Turn, default_spares};

/// The queue. It has one lock, which is held for about ten nanoseconds at a time. Nothing is allocated or freed under
/// it.
pub(super) struct Queue {
    state: Mutex<State>,
    /// The number of jobs in `state`, for threads that look without the lock.
    queued: AtomicUsize,
    /// The jobs that workers of a cpu pool have submitted.
    deques: Deques,
    /// Whether a thread that pushes to a deque must wake a worker. Written under the lock.
    wants_workers: AtomicBool,
    /// The number of workers that wait for a permit, for threads that look without the lock.
    reacquiring: AtomicUsize,
    /// Queued tasks that have ended: see `sweep.rs`.
    dead_tasks: AtomicIsize,
    /// Wakes the resident worker of a cpu pool: for a job, and when the pool closes.
    pub(super) resident: Condvar,
    /// Wakes a worker that waits for a permit.
    permit_returned: Condvar,
    /// The number of the last broadcast. Written under the lock.
    pub(super) broadcasts: AtomicU64,
    /// Wakes threads that wait for a broadcast: when a thread has run one, and when one has ended.
    pub(super) broadcast_progress: Condvar,
    /// Wakes threads that drain or join the pool: when a thread has ended, and when a job of a closed pool has.
    pub(super) drain_progress: Condvar,
    /// How often the lock was taken.
    #[cfg(test)]
    pub(super) locked: AtomicU64,
}

/// The lists of jobs that are in no deque: one for each priority.
const SHARED_LISTS: usize = 3;

impl Queue {
    /// A queue with `limit` permits, and a deque for each of `owners` workers.
    pub(super) fn new(limit: usize, owners: usize) -> Self {
        Self {
            state: Mutex::new(State::new(limit, owners)),
            queued: AtomicUsize::new(0),
            deques: Deques::new(owners),
            wants_workers: AtomicBool::new(true),
            reacquiring: AtomicUsize::new(0),
            dead_tasks: AtomicIsize::new(0),
            resident: Condvar::new(),
            permit_returned: Condvar::new(),
            broadcasts: AtomicU64::new(0),
            broadcast_progress: Condvar::new(),
            drain_progress: Condvar::new(),
            #[cfg(test)]
            locked: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        #[cfg(test)]
        self.locked.fetch_add(1, Ordering::Relaxed);
        mutex::lock(&self.state)
    }

    /// Changes the number of permits. Jobs beyond it go on.
    pub(super) fn set_limit(&self, state: &mut State, limit: usize) {
        state.limit = limit;
        state.max_spares = default_spares(limit);
        // Workers that wait for a permit look again.
        self.permit_returned.notify_all();
    }

    /// Adds a job `copies` times. Returns the locked state, under which the caller decides which workers to wake; or
    /// the job, if the pool is closed.
    #[inline]
    pub(super) fn add(&self, job: Arc<dyn Job>, copies: usize) -> Result<MutexGuard<'_, State>, Arc<dyn Job>> {
        let mut state = reserve::lock_with_capacity(|| self.lock(), |state| &mut state.jobs, copies);
        if state.closed {
            return Err(job);
        }
        for _ in 1..copies {
            state.jobs.push_back(Arc::clone(&job));
        }
        state.jobs.push_back(job);
        self.queued.store(state.shared_jobs(), Ordering::Release);
        Ok(state)
    }

    /// Takes the next job and a permit for it. Queue and deques take turns, so that neither keeps the other one's jobs
    /// waiting: the deque of a worker that has one, and all deques for other threads.
    #[inline]
    pub(super) fn take(&self, state: &mut State) -> Option<Arc<dyn Job>> {
        if !state.has_permit() {
            return None;
        }
        self.publish(state);
        let own = current_worker::own_deque();
        let (mut job, next) = match (state.turn, own) {
            (Turn::Queue, _) => (None, Turn::Deques),
            (Turn::Deques, Some(own)) => (self.deques.pop_own(own), Turn::Queue),
            (Turn::Deques, None) => (self.deques.pop(0), Turn::Queue),
        };
        state.turn = next;
        if job.is_none() && state.shared_jobs() > 0 {
            if state.lanes.is_empty() {
                job = state.jobs.pop_front();
                if let Some(own) = own {
                    self.deques.refill(own, &mut state.jobs);
                }
            } else {
                job = state.lanes.take_next(&mut state.jobs);
            }
            self.queued.store(state.shared_jobs(), Ordering::Release);
        }
        let job = job.or_else(|| self.deques.pop(own.unwrap_or(0)))?;
        state.running += 1;
        Some(job)
    }

    /// Whether there is a job, and a permit to run it.
    #[inline]
    pub(super) fn is_ready(&self, state: &State) -> bool {
        state.has_permit() && !self.is_empty(state)
    }

    /// Whether there is no job.
    pub(super) fn is_empty(&self, state: &State) -> bool {
        self.publish(state);
        state.shared_jobs() == 0 && self.deques.is_empty()
    }

    /// The number of jobs.
    pub(super) fn len(&self, state: &State) -> usize {
        state.shared_jobs() + self.deques.len()
    }

    /// Whether the pool is closed, and no job will come any more.
    pub(super) fn has_ended(&self, state: &State) -> bool {
        state.closed && self.is_empty(state)
    }

    /// Whether no job is queued, and no more than `own` workers are inside of one.
    pub(super) fn is_done_except(&self, state: &State, own: usize) -> bool {
        // The workers first: one that ends meanwhile has added its jobs before.
        state.running + state.reacquiring + state.blocked <= own && self.is_empty(state)
    }

    /// Takes the copies of a job back that are last in the queue, and counts the others as dead.
    pub(super) fn retract_copies(&self, job: &Arc<dyn Job>) {
        let mut state = self.lock();
        while state.jobs.back().is_some_and(|last| Arc::ptr_eq(last, job)) {
            state.jobs.pop_back();
        }
        // The caller holds two references. The others are in the queue, or with workers that are about to drop them.
        let left = Arc::strong_count(job).saturating_sub(2);
        let must_sweep = left > 0 && self.count_closed_copies(&mut state, left);
        self.after_removal(&mut state);
        drop(state);
        if must_sweep {
            self.sweep();
        }
    }

    /// Publishes the number of jobs, after jobs were removed that no worker runs.
    fn after_removal(&self, state: &mut State) {
        self.queued.store(state.shared_jobs(), Ordering::Release);
        self.notify_drain(state);
    }

    /// Takes the next job if it can be pipelined. It needs no permit: it runs under that of the worker which takes it.
    #[cfg(feature = "process")]
    pub(super) fn take_pipelined(&self) -> Option<Arc<dyn Job>> {
        let mut state = self.lock();
        state.jobs.front()?.can_be_pipelined().then_some(())?;
        let job = state.jobs.pop_front();
        self.queued.store(state.shared_jobs(), Ordering::Release);
        job
    }

    /// Locks the queue when it has room for `jobs` more jobs.
    #[cfg(feature = "process")]
    pub(super) fn lock_with_capacity(&self, jobs: usize) -> MutexGuard<'_, State> {
        reserve::lock_with_capacity(|| self.lock(), |state| &mut state.jobs, jobs)
    }

    /// Puts jobs back before all others, in their order. The queue has [room](Self::lock_with_room) for them.
    #[cfg(feature = "process")]
    pub(super) fn requeue_front(&self, state: &mut State, jobs: &mut Vec<Arc<dyn Job>>) {
        jobs.drain(..).rev().for_each(|job| state.jobs.push_front(job));
        self.queued.store(state.shared_jobs(), Ordering::Release);
    }

    /// Wakes a parked thread without a job: when it has been idle for a while again, it releases the memory of idle
    /// worker processes.
    #[cfg(feature = "process")]
    pub(super) fn request_cleanup(&self) {
        let woken = self.lock().begin_wake(1);
        woken.notify();
    }

    /// How many more workers are needed: jobs that have a permit, less the workers that are on their way to the queue
    /// or spin.
    #[inline]
    pub(super) fn missing_workers(&self, state: &State) -> usize {
        let permits = state.permits().saturating_sub(state.running + state.reacquiring);
        self.publish(state);
        let on_the_way = state.on_the_way();
        if permits <= on_the_way {
            return 0;
        }
        // The lengths of the deques are read only where they matter.
        let shared = state.shared_jobs();
        let jobs = if shared < permits { shared + self.deques.len() } else { shared };
        jobs.min(permits).saturating_sub(on_the_way)
    }

    /// The number of queued jobs, read without the lock.
    #[inline]
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire) + self.deques.len()
    }

    /// Whether a job is queued that is in no deque, read without the lock.
    fn has_shared_jobs(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }

    /// Whether a job is queued, read without the lock.
    pub(super) fn has_queued_jobs(&self) -> bool {
        self.has_shared_jobs() || !self.deques.is_empty()
    }

    /// Takes all jobs out that are in no deque, into `taken`, which has room for [`SHARED_LISTS`] lists.
    fn take_shared(&self, state: &mut State, taken: &mut Vec<VecDeque<Arc<dyn Job>>>) {
        self.queued.store(0, Ordering::Release);
        let [high, low] = state.lanes.lists_mut();
        taken.extend([high, &mut state.jobs, low].map(std::mem::take));
    }

    /// Wakes the threads that drain or join a closed pool, and the workers that wait for a job which will not come.
    #[inline]
    fn notify_drain(&self, state: &mut State) {
        if state.closed {
            self.notify_drain_cold(state);
        }
    }

    #[cold]
    fn notify_drain_cold(&self, state: &mut State) {
        self.drain_progress.notify_all();
        self.resident.notify_one();
        if self.is_empty(state) {
            state.wake_all();
        }
    }

    /// Waits until all threads have ended, except those that are written off, until the deadline at most.
    pub(super) fn wait_for_threads(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        while state.threads > state.written_off || state.overflow_threads > 0 {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return,
                Some(left) => mutex::wait_timeout(&self.drain_progress, state, left).0,
                None => mutex::wait(&self.drain_progress, state),
            };
        }
    }

    /// Waits until all threads have ended, except those that are written off, and joins the plain ones.
    pub(super) fn join(&self) {
        self.wait_for_threads(None);
        let mut state = self.lock();
        let (written_off, handles) = (state.written_off, std::mem::take(&mut state.handles));
        drop(state);
        for handle in handles {
            if written_off == 0 || handle.is_finished() {
                // A worker catches panics, so the thread's own result says nothing.
                let _ = handle.join();
            }
        }
    }
}
