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

use super::idle::Patience;
use super::job::Job;
use super::spawn::{self, Summons};
use super::{BuildError, Core, Kind, current_worker};
use crate::pool::queue::sleepers::{Bell, CHAIN};
use crate::pool::queue::state::State;
use crate::sys::clock::Moment;
use crate::sys::reserve;

/// How long a thread stays without work.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// How often the watching thread looks at the queue.
const WATCH: Duration = Duration::from_micros(500);
/// How often it does when the others have served it well for some time.
const RELAXED: Duration = Duration::from_millis(2);
/// So many jobs, while a thread comes or in that time, and those who are awake will be at the next one soon.
const BRISK: u64 = 4;
/// Jobs shorter than this gain nothing from more threads than there are: to wake one and to let it go takes as long.
const SHORT: Duration = Duration::from_micros(20);

pub(super) fn start(core: &Arc<Core>) -> Result<(), BuildError> {
    // The first thread starts now: a pool that cannot have one must not be built.
    spawn::start_threads(core, core.queue.lock(), 1, work).map_err(BuildError::Spawn)
}

#[inline]
pub(super) fn push(core: &Arc<Core>, job: Arc<dyn Job>, copies: usize) {
    match core.queue.add(job, copies) {
        Ok(mut state) if copies > 1 => {
            // A map has found that it is worth several threads: whoever watches is one of them.
            if std::mem::take(&mut state.watched) {
                core.queue.clock.notify_one();
            }
            call(core, state, CHAIN);
        }
        Ok(state) => rouse(core, state),
        Err(job) => job.abandon(false),
    }
}

/// Calls a worker for jobs that could run, if nobody is on the way.
#[inline]
pub(super) fn rouse(core: &Arc<Core>, state: MutexGuard<'_, State>) {
    if core.queue.wanted(&state) == 0 || state.rung + state.coming > 0 {
        return;
    }
    // Who watches sees to it that the others are at it, if there are others.
    if !state.watched || state.busy() == 0 {
        call(core, state, 1);
    }
}

/// Calls up to `count` workers.
#[inline]
fn call(core: &Arc<Core>, mut state: MutexGuard<'_, State>, count: usize) {
    let called = Summons::of(core, &mut state, count);
    drop(state);
    called.send(core, work);
}

