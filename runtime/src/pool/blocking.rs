//! A crew: named threads that take jobs from one queue, and may block.
//!
//! # Who is called
//!
//! A job that finds nobody on the way, and nobody who looks, calls one thread: one that sleeps, else a new one. Whoever
//! arrives and finds more jobs calls two more, so a crew of hundreds is at work within milliseconds when all of them
//! block. But when, while it was on its way, others came back for another job, then jobs are short, and more threads
//! would only be in the way: it then watches the queue instead, and joins in only when nothing moves for a while, or
//! when jobs take long. (That is for jobs that anybody may submit. Worker processes and chunks of frames come by
//! number.)
//!
//! A thread that has done its job looks for another one for a moment, and then sleeps; after [`IDLE_LIMIT`] it ends.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::idle::IdlePolicy;
use super::job::Job;
use super::spawn::{self, WakePlan};
use super::{BuildError, Core, Kind, current_worker};
use crate::pool::queue::sleepers::{Sleeper, WAKE_FANOUT};
use crate::pool::queue::state::State;
use crate::sys::clock::Moment;
use crate::sys::reserve;

/// How long a thread stays without work.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// How often the watching thread looks at the queue.
const WATCH_PAUSE: Duration = Duration::from_micros(500);
/// How often it does when the others have served it well for some time.
const MAX_WATCH_PAUSE: Duration = Duration::from_millis(2);
/// So many jobs, while a thread comes or in that time, and those who are awake will be at the next one soon.
const BUSY_JOBS: u64 = 4;
/// Jobs shorter than this gain nothing from more threads than there are: to wake one and to let it go takes as long.
const SHORT_JOB: Duration = Duration::from_micros(20);

pub(super) fn start(core: &Arc<Core>) -> Result<(), BuildError> {
    // The first thread starts now: a pool that cannot have one must not be built.
    spawn::spawn_threads(core, core.queue.lock(), 1, run_worker).map_err(BuildError::Spawn)
}

#[inline]
pub(super) fn push(core: &Arc<Core>, job: Arc<dyn Job>, copies: usize) {
    match core.queue.add(job, copies) {
        Ok(mut state) if copies > 1 => {
            // A map has found that it is worth several threads: whoever watches is one of them.
            if std::mem::take(&mut state.has_watcher) {
                core.queue.watcher.notify_one();
            }
            wake(core, state, WAKE_FANOUT);
        }
        Ok(state) => wake_workers(core, state),
        Err(job) => job.abandon(false),
    }
}

/// Calls a worker for jobs that could run, if nobody is on the way.
#[inline]
pub(super) fn wake_workers(core: &Arc<Core>, state: MutexGuard<'_, State>) {
    if core.queue.missing_workers(&state) == 0 || state.woken + state.starting > 0 {
        return;
    }
    // Who watches sees to it that the others are at it, if there are others.
    if !state.has_watcher || state.busy() == 0 {
        wake(core, state, 1);
    }
}

/// Calls up to `count` workers.
#[inline]
fn wake(core: &Arc<Core>, mut state: MutexGuard<'_, State>, count: usize) {
    let called = WakePlan::new(core, &mut state, count);
    drop(state);
    called.execute(core, run_worker);
}

