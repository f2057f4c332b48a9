//! The queue of a pool: jobs in order, and the books on who may run them.
//!
//! A worker needs a *permit* to run a job, and a pool has as many as it has threads. A worker that waits for
//! something gives its permit back, so that another thread can go on with the queue, and asks for one again before
//! it goes on itself. So waiting never uses up a pool, and no more threads run than the user said.
//!
//! A worker of a crew of frames may wait for a thread of the user's, and keep its permit. If what that thread cuts has been
//! begun by a worker that needs a permit to go on, no permit would ever be free: it [overdraws](Queue::end_blocking) then.

pub(super) mod permit;
pub(super) mod sleepers;
pub(super) mod state;
mod sweep;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::job::Job;
use crate::sys::clock::Moment;
use crate::sys::{park, reserve};
use permit::{Permit, PermitState};
use state::State;

/// How long a worker that has waited stands in line while no other gives its permit back, before it goes on without one.
/// Longer than most chunks take: where those that have the permits compute, it is one too many.
const OVERDRAW_AFTER: Duration = Duration::from_secs(1);

/// Jobs in order. One lock: it is held for some ten nanoseconds at a time.
pub(super) struct Queue {
    state: Mutex<State>,
    /// How many jobs there are, for threads that look without the lock.
    queued: AtomicUsize,
    /// Tasks among them that have ended: see `sweep.rs`.
    pub(super) dead_tasks: AtomicIsize,
    /// Workers that will take a job at once, though they have not ended their last one.
    arriving: AtomicUsize,
    /// Until when a worker may be on its way to another core, in ticks.
    migrating_until: AtomicU64,
    /// Rings for the cpu pool's resident when a job comes, and when the pool closes.
    pub(super) resident: Condvar,
    /// The watching thread's clock. It rings when a map wants that thread, and at the end.
    pub(super) watcher: Condvar,
    /// Rings for a worker that has waited and needs a permit again.
    permit_returned: Condvar,
    /// Rings when a worker leaves, or a job ends while somebody drains the pool.
    pub(super) drain_progress: Condvar,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State::new(limit)),
            queued: AtomicUsize::new(0),
            dead_tasks: AtomicIsize::new(0),
            arriving: AtomicUsize::new(0),
            migrating_until: AtomicU64::new(0),
            resident: Condvar::new(),
            watcher: Condvar::new(),
            permit_returned: Condvar::new(),
            drain_progress: Condvar::new(),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job `copies` times, and gives the locked state for what else there is to do; gives the job back if
    /// the pool is closed.
    #[inline]
    pub(super) fn add(&self, job: Arc<dyn Job>, copies: usize) -> Result<MutexGuard<'_, State>, Arc<dyn Job>> {
        let mut state = reserve::lock_with_room(|| self.lock(), |state| &mut state.jobs, copies);
        if state.closed {
            return Err(job);
        }
        for _ in 1..copies {
            state.jobs.push_back(Arc::clone(&job));
        }
        state.jobs.push_back(job);
        self.queued.store(state.jobs.len(), Ordering::Release);
        Ok(state)
    }

    /// Takes the next job and a permit for it.
    #[inline]
    pub(super) fn take(&self, state: &mut State) -> Option<Arc<dyn Job>> {
        if !state.has_permit() {
            return None;
        }
        let job = state.jobs.pop_front()?;
        self.queued.store(state.jobs.len(), Ordering::Release);
        state.running += 1;
        Some(job)
    }

    /// Takes copies of the last job back.
    pub(super) fn retract_copies(&self, job: &Arc<dyn Job>) {
        let mut state = self.lock();
        while state.jobs.back().is_some_and(|last| Arc::ptr_eq(last, job)) {
            state.jobs.pop_back();
        }
        // Two are the caller's; others are in the queue, or with workers that are about to drop them.
        let left = Arc::strong_count(job).saturating_sub(2);
        let is_crowded = left > 0 && self.count_closed_copies(&mut state, left);
        self.after_removal(&mut state);
        drop(state);
        if is_crowded {
            self.sweep();
        }
    }

    /// Jobs were taken out that nobody runs.
    pub(super) fn after_removal(&self, state: &mut State) {
        self.queued.store(state.jobs.len(), Ordering::Release);
        self.notify_drain(state);
    }

    /// Takes the next job if it is one to be sent along with others; on the taker's own permit.
    #[cfg(feature = "process")]
    pub(super) fn take_pipelined(&self) -> Option<Arc<dyn Job>> {
        let mut state = self.lock();
        state.jobs.front()?.can_be_pipelined().then_some(())?;
        let job = state.jobs.pop_front();
        self.queued.store(state.jobs.len(), Ordering::Release);
        job
    }

    /// Locks the queue once it has room for so many jobs more: nothing is allocated under the lock.
    #[cfg(feature = "process")]
    pub(super) fn lock_with_room(&self, jobs: usize) -> MutexGuard<'_, State> {
        reserve::lock_with_room(|| self.lock(), |state| &mut state.jobs, jobs)
    }

    /// Puts jobs back in front of all others, in their order; there is [room](Self::lock_with_room) for them.
    #[cfg(feature = "process")]
    pub(super) fn requeue_front(&self, state: &mut State, jobs: &mut Vec<Arc<dyn Job>>) {
        jobs.drain(..).rev().for_each(|job| state.jobs.push_front(job));
        self.queued.store(state.jobs.len(), Ordering::Release);
    }

    /// Has a thread that rests look after what is to be given back, in a while.
    #[cfg(feature = "process")]
    pub(super) fn request_cleanup(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.needs_cleanup, true) {
            state.sleepers.notify_last();
        }
    }

    /// Workers that there are jobs and permits for, and that nobody has called yet.
    #[inline]
    pub(super) fn missing_workers(&self, state: &State) -> usize {
        let expected = self.arriving.load(Ordering::Relaxed);
        // Those who are expected give their permits back before they take a job.
        let permits = (state.limit + expected).saturating_sub(state.running + state.reacquiring);
        let on_the_way = expected + state.woken + state.starting + state.injected;
        state.jobs.len().min(permits).saturating_sub(on_the_way + state.spinning + state.rayon_spinning)
    }

    /// A worker will be here at once; its permit will be free then.
    #[inline]
    pub(super) fn announce_arrival(&self) {
        self.arriving.fetch_add(1, Ordering::Relaxed);
    }

    /// It is here, or not expected any more; under the lock, so that whoever counted on it has added a job before.
    #[inline]
    pub(super) fn end_arrival(&self) {
        self.arriving.fetch_sub(1, Ordering::Relaxed);
    }

    /// A worker is about to move to another core, and will be at the queue in that time.
    pub(super) fn announce_migration(&self, time: Duration) {
        self.migrating_until.store(Moment::now().after(time).ticks(), Ordering::Relaxed);
    }

    /// How long a worker may still take that moves to another core.
    #[inline]
    pub(super) fn migration_time_left(&self) -> Option<Duration> {
        let until = self.migrating_until.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        let left = Moment::from_ticks(until).since(Moment::now());
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// Jobs that wait, seen without the lock.
    #[inline]
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// Takes all jobs out.
    pub(super) fn take_all(&self, state: &mut State) -> VecDeque<Arc<dyn Job>> {
        self.queued.store(0, Ordering::Release);
        std::mem::take(&mut state.jobs)
    }

    /// Whether there is a job, seen without the lock.
    pub(super) fn has_queued_jobs(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }

    /// A job has ended: its permit goes to a worker that returns, or back to the pool.
    #[inline]
    pub(super) fn release_permit(&self, state: &mut State) {
        state.running -= 1;
        if state.reacquiring > 0 {
            state.handoffs += 1;
            self.permit_returned.notify_one();
        }
        self.notify_drain(state);
    }

    /// Wakes those who wait for the end of a closed pool, or for a job that will not come.
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
        if state.jobs.is_empty() {
            state.wake_all();
        }
    }

    /// Gives the current worker's permit back while it waits; `None` if it has lost it.
    pub(super) fn begin_blocking(&self, permit: Option<&Permit>) -> Option<MutexGuard<'_, State>> {
        // Before the lock is taken: the thread's first waker is allocated.
        let waker = park::waker();
        let mut state = reserve::lock_with_room(|| self.lock(), |state| &mut state.blocked_wakers, 1);
        if permit::is_revoked(permit) {
            return None;
        }
        permit::set_state(permit, PermitState::Released);
        state.blocked += 1;
        state.blocked_wakers.push(waker);
        self.release_permit(&mut state);
        Some(state)
    }

    /// Waits for a permit for a worker that has waited, unless it has lost its own. If it loses that meanwhile, somebody
    /// must be called for what nobody could begin while it stood first in line.
    ///
    /// With `overdraws` it takes one more than there are when none is given back for [`OVERDRAW_AFTER`].
    pub(super) fn end_blocking(&self, permit: Option<&Permit>, overdraws: bool) -> Option<MutexGuard<'_, State>> {
        let waker = park::waker();
        let mut state = self.lock();
        if let Some(place) = state.blocked_wakers.iter().rposition(|waiter| waiter.will_wake(&waker)) {
            state.blocked_wakers.swap_remove(place);
        }
        if permit::is_revoked(permit) {
            return None;
        }
        state.blocked -= 1;
        if !state.has_permit() {
            permit::set_state(permit, PermitState::Reacquiring);
            state.reacquiring += 1;
            while state.running >= state.limit && !permit::is_revoked(permit) {
                if !overdraws {
                    state = self.permit_returned.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                let before = state.handoffs;
                let waited =
                    self.permit_returned.wait_timeout(state, OVERDRAW_AFTER).unwrap_or_else(PoisonError::into_inner);
                state = waited.0;
                if waited.1.timed_out() && state.handoffs == before {
                    // The next one that overdraws waits for as long again.
                    state.handoffs += 1;
                    break;
                }
            }
            state.reacquiring -= 1;
            if permit::is_revoked(permit) {
                // The sleeper may have rung for another.
                self.permit_returned.notify_one();
                if state.closed {
                    self.drain_progress.notify_all();
                }
                return Some(state);
            }
        }
        permit::set_state(permit, PermitState::Held);
        state.running += 1;
        None
    }

    /// Waits until nobody has a permit any more.
    pub(super) fn wait_until_no_permit_is_held(&self) {
        let mut state = self.lock();
        while state.running > 0 {
            state = self.drain_progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives up a worker whose job has run out of time, if `is_late` says so still: another may have its permit.
    ///
    /// The question is asked under the lock, so that a worker that hears of it finds the books in order.
    pub(super) fn write_off(&self, permit: &Permit, is_late: impl FnOnce() -> bool) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if !is_late() {
            return None;
        }
        state.written_off += 1;
        match permit.state() {
            PermitState::Held => self.release_permit(&mut state),
            PermitState::Released => state.blocked -= 1,
            PermitState::Reacquiring => self.permit_returned.notify_all(),
            PermitState::Revoked => {}
        }
        permit.set(PermitState::Revoked);
        if state.closed {
            self.drain_progress.notify_all();
        }
        Some(state)
    }

    /// Waits until the last thread has left, but those that are lost, and joins the plain ones.
    pub(super) fn join(&self) {
        let mut state = self.lock();
        while state.threads > state.written_off || state.overflow_threads > 0 {
            state = self.drain_progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (lost, handles) = (state.written_off, std::mem::take(&mut state.handles));
        drop(state);
        for handle in handles {
            if lost == 0 || handle.is_finished() {
                let _ = handle.join();
            }
        }
    }
}