/// A crew thread's life. `called_at` is the queue's count of retakes when it was called.
pub(super) fn work(core: &Arc<Core>, called_at: u64) {
    current_worker::take(core);
    let bell = Arc::new(Bell::default());
    let mut state = core.queue.lock();
    state.coming -= 1;
    if core.has_start_hook() {
        // Who sleeps must not wait for a hook.
        state.hooked += 1;
        rouse(core, state);
        core.on_start();
        state = core.queue.lock();
        state.hooked -= 1;
    }
    let (mut state, mut needed) = arrive(core, state, called_at);
    let mut others = if needed { summon_others(core, &mut state) } else { None };
    let mut patience = Patience::new();
    loop {
        if let Some(others) = others.take() {
            // Before it takes a job, which would wait for these calls.
            drop(state);
            others.send(core, work);
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
        let rested;
        (state, rested) = rest(core, state, needed, &bell, &mut patience);
        match rested {
            Rested::Saw => {
                needed = true;
                // Who watches calls others if this one's job takes long.
                if !state.watched {
                    others = summon_others(core, &mut state);
                }
            }
            Rested::Called => {
                let called_at = state.called_at;
                (state, needed) = arrive(core, state, called_at);
                if needed {
                    others = summon_others(core, &mut state);
                }
            }
            Rested::Enough => {
                drop(state);
                core.on_stop();
                return core.queue.gone.notify_all();
            }
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
#[inline]
fn arrive<'a>(core: &'a Core, mut state: MutexGuard<'a, State>, called_at: u64) -> (MutexGuard<'a, State>, bool) {
    let retakes = state.retakes - called_at;
    let few = (state.jobs.is_empty() && retakes < BRISK) || (state.jobs.len() == 1 && retakes == 0);
    if !few && !state.closed && retakes > 0 && state.busy() > 0 && core.kind == Kind::Io {
        if state.watched {
            return (state, false);
        }
        state = watch(core, state);
    }
    (state, true)
}

/// Whom a worker that is about to take a job calls if there are others.
#[inline]
fn summon_others(core: &Core, state: &mut State) -> Option<Summons> {
    let others = core.queue.wanted(state).saturating_sub(1);
    (others > 0).then(|| Summons::of(core, state, others.min(CHAIN)))
}

/// Looks after a queue that others serve well, until they have little to do, it stands still, or its jobs are long.
fn watch<'a>(core: &'a Core, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    state.watched = true;
    let mut pause = WATCH;
    while state.watched && !state.closed {
        let before = state.retakes;
        state = core.queue.clock.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        let moves = state.retakes - before;
        if state.jobs.is_empty() {
            if moves < BRISK {
                break;
            }
            pause = (2 * pause).min(RELAXED);
            continue;
        }
        let jobs = u32::try_from(moves).unwrap_or(u32::MAX);
        let busy = u32::try_from(state.busy().max(1)).unwrap_or(u32::MAX);
        // What a job takes is what those who work did in this time, shared out.
        if (pause * busy).checked_div(jobs).is_none_or(|each| each >= SHORT) {
            break;
        }
        pause = (2 * pause).min(RELAXED);
    }
    state.watched = false;
    state
}

/// How a worker's rest ended.
enum Rested {
    /// It saw a job itself.
    Saw,
    /// It was called.
    Called,
    /// It has waited long enough, and may go.
    Enough,
}

/// Waits for a job: looks for a moment, then sleeps.
///
/// One that was not `needed` sleeps though there are jobs: others serve them, and one of them watches.
fn rest<'a>(
    core: &'a Core,
    mut state: MutexGuard<'a, State>,
    needed: bool,
    bell: &Arc<Bell>,
    patience: &mut Patience,
) -> (MutexGuard<'a, State>, Rested) {
    let mut called = false;
    let ring = state.ring;
    if needed && patience.is_to_look(ring) {
        state.looking += 1;
        drop(state);
        patience.look(&core.queue, ring);
        state = core.queue.lock();
        state.looking -= 1;
    }
    // The clock is read when it is needed: reading it takes as long as much of the rest of this.
    let mut until = None;
    let mut tidy = !core.has_to_tidy();
    let mut patient = !needed && state.watched;
    let rested = loop {
        if (state.is_ready() && !patient) || (state.closed && state.jobs.is_empty()) {
            break if called { Rested::Called } else { Rested::Saw };
        }
        #[cfg(feature = "process")]
        if std::mem::take(&mut state.untidy) {
            until = None;
            tidy = false;
        }
        // The last thread stays: with none, a refused start would leave a job to nobody.
        let stays = state.threads <= core.threads_that_stay();
        let has_time = stays && tidy;
        let left = if has_time { IDLE_LIMIT } else { left_until(&mut until) };
        if left.is_zero() && !stays {
            // From here on it serves nobody: a job that comes now needs another thread.
            state.threads -= 1;
            break Rested::Enough;
        }
        if left.is_zero() && !tidy {
            drop(state);
            core.tidy();
            tidy = true;
            state = core.queue.lock();
            continue;
        }
        if state.sleeping.0.len() == state.sleeping.0.capacity() {
            drop(state);
            state = reserve::lock_with_capacity(|| core.queue.lock(), |state| &mut state.sleeping.0, 1);
            continue;
        }
        // One that stays sleeps without a clock; others may leave, and it may then be the last.
        state.sleeping.push(bell);
        let asleep = Moment::now();
        state = if has_time {
            bell.condvar.wait(state).unwrap_or_else(PoisonError::into_inner)
        } else {
            bell.condvar.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
        };
        if !state.sleeping.remove(bell) {
            // The call is answered, though a busy thread may have taken the job.
            state.rung -= 1;
            patience.slept(asleep, state.ring);
            called = true;
        }
        patient = false;
    };
    (state, rested)
}

/// What is left of the time that a thread stays without work.
fn left_until(until: &mut Option<Instant>) -> Duration {
    let now = Instant::now();
    until.get_or_insert(now + IDLE_LIMIT).saturating_duration_since(now)
}

pub(super) fn finish(core: &Core) {
    let mut state = core.queue.lock();
    state.closed = true;
    state.call_all();
    core.queue.clock.notify_all();
    drop(state);
    if !current_worker::is_worker_of(core) {
        // What it waits for may wait for this worker's pool.
        current_worker::wait_by(|| {
            core.queue.join();
            if core.kind == Kind::Process {
                // Callers may still use worker processes without a thread of the pool.
                core.queue.wait_until_unused();
            }
        });
    }
}
