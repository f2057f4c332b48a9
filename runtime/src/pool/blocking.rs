//! The worker threads of io, frame and process pools: named threads that take jobs from one queue, and may block, as
//! the threads behind tokio's `spawn_blocking` do. The spare threads of cpu pools run this code, too.
//!
//! # Which thread is woken
//!
//! A push wakes at most one thread, and none if a thread is on its way to the queue or spins. It wakes a parked thread,
//! else spawns one. Each thread that arrives and finds more jobs than its own wakes up to two more. So a pool of
//! hundreds of threads is at work within milliseconds when all of its jobs block.
//!
//! There is one exception, in io pools. If other workers have finished jobs while a thread was on its way, then jobs
//! are short, and more threads would add wake-ups and gain nothing. Such a thread watches the queue instead
//! ([`watch`]): it becomes a worker when no job ends for a while, or when jobs take long. If there is a watcher
//! already, it parks again. (Worker processes and frames are different: their number of jobs is chosen to use all
//! threads.)
//!
//! A thread without a job spins for a moment, parks, and ends after [`IDLE_LIMIT`], except the last
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

/// How long a thread stays without a job.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// How often the watcher looks at the queue at first.
const WATCH_PAUSE: Duration = Duration::from_micros(500);
/// How often it looks when the other workers have kept the queue short for some time.
const MAX_WATCH_PAUSE: Duration = Duration::from_millis(2);
/// The number of jobs finished, while a thread was on its way or in one pause of the watcher, from which on the workers
/// that are awake will take the next job soon.
const BUSY_JOBS: u64 = 4;
/// Jobs shorter than this gain nothing from more threads: waking a thread and parking it takes as long.
const SHORT_JOB: Duration = Duration::from_micros(20);

pub(super) fn start(core: &Arc<Core>) -> Result<(), BuildError> {
    // The first thread is spawned now: a pool that cannot have one must not be built.
    spawn::spawn_threads(core, core.queue.lock(), 1, run_worker).map_err(BuildError::Spawn)
}

#[inline]
pub(super) fn push(core: &Arc<Core>, job: Arc<dyn Job>, copies: usize) {
    match core.queue.add(job, copies) {
        Ok(mut state) if copies > 1 => {
            // A map has found that it is worth several threads. The watcher is one of them.
            if std::mem::take(&mut state.has_watcher) {
                core.queue.watcher.notify_one();
            }
            wake(core, state, WAKE_FANOUT);
        }
        Ok(state) => wake_workers(core, state),
        Err(job) => job.abandon(false),
    }
}

/// Wakes one worker for queued jobs that have a free permit, if none is on its way.
#[inline]
pub(super) fn wake_workers(core: &Arc<Core>, state: MutexGuard<'_, State>) {
    if core.queue.missing_workers(&state) == 0 || state.woken + state.starting > 0 {
        return;
    }
    // A watcher makes sure that other workers take the jobs, if there are any.
    if !state.has_watcher || state.running == 0 {
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

/// The main function of a worker thread. `finished_at_wake` is the queue's count of finished jobs when the thread was
/// planned.
pub(super) fn run_worker(core: &Arc<Core>, finished_at_wake: u64) {
    current_worker::enter(core);
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
    let (mut state, mut is_needed) = arrive(core, state, finished_at_wake);
    let mut others = if is_needed { plan_more_wakes(core, &mut state) } else { None };
    let mut idle_policy = IdlePolicy::new();
    loop {
        if let Some(others) = others.take() {
            // Before this worker takes a job: they would be woken only after it.
            drop(state);
            others.execute(core, run_worker);
            state = core.queue.lock();
        }
        if is_needed && let Some(job) = core.queue.take(&mut state) {
            drop(state);
            let ran = core.run_job(job);
            state = core.end_job(ran);
            continue;
        }
        if core.queue.has_ended(&state) {
            break;
        }
        let wakeup;
        (state, wakeup) = wait_for_job(core, state, is_needed, &sleeper, &mut idle_policy);
        match wakeup {
            Wakeup::FoundJob => {
                is_needed = true;
                // A watcher wakes others if this worker's job takes long.
                if !state.has_watcher {
                    others = plan_more_wakes(core, &mut state);
                }
            }
            Wakeup::Woken => {
                let finished_at_wake = state.jobs_finished_at_wake;
                (state, is_needed) = arrive(core, state, finished_at_wake);
                if is_needed {
                    others = plan_more_wakes(core, &mut state);
                }
            }
            Wakeup::IdleTooLong => {
                drop(state);
                core.on_stop();
                return core.queue.drain_progress.notify_all();
            }
        }
    }
    drop(state);
    core.on_stop();
    let mut state = core.queue.lock();
    state.threads -= 1;
    core.queue.drain_progress.notify_all();
}

/// Decides whether a worker that was woken is needed: `true` if it is to take jobs and wake more workers. It may watch
/// the queue for a time before it returns. `false` if it is to park again, because another thread watches the queue.
#[inline]
fn arrive<'a>(
    core: &'a Core,
    mut state: MutexGuard<'a, State>,
    finished_at_wake: u64,
) -> (MutexGuard<'a, State>, bool) {
    let finished = state.jobs_finished - finished_at_wake;
    let is_quiet = (state.jobs.is_empty() && finished < BUSY_JOBS) || (state.jobs.len() == 1 && finished == 0);
    if !is_quiet && !state.closed && finished > 0 && state.running > 0 && core.kind == Kind::Io {
        if state.has_watcher {
            return (state, false);
        }
        state = watch(core, state);
    }
    (state, true)
}

/// The workers that a worker wakes before it takes a job, if there are more jobs.
#[inline]
fn plan_more_wakes(core: &Core, state: &mut State) -> Option<WakePlan> {
    let others = core.queue.missing_workers(state).saturating_sub(1);
    (others > 0).then(|| WakePlan::new(core, state, others.min(WAKE_FANOUT)))
}

/// Watches a queue that other workers serve well. Returns when they have little to do, when they finish no job in a
/// pause, or when their jobs are long.
fn watch<'a>(core: &'a Core, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    state.has_watcher = true;
    let mut pause = WATCH_PAUSE;
    while state.has_watcher && !state.closed {
        let before = state.jobs_finished;
        state = mutex::wait_timeout(&core.queue.watcher, state, pause).0;
        let finished = state.jobs_finished - before;
        if state.jobs.is_empty() {
            if finished < BUSY_JOBS {
                break;
            }
            pause = (2 * pause).min(MAX_WATCH_PAUSE);
            continue;
        }
        let jobs = u32::try_from(finished).unwrap_or(u32::MAX);
        let running = u32::try_from(state.running.max(1)).unwrap_or(u32::MAX);
        // The average length of a job: the time of all running workers, divided by the jobs that they finished.
        if (pause * running).checked_div(jobs).is_none_or(|each| each >= SHORT_JOB) {
            break;
        }
        pause = (2 * pause).min(MAX_WATCH_PAUSE);
    }
    state.has_watcher = false;
    state
}

