//! Injection into rayon: a request to serve our queue is spawned on rayon's pool, and the thread that runs it takes
//! jobs until none is left.

use std::cell::Cell;
use std::sync::{Arc, MutexGuard};

use crate::pool::job::{Job, JobEnd};
use crate::pool::queue::sleepers::WAKE_FANOUT;
use crate::pool::queue::state::State;
use crate::pool::{Core, blocking, current_worker, spawn};
use crate::sys::park;

/// Wakes workers for queued jobs that have a free permit: the resident worker first, then free threads of rayon's, then
/// spare threads, which are parked or spawned.
pub(crate) fn wake_workers(core: &Arc<Core>, mut state: MutexGuard<'_, State>) {
    let mut missing = core.queue.missing_workers(&state);
    if missing == 0 {
        return;
    }
    let resident = usize::from(state.begin_wake_resident());
    missing -= resident;
    // One of rayon's threads is the resident worker.
    let free = if state.rayon.is_some() {
        core.rayon_threads.saturating_sub(1 + state.rayon_serving + state.injected)
    } else {
        0
    };
    let injected = missing.min(free).min(WAKE_FANOUT - resident);
    state.injected += injected;
    missing -= injected;
    let woken = state.begin_wake(missing);
    // While spare threads are still parked, those that are woken now wake them.
    missing = if state.sleepers.len() > 0 { 0 } else { (missing - woken.len()).saturating_sub(state.in_start_hook) };
    let rayon = (injected > 0).then(|| state.rayon.clone()).flatten();
    if missing > 0 && (state.blocked + state.written_off > 0 || state.limit > core.rayon_threads) {
        // A refused thread is left to the timer thread: see `spawn_retry.rs`.
        let _ = spawn::spawn_threads(core, state, missing, blocking::run_worker);
    } else {
        drop(state);
    }
    if resident > 0 {
        core.queue.resident.notify_one();
    }
    woken.notify();
    if let Some(rayon) = rayon {
        for _ in 0..injected {
            let core = Arc::clone(core);
            rayon.spawn(move || run_injected(&core));
        }
    }
}

thread_local! {
    /// Whether this thread serves the queue. Such a thread may run an injected request, too: the resident worker when
    /// it runs rayon's work, and a thread that waits for rayon's work inside of a job.
    static IS_SERVING: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as serving the queue; returns whether it was marked before.
pub(crate) fn mark_serving() -> bool {
    IS_SERVING.replace(true)
}

/// Runs an injected request on a thread of rayon's.
fn run_injected(core: &Arc<Core>) {
    let before = mark_serving();
    // While the request is counted as injected, so that no spare thread is spawned for its job.
    let _waiting = current_worker::without_waiting_permit();
    let mut state = core.queue.lock();
    state.injected -= 1;
    state.rayon_serving += usize::from(!before);
    serve_queue(core, state).rayon_serving -= usize::from(!before);
    IS_SERVING.set(before);
}

/// Runs a job, and then others on the same permit, without the lock of the queue, as long as it can.
fn run_jobs(core: &Arc<Core>, mut job: Arc<dyn Job>) -> (MutexGuard<'_, State>, JobEnd) {
    let own = current_worker::own_deque_of(core);
    // When the jobs are done that the deque has now, it is the turn of the jobs in the queue.
    let mut own_turns = own.map_or(0, |own| core.queue.own_len(own));
    loop {
        let ran = core.run_job(job);
        let next = match own {
            Some(own) if current_worker::keeps_permit(ran) && !core.has_broadcast() => {
                core.queue.take_keeping_permit(own, own_turns)
            }
            _ => None,
        };
        let Some(next) = next else { return (core.end_job(ran), ran) };
        if ran == JobEnd::Dead {
            core.removed_dead_task();
        }
        (job, own_turns) = (next, own_turns.saturating_sub(1));
    }
}

/// Takes jobs until none is left, or no permit for one. A thread that has computed a share of a map then spins for the
/// next one for a while: maps often follow one another, and waking a thread takes longer than many maps.
pub(crate) fn serve_queue<'a>(core: &'a Arc<Core>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    if core.queue.missing_workers(&state) > 1 {
        // One of the jobs is for this thread. The others are woken in a tree, not one after the other by one thread.
        wake_workers(core, state);
        state = core.queue.lock();
    }
    let mut should_spin = core.queue.is_empty(&state) && core.load.expects_more_maps();
    loop {
        while !core.has_broadcast()
            && let Some(job) = core.queue.take(&mut state)
        {
            drop(state);
            let ran;
            (state, ran) = run_jobs(core, job);
            should_spin = ran == JobEnd::RanMapShare;
        }
        if core.has_broadcast() {
            drop(state);
            core.run_broadcasts();
            state = core.queue.lock();
            continue;
        }
        // One core is left to the caller.
        if !std::mem::take(&mut should_spin) || state.closed || state.rayon_spinning + 1 >= core.threads().max(2) {
            break;
        }
        state.rayon_spinning += 1;
        drop(state);
        let found = core.load.while_spinning(|| park::spin_for(park::HELPER_SPIN, || core.queue.has_queued_jobs()));
        state = core.queue.lock();
        state.rayon_spinning -= 1;
        // A thread that found a job which another took spins once more. One that found none does not.
        should_spin = found && core.queue.is_empty(&state);
    }
    state
}
