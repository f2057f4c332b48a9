//! How rayon's threads come to serve the cpu pool's queue: each gets a ticket, "serve the queue", and takes jobs until
//! there are none.

use std::cell::Cell;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use crate::pool::job::JobEnd;
use crate::pool::queue::sleepers::WAKE_FANOUT;
use crate::pool::queue::state::State;
use crate::pool::{Core, blocking, spawn};
use crate::sys::park;

/// How long a thread that has has_helped looks for more.
const SPIN_FOR_MORE: Duration = Duration::from_micros(50);

/// Calls workers for jobs that could run: the resident, then rayon's that are free, else those that stand in.
pub(crate) fn wake_workers(core: &Arc<Core>, mut state: MutexGuard<'_, State>) {
    let mut wanted = core.queue.missing_workers(&state);
    if wanted == 0 {
        return;
    }
    let resident = usize::from(state.begin_wake_resident());
    wanted -= resident;
    let free =
        if state.rayon.is_some() { core.threads.saturating_sub(1 + state.rayon_serving + state.injected) } else { 0 };
    let injected = wanted.min(free).min(WAKE_FANOUT - resident);
    state.injected += injected;
    wanted -= injected;
    let called = state.begin_wake(wanted);
    // Those that sleep still are called by those that are called.
    wanted = if state.sleepers.len() > 0 { 0 } else { (wanted - called.len()).saturating_sub(state.in_start_hook) };
    let rayon = (injected > 0).then(|| state.rayon.clone()).flatten();
    if wanted > 0 && state.blocked + state.written_off > 0 {
        // One that is refused is deferred.
        let _ = spawn::spawn_threads(core, state, wanted, blocking::run_worker);
    } else {
        drop(state);
    }
    if resident > 0 {
        core.queue.resident.notify_one();
    }
    called.notify();
    if let Some(rayon) = rayon {
        for _ in 0..injected {
            let core = Arc::clone(core);
            rayon.spawn(move || run_injected(&core));
        }
    }
}

thread_local! {
    /// Whether this thread serves the queue already: the resident, and one that waits for rayon's work inside a job, use
    /// injected as well.
    static IS_SERVING: Cell<bool> = const { Cell::new(false) };
}

/// Notes that this thread serves the queue; whether it did.
pub(crate) fn enter_serving() -> bool {
    IS_SERVING.replace(true)
}

fn run_injected(core: &Arc<Core>) {
    let before = enter_serving();
    let mut state = core.queue.lock();
    state.injected -= 1;
    state.rayon_serving += usize::from(!before);
    serve_queue(core, state).rayon_serving -= usize::from(!before);
    IS_SERVING.set(before);
}

/// Takes jobs until there are none, or no permit for one. Whoever has has_helped with a map looks for more for a while: maps
/// often come one after the other, and waking a thread takes longer than many of them.
pub(crate) fn serve_queue<'a>(core: &'a Arc<Core>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    if core.queue.missing_workers(&state) > 1 {
        // One job is this thread's own: the others are called in a chain, not all of them by one thread.
        wake_workers(core, state);
        state = core.queue.lock();
    }
    let mut has_helped = state.jobs.is_empty() && core.load.expects_more_maps();
    loop {
        while let Some(job) = core.queue.take(&mut state) {
            drop(state);
            let ran;
            (state, ran) = core.run_job(job);
            has_helped = ran == JobEnd::RanMapShare;
        }
        // One core is left to the caller.
        if !std::mem::take(&mut has_helped) || state.closed || state.rayon_spinning + 1 >= core.threads.max(2) {
            break;
        }
        state.rayon_spinning += 1;
        drop(state);
        let seen = core.load.while_spinning(|| park::look_for(SPIN_FOR_MORE, || core.queue.has_queued_jobs()));
        state = core.queue.lock();
        state.rayon_spinning -= 1;
        // What came for nothing does not look again.
        has_helped = seen && state.jobs.is_empty();
    }
    state
}