/// Why a worker's wait for a job has ended.
enum Wakeup {
    /// It found a job without being woken.
    FoundJob,
    /// It was woken.
    Woken,
    /// It was idle for [`IDLE_LIMIT`], and is to end. `threads` does not count it any more.
    IdleTooLong,
}

/// Waits for a job: spins for a moment, then parks.
///
/// A worker that is not needed parks although there are jobs: other workers take them, and a watcher looks after that.
fn wait_for_job<'a>(
    core: &'a Core,
    mut state: MutexGuard<'a, State>,
    is_needed: bool,
    sleeper: &Arc<Sleeper>,
    idle_policy: &mut IdlePolicy,
) -> (MutexGuard<'a, State>, Wakeup) {
    let mut was_woken = false;
    let last_wake = state.last_wake;
    if is_needed && idle_policy.should_spin(last_wake) {
        state.spinning += 1;
        drop(state);
        idle_policy.spin(&core.queue, last_wake);
        state = core.queue.lock();
        state.spinning -= 1;
    }
    // Set at first use: reading the clock takes as long as much of the rest of this function.
    let mut until = None;
    let mut is_clean = !core.cleans_up_when_idle();
    let mut ignores_jobs = !is_needed && state.has_watcher;
    let wakeup = loop {
        if (core.queue.is_ready(&state) && !ignores_jobs) || core.queue.has_ended(&state) {
            break if was_woken { Wakeup::Woken } else { Wakeup::FoundJob };
        }
        #[cfg(feature = "process")]
        if std::mem::take(&mut state.needs_cleanup) {
            until = None;
            is_clean = false;
        }
        // The last thread stays: without any, a refused thread start would leave a job that no thread runs.
        let stays = state.threads <= core.min_idle_threads();
        let has_no_deadline = stays && is_clean;
        let left = if has_no_deadline { IDLE_LIMIT } else { left_until(&mut until) };
        if left.is_zero() && !stays {
            // From here on a job that is pushed needs another thread.
            state.threads -= 1;
            break Wakeup::IdleTooLong;
        }
        if left.is_zero() && !is_clean {
            drop(state);
            core.clean_up_idle();
            is_clean = true;
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
            was_woken = true;
        }
        ignores_jobs = false;
    };
    (state, wakeup)
}

/// What is left of [`IDLE_LIMIT`], which begins at the first call.
fn left_until(until: &mut Option<Instant>) -> Duration {
    let now = Instant::now();
    until.get_or_insert(now + IDLE_LIMIT).saturating_duration_since(now)
}

/// Closes the pool, and waits until its queue is empty and its threads have ended.
pub(super) fn close_and_join(core: &Core) {
    let mut state = core.queue.lock();
    core.queue.close(&mut state);
    state.wake_all();
    core.queue.watcher.notify_all();
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