/// A crew thread's life. `called_at` is the queue's count of jobs_finished when it was called.
pub(super) fn run_worker(core: &Arc<Core>, called_at: u64) {
    current_worker::enter(core);
    let sleeper = Arc::new(Sleeper::default());
    let mut state = core.queue.lock();
    state.starting -= 1;
    if core.has_start_hook() {
        // Who sleeps must not wait for a hook.
        state.in_start_hook += 1;
        wake_workers(core, state);
        core.on_start();
        state = core.queue.lock();
        state.in_start_hook -= 1;
    }
    let (mut state, mut needed) = arrive(core, state, called_at);
    let mut others = if needed { plan_more_wakes(core, &mut state) } else { None };
    let mut idle_policy = IdlePolicy::new();
    loop {
        if let Some(others) = others.take() {
            // Before it takes a job, which would wait for these calls.
            drop(state);
            others.execute(core, run_worker);
            state = core.queue.lock();
        }
        if needed && let Some(job) = core.queue.take(&mut state) {
            drop(state);
            (state, _) = core.run_job(job);
            continue;
        }
        if state.closed && state.jobs.is_empty() {
            break;
        }
        let wakeup;
        (state, wakeup) = wait_for_job(core, state, needed, &sleeper, &mut idle_policy);
        match wakeup {
            Wakeup::FoundJob => {
                needed = true;
                // Who watches calls others if this one's job takes long.
                if !state.has_watcher {
                    others = plan_more_wakes(core, &mut state);
                }
            }
            Wakeup::Woken => {
                let called_at = state.jobs_finished_at_wake;
                (state, needed) = arrive(core, state, called_at);
                if needed {
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

/// A worker that was called decides what it is good for: to work and call more, to watch, or nothing at all; `false`
/// then.
#[inline]
fn arrive<'a>(core: &'a Core, mut state: MutexGuard<'a, State>, called_at: u64) -> (MutexGuard<'a, State>, bool) {
    let jobs_finished = state.jobs_finished - called_at;
    let few = (state.jobs.is_empty() && jobs_finished < BUSY_JOBS) || (state.jobs.len() == 1 && jobs_finished == 0);
    if !few && !state.closed && jobs_finished > 0 && state.busy() > 0 && core.kind == Kind::Io {
        if state.has_watcher {
            return (state, false);
        }
        state = watch(core, state);
    }
    (state, true)
}

/// Whom a worker that is about to take a job calls if there are others.
#[inline]
fn plan_more_wakes(core: &Core, state: &mut State) -> Option<WakePlan> {
    let others = core.queue.missing_workers(state).saturating_sub(1);
    (others > 0).then(|| WakePlan::new(core, state, others.min(WAKE_FANOUT)))
}

/// RetryTimer after a queue that others serve well, until they have little to do, it stands still, or its jobs are long.
fn watch<'a>(core: &'a Core, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    state.has_watcher = true;
    let mut pause = WATCH_PAUSE;
    while state.has_watcher && !state.closed {
        let before = state.jobs_finished;
        state = core.queue.watcher.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        let moves = state.jobs_finished - before;
        if state.jobs.is_empty() {
            if moves < BUSY_JOBS {
                break;
            }
            pause = (2 * pause).min(MAX_WATCH_PAUSE);
            continue;
        }
        let jobs = u32::try_from(moves).unwrap_or(u32::MAX);
        let busy = u32::try_from(state.busy().max(1)).unwrap_or(u32::MAX);
        // What a job takes is what those who work did in this time, shared out.
        if (pause * busy).checked_div(jobs).is_none_or(|each| each >= SHORT_JOB) {
            break;
        }
        pause = (2 * pause).min(MAX_WATCH_PAUSE);
    }
    state.has_watcher = false;
    state
}

/// How a worker's rest ended.
enum Wakeup {
    /// It saw a job itself.
    FoundJob,
    /// It was called.
    Woken,
    /// It has waited long enough, and may go.
    IdleTooLong,
}

/// Waits for a job: looks for a moment, then sleeps.
///
/// One that was not `needed` sleeps though there are jobs: others serve them, and one of them watches.
fn wait_for_job<'a>(
    core: &'a Core,
    mut state: MutexGuard<'a, State>,
    needed: bool,
    sleeper: &Arc<Sleeper>,
    idle_policy: &mut IdlePolicy,
) -> (MutexGuard<'a, State>, Wakeup) {
    let mut called = false;
    let last_wake = state.last_wake;
    if needed && idle_policy.should_spin(last_wake) {
        state.spinning += 1;
        drop(state);
        idle_policy.spin(&core.queue, last_wake);
        state = core.queue.lock();
        state.spinning -= 1;
    }
    // The clock is read when it is needed: reading it takes as long as much of the rest of this.
    let mut until = None;
    let mut tidy = !core.cleans_up_when_idle();
    let mut patient = !needed && state.has_watcher;
    let wakeup = loop {
        if (state.is_ready() && !patient) || (state.closed && state.jobs.is_empty()) {
            break if called { Wakeup::Woken } else { Wakeup::FoundJob };
        }
        #[cfg(feature = "process")]
        if std::mem::take(&mut state.needs_cleanup) {
            until = None;
            tidy = false;
        }
        // The last thread stays: with none, a refused start would leave a job to nobody.
        let stays = state.threads <= core.min_idle_threads();
        let has_time = stays && tidy;
        let left = if has_time { IDLE_LIMIT } else { left_until(&mut until) };
        if left.is_zero() && !stays {
            // From here on it serves nobody: a job that comes now needs another thread.
            state.threads -= 1;
            break Wakeup::IdleTooLong;
        }
        if left.is_zero() && !tidy {
            drop(state);
            core.clean_up_idle();
            tidy = true;
            state = core.queue.lock();
            continue;
        }
        if state.sleepers.0.len() == state.sleepers.0.capacity() {
            drop(state);
            state = reserve::lock_with_room(|| core.queue.lock(), |state| &mut state.sleepers.0, 1);
            continue;
        }
        // One that stays sleeps without a clock; others may leave, and it may then be the last.
        state.sleepers.push(sleeper);
        let asleep = Moment::now();
        state = if has_time {
            sleeper.condvar.wait(state).unwrap_or_else(PoisonError::into_inner)
        } else {
            sleeper.condvar.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
        };
        if !state.sleepers.remove(sleeper) {
            // The call is answered, though a busy thread may have taken the job.
            state.woken -= 1;
            idle_policy.record_sleep(asleep, state.last_wake);
            called = true;
        }
        patient = false;
    };
    (state, wakeup)
}

/// What is left of the time that a thread stays without work.
fn left_until(until: &mut Option<Instant>) -> Duration {
    let now = Instant::now();
    until.get_or_insert(now + IDLE_LIMIT).saturating_duration_since(now)
}

pub(super) fn close_and_join(core: &Core) {
    let mut state = core.queue.lock();
    state.closed = true;
    state.wake_all();
    core.queue.watcher.notify_all();
    drop(state);
    if !current_worker::is_worker_of(core) {
        // What it waits for may wait for this worker's pool.
        current_worker::blocking_section(|| {
            core.queue.join();
            if core.kind == Kind::Process {
                // Callers may still use worker processes without a thread of the pool.
                core.queue.wait_until_no_permit_is_held();
            }
        });
    }
}
