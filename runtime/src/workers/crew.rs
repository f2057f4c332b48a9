//! A crew: named threads that take jobs from one queue, and may block.
//!
//! # Who is called
//!
//! A job that finds nobody on the way, and nobody who looks, calls one thread: one that sleeps, else a new one. Whoever
//! arrives and finds more jobs calls two more, so a crew of hundreds is at work within milliseconds when all of them
//! block. But when, while it was on its way, others came back for another job, then jobs are short, and more threads
//! would only be in the way: it then watches the queue instead, and joins in only when nothing moves for a while, or
//! when jobs are long and many.
//!
//! A thread that has done its job looks for another one for a moment, and then sleeps; after [`IDLE_LIMIT`] it ends.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::queue::{Run, State};
use super::{BuildError, Core, Kind, seat};
use crate::park;

/// How long a thread stays without work.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// How often the watching thread looks at the queue.
const WATCH: Duration = Duration::from_micros(200);
/// Jobs shorter than this gain nothing from more threads than there are.
const SHORT: Duration = Duration::from_micros(20);
/// Bytes of stack of a thread that reads what a worker process has made, which may be nested as deep as that process'
/// own stack allows. Reading takes more of it than writing. What is not used costs no memory.
const READING_STACK: usize = 64 << 20;
/// How long the queue may be before the watching thread joins in.
const LONG_QUEUE: Duration = Duration::from_millis(2);

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

/// Calls a worker for jobs that could run, if nobody is on the way.
pub(super) fn rouse(core: &Arc<Core>, state: MutexGuard<'_, State>) {
    if state.wanted() > 0 && state.rung + state.coming == 0 && !state.watched {
        call(core, state, 1);
    }
}

