//! The worker threads of io, frame and process pools: named threads that take jobs from one queue, and may block, as
//! the threads behind tokio's `spawn_blocking` do. The spare threads of cpu pools run this code, too.
//!
//! # Which thread is woken
//!
//! A push wakes at most one thread, and none if a thread is on its way to the queue or spins. It wakes a parked thread,
//! else spawns one. Each thread that arrives and finds more jobs than its own wakes up to two more. So a pool of
//! hundreds of threads is at work within milliseconds when all of its jobs block.
//!
//! A thread without a job spins for a moment, parks, and ends after [`idle_limit`](Core::idle_limit), except the last
//! [`min_idle_threads`](Core::min_idle_threads).

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::idle::IdlePolicy;
use super::job::Job;
use super::spawn::{self, WakePlan};
use super::{BuildError, Core, Kind, current_worker};
use crate::pool::queue::sleepers::{Sleeper, WAKE_FANOUT};
use crate::pool::queue::state::State;
use crate::sys::clock::Moment;
use crate::sys::mutex;
use crate::sys::reserve;

pub(super) fn start(core: &Arc<Core>) -> Result<(), BuildError> {
    // The first thread is spawned now: a pool that cannot have one must not be built.
    spawn::spawn_threads(core, core.queue.lock(), 1, run_worker).map_err(BuildError::Spawn)
}

#[inline]
pub(super) fn push(core: &Arc<Core>, job: Arc<dyn Job>, copies: usize) {
    match core.queue.add(job, copies) {
        // A map has found that it is worth several threads.
        Ok(state) if copies > 1 => wake(core, state, WAKE_FANOUT),
        Ok(state) => wake_workers(core, state),
        Err(job) => job.abandon(false),
    }
}

/// Wakes one worker for queued jobs that have a free permit, if none is on its way.
#[inline]
pub(super) fn wake_workers(core: &Arc<Core>, state: MutexGuard<'_, State>) {
    if core.queue.missing_workers(&state) > 0 && state.woken + state.starting == 0 {
        wake(core, state, 1);
    }
}

/// Wakes up to `count` workers.
#[inline]
fn wake(core: &Arc<Core>, mut state: MutexGuard<'_, State>, count: usize) {
    let plan = WakePlan::new(core, &mut state, count);
    drop(state);
    plan.execute(core, run_worker);
}

/// The main function of a worker thread.
pub(super) fn run_worker(core: &Arc<Core>, index: usize) {
    current_worker::enter(core, index);
    current_worker::join_broadcasts(core);
    let sleeper = Arc::new(Sleeper::default());
    let mut state = core.queue.lock();
    state.starting -= 1;
    if core.has_start_hook() {
        // The hook may take long. Parked threads are woken for the job meanwhile.
        state.in_start_hook += 1;
        wake_workers(core, state);
        core.on_start();
        state = core.queue.lock();
        state.in_start_hook -= 1;
    }
    let mut idle_policy = IdlePolicy::new();
    loop {
        if let Some(others) = plan_more_wakes(core, &mut state) {
            // Before this worker takes a job: they would be woken only after it.
            drop(state);
            others.execute(core, run_worker);
            state = core.queue.lock();
        }
        while !core.has_broadcast()
            && let Some(job) = core.queue.take(&mut state)
        {
            drop(state);
            let ran = core.run_job(job);
            state = core.end_job(ran);
        }
        if core.has_broadcast() {
            drop(state);
            core.run_broadcasts();
            state = core.queue.lock();
            continue;
        }
        if core.queue.has_ended(&state) {
            break;
        }
        let has_timed_out;
        (state, has_timed_out) = wait_for_job(core, state, &sleeper, &mut idle_policy);
        if has_timed_out {
            drop(state);
            core.on_stop();
            return core.queue.drain_progress.notify_all();
        }
    }
    drop(state);
    core.on_stop();
    let mut state = core.queue.lock();
    state.threads -= 1;
    core.queue.drain_progress.notify_all();
}

/// The workers that a worker wakes before it takes a job, if there are more jobs.
#[inline]
fn plan_more_wakes(core: &Core, state: &mut State) -> Option<WakePlan> {
    let others = core.queue.missing_workers(state).saturating_sub(1);
    (others > 0).then(|| WakePlan::new(core, state, others.min(WAKE_FANOUT)))
}

/// Waits for a job: spins for a moment, then parks. Returns `true` if the worker was idle for its [limit](Core::idle_limit) and
/// is to end; `threads` does not count it any more then.
fn wait_for_job<'a>(
    core: &'a Core,
    mut state: MutexGuard<'a, State>,
    sleeper: &Arc<Sleeper>,
    idle_policy: &mut IdlePolicy,
) -> (MutexGuard<'a, State>, bool) {
    if idle_policy.should_spin() {
        state.spinning += 1;
        drop(state);
        idle_policy.spin(&core.queue);
        state = core.queue.lock();
        state.spinning -= 1;
    }
    // Set at first use: reading the clock takes as long as much of the rest of this function.
    let mut until = None;
    let mut is_clean = !core.cleans_up_when_idle();
    loop {
        if core.queue.is_ready(&state) || core.queue.has_ended(&state) || core.has_broadcast() {
            return (state, false);
        }
        // The last thread stays: without any, a refused thread start would leave a job that no thread runs.
        let stays = state.threads <= core.min_idle_threads();
        let has_no_deadline = stays && is_clean;
        let left = if has_no_deadline { core.idle_limit() } else { left_until(core.idle_limit(), &mut until) };
        if left.is_zero() && !stays {
            // From here on a job that is pushed needs another thread.
            state.threads -= 1;
            return (state, true);
        }
        if left.is_zero() && !is_clean {
            drop(state);
            (is_clean, until) = (!core.clean_up_idle(), None);
            state = core.queue.lock();
            continue;
        }
        if state.sleepers.0.len() == state.sleepers.0.capacity() {
            drop(state);
            state = reserve::lock_with_capacity(|| core.queue.lock(), |state| &mut state.sleepers.0, 1);
            continue;
        }
        // A thread that stays parks without a deadline. Others may end, and it may then be the last.
        state.sleepers.push(sleeper);
        let parked_at = Moment::now();
        state = if has_no_deadline {
            mutex::wait(&sleeper.condvar, state)
        } else {
            mutex::wait_timeout(&sleeper.condvar, state, left).0
        };
        if !state.sleepers.remove(sleeper) {
            // It was woken, although a running worker may have taken the job meanwhile.
            state.woken -= 1;
            idle_policy.record_sleep(parked_at, state.last_wake);
            (until, is_clean) = (None, !core.cleans_up_when_idle());
        }
    }
}

/// What is left of `limit`, which begins at the first call.
fn left_until(limit: Duration, until: &mut Option<Instant>) -> Duration {
    let now = Instant::now();
    match until {
        Some(until) => until.saturating_duration_since(now),
        // A limit that is longer than the clock can count never ends.
        None => now.checked_add(limit).map_or(limit, |end| until.insert(end).saturating_duration_since(now)),
    }
}

/// Closes the pool, and waits until its queue is empty and its threads have ended.
pub(super) fn close_and_join(core: &Core) {
    let mut state = core.queue.lock();
    core.queue.close(&mut state);
    state.wake_all();
    drop(state);
    if !current_worker::is_worker_of(core) {
        // The jobs may wait for the pool that this thread works for, so this thread gives its permit back.
        current_worker::blocking_section(|| {
            core.queue.join();
            if core.kind == Kind::Process {
                // Callers may still run calls on worker processes directly, without a thread of the pool.
                core.queue.wait_until_no_permit_is_held();
            }
        });
    }
}
