//! A crew: named threads that take jobs from one queue, and may block.
//!
//! # How it grows
//!
//! A job that finds no idle thread starts one. A thread that arrives and finds more jobs starts two more, so a crew
//! of hundreds is there within a millisecond when all of them block. But when, while it was on its way, others came
//! back for another job, then jobs are short and more threads would only be in the way: the newcomer then watches the
//! queue instead, and joins in only when nothing moves for a while or the queue grows long.
//!
//! A thread that finds no job for [`IDLE_LIMIT`] ends. One plain queue beats spinning workers here: work that blocks
//! comes seldom, and a spinning thread takes the core that the caller needs.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::queue::{Run, State};
use super::{BuildError, Core, seat};

/// How long a thread stays without work.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// How long the queue may stand still before the watching thread joins in.
const STANDSTILL: Duration = Duration::from_micros(200);

pub(super) fn start(core: &Arc<Core>) -> Result<(), BuildError> {
    // The first thread starts now: a pool that cannot have one must not be built.
    start_threads(core, core.queue.lock(), 1).map_err(BuildError::Spawn)
}

pub(super) fn push(core: &Arc<Core>, job: Arc<dyn Run>, copies: usize) {
    match core.queue.add(job, copies) {
        Ok(state) => rouse(core, state),
        Err(job) => job.abandon(false),
    }
}

/// Calls workers for jobs that could run.
pub(super) fn rouse(core: &Arc<Core>, mut state: MutexGuard<'_, State>) {
    let mut wanted = state.wanted();
    wanted -= state.ring(wanted, &core.queue.bell);
    if wanted > 0 && state.coming == 0 && !state.watched {
        // The crew has a thread already, so a refusal costs speed alone: the others will come to the job.
        let _ = start_threads(core, state, 1);
    }
}

/// Starts up to `count` threads, as far as the limit allows; those that step aside do not count.
pub(super) fn start_threads(core: &Arc<Core>, mut state: MutexGuard<'_, State>, count: usize) -> std::io::Result<()> {
    let count = count.min((core.spare_limit() + state.aside + state.lost).saturating_sub(state.threads));
    let first = state.next_index;
    let retakes = state.retakes;
    state.threads += count;
    state.coming += count;
    state.next_index += count;
    drop(state);
    for index in first..first + count {
        let crew = Arc::clone(core);
        let spawned = std::thread::Builder::new().name(core.thread_name(index)).spawn(move || work(&crew, retakes));
        let mut state = core.queue.lock();
        match spawned {
            Ok(handle) => {
                state.handles.retain(|old| !old.is_finished());
                state.handles.push(handle);
            }
            Err(error) => {
                let refused = first + count - index;
                state.threads -= refused;
                state.coming -= refused;
                core.queue.gone.notify_all();
                return Err(error);
            }
        }
    }
    Ok(())
}

/// A crew thread's life. `retakes` is the queue's count when it was called.
fn work(core: &Arc<Core>, retakes: u64) {
    seat::take(core);
    core.on_start();
    let mut state = core.queue.lock();
    state.coming -= 1;
    if state.retakes == retakes {
        if !state.jobs.is_empty() && state.idle == state.rung {
            // Leave a job for oneself.
            let more = state.wanted().saturating_sub(1).min(2);
            let _ = start_threads(core, state, more);
            state = core.queue.lock();
        }
    } else if !state.watched {
        state = watch(core, state);
    }
    loop {
        if let Some(job) = state.take() {
            drop(state);
            core.run_job(job);
            state = core.queue.lock();
            state.retakes += 1;
        } else if state.closed && state.jobs.is_empty() {
            break;
        } else {
            let (next, stay) = rest(core, state);
            state = next;
            if !stay {
                break;
            }
        }
    }
    drop(state);
    core.on_stop();
    let mut state = core.queue.lock();
    state.threads -= 1;
    core.queue.gone.notify_all();
}

/// Looks after a queue that others serve well, until it stands still, grows long, or is empty.
fn watch<'a>(core: &'a Arc<Core>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    state.watched = true;
    while !state.jobs.is_empty() && !state.closed {
        let before = state.retakes;
        state = core.queue.clock.wait_timeout(state, STANDSTILL).unwrap_or_else(PoisonError::into_inner).0;
        if state.retakes == before || state.jobs.len() > state.threads {
            break;
        }
    }
    state.watched = false;
    if state.wanted() > 1 && state.idle == state.rung {
        // Another newcomer, who will watch in turn.
        let _ = start_threads(core, state, 1);
        state = core.queue.lock();
    }
    state
}

/// Sleeps until a job may be there; `false` when the thread has waited long enough and may go.
fn rest<'a>(core: &'a Core, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
    let until = Instant::now() + IDLE_LIMIT;
    state.idle += 1;
    let stay = loop {
        let left = until.saturating_duration_since(Instant::now());
        let woken = core.queue.bell.wait_timeout(state, left);
        state = woken.unwrap_or_else(PoisonError::into_inner).0;
        // A busy thread may have taken the job that this one was rung for; then the ring alone is answered.
        state.rung = state.rung.saturating_sub(1);
        if state.is_ready() || state.closed {
            break true;
        }
        // The last thread stays: with none, a refused start would leave a job to nobody.
        if left.is_zero() && state.threads > core.threads_that_stay() {
            break false;
        }
    };
    state.idle -= 1;
    state.rung = state.rung.min(state.idle);
    (state, stay)
}

pub(super) fn finish(core: &Core) {
    let mut state = core.queue.lock();
    state.closed = true;
    core.queue.bell.notify_all();
    core.queue.clock.notify_all();
    drop(state);
    if !seat::is_worker_of(core) {
        core.queue.join();
    }
}