/// Calls up to `count` workers: those that sleep, else new ones.
fn call(core: &Arc<Core>, mut state: MutexGuard<'_, State>, count: usize) {
    let wanted = state.wanted().min(count);
    let called = state.call(wanted);
    state.called_at = state.retakes;
    if wanted > called {
        // The crew has a thread already, so a refusal costs speed alone: the others will come to the job.
        let _ = start_threads(core, state, wanted - called);
    } else {
        drop(state);
    }
    core.queue.ring(called);
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
        let mut thread = std::thread::Builder::new().name(core.thread_name(index));
        if core.kind == Kind::Process {
            thread = thread.stack_size(READING_STACK);
        }
        let spawned = thread.spawn(move || work(&crew, retakes));
        let mut state = core.queue.lock();
        match spawned {
            Ok(handle) => {
                if state.handles.len() > 2 * state.threads {
                    state.handles.retain(|old| !old.is_finished());
                }
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

/// A crew thread's life. `called_at` is the queue's count of retakes when it was called.
fn work(core: &Arc<Core>, called_at: u64) {
    seat::take(core);
    core.on_start();
    let mut state = core.queue.lock();
    state.coming -= 1;
    let (mut state, mut needed) = arrive(core, state, called_at);
    loop {
        if needed && let Some(job) = core.queue.take(&mut state) {
            drop(state);
            (state, _) = core.run_job(job);
        } else if state.closed && state.jobs.is_empty() {
            break;
        } else {
            let stay;
            (state, stay) = rest(core, state, needed);
            if !stay {
                break;
            }
            let called_at = state.called_at;
            (state, needed) = arrive(core, state, called_at);
        }
    }
    drop(state);
    core.on_stop();
    let mut state = core.queue.lock();
    state.threads -= 1;
    core.queue.gone.notify_all();
}

/// A worker that was called decides what it is good for: to work and call more, to watch, or nothing at all; `false`
/// then.
fn arrive<'a>(core: &'a Arc<Core>, mut state: MutexGuard<'a, State>, called_at: u64) -> (MutexGuard<'a, State>, bool) {
    if state.closed || state.jobs.len() < 2 {
        return (state, true);
    }
    if state.retakes != called_at {
        if state.watched {
            return (state, false);
        }
        state = watch(core, state);
    }
    if state.wanted() > 1 {
        // One job is this worker's own.
        let others = state.wanted() - 1;
        call(core, state, others.min(2));
        state = core.queue.lock();
    }
    (state, true)
}

/// Looks after a queue that others serve well, until it is empty, stands still, or is long and its jobs are too.
fn watch<'a>(core: &'a Arc<Core>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    state.watched = true;
    while !state.jobs.is_empty() && !state.closed {
        let before = state.retakes;
        state = core.queue.clock.wait_timeout(state, WATCH).unwrap_or_else(PoisonError::into_inner).0;
        let jobs = u32::try_from(state.retakes - before).unwrap_or(u32::MAX);
        let queued = u32::try_from(state.jobs.len()).unwrap_or(u32::MAX);
        let threads = u32::try_from(state.threads).unwrap_or(u32::MAX);
        // What a job takes is what the threads did in this time, shared out.
        let moves = jobs > 0;
        let long = moves && WATCH * threads / jobs >= SHORT && WATCH * (queued / jobs) >= LONG_QUEUE;
        if !moves || long {
            break;
        }
    }
    state.watched = false;
    state
}

/// Waits for a job: looks for a moment, then sleeps. `false` when the thread has waited long enough and may go.
///
/// One that was not `needed` sleeps though there are jobs: others serve them, and one of them watches.
fn rest<'a>(core: &'a Core, mut state: MutexGuard<'a, State>, needed: bool) -> (MutexGuard<'a, State>, bool) {
    state.idle += 1;
    if needed {
        state.looking += 1;
        drop(state);
        park::look(|| core.queue.looks_busy());
        state = core.queue.lock();
        state.looking -= 1;
    }
    #[cfg_attr(not(feature = "process"), allow(unused_mut, reason = "only they ask for more time"))]
    let mut until = Instant::now() + IDLE_LIMIT;
    let mut tidy = !core.has_to_tidy();
    let mut patient = !needed && state.watched;
    let stay = loop {
        if (state.is_ready() && !patient) || state.closed {
            break true;
        }
        #[cfg(feature = "process")]
        if std::mem::take(&mut state.untidy) {
            until = Instant::now() + IDLE_LIMIT;
            tidy = false;
        }
        let left = until.saturating_duration_since(Instant::now());
        // The last thread stays: with none, a refused start would leave a job to nobody.
        let stays = state.threads <= core.threads_that_stay();
        if left.is_zero() && !stays {
            break false;
        }
        if left.is_zero() && !tidy {
            // Nobody calls it meanwhile: it does not sleep.
            state.idle -= 1;
            drop(state);
            core.tidy();
            tidy = true;
            state = core.queue.lock();
            state.idle += 1;
            continue;
        }
        // One that stays sleeps without a clock; others may leave, and it may then be the last.
        let bell = &core.queue.bell;
        let timed_out;
        (state, timed_out) = if stays && tidy {
            (bell.wait(state).unwrap_or_else(PoisonError::into_inner), false)
        } else {
            let (state, timeout) = bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            (state, timeout.timed_out())
        };
        if !timed_out {
            // The call is answered, though a busy thread may have taken the job.
            state.rung = state.rung.saturating_sub(1);
        }
        patient = false;
    };
    state.idle -= 1;
    (state, stay)
}

pub(super) fn finish(core: &Core) {
    let mut state = core.queue.lock();
    state.closed = true;
    core.queue.bell.notify_all();
    core.queue.clock.notify_all();
    drop(state);
    if !seat::is_worker_of(core) {
        // What it waits for may wait for this worker's pool.
        seat::wait_by(|| {
            core.queue.join();
            if core.kind == Kind::Process {
                // Callers may still use worker processes without a thread of the pool.
                core.queue.wait_until_unused();
            }
        });
    }
}
