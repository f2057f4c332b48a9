//! How rayon's threads come to serve the cpu pool's queue: each gets a ticket, "serve the queue", and takes jobs until
//! there are none.

use std::cell::Cell;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use crate::pool::job::JobEnd;
use crate::pool::queue::sleepers::CHAIN;
use crate::pool::queue::state::State;
use crate::pool::{Core, blocking, spawn};
use crate::sys::park;

/// How long a thread that has helped looks for more.
const LINGER: Duration = Duration::from_micros(50);

/// Calls workers for jobs that could run: the porter, then rayon's that are free, else those that stand in.
pub(crate) fn rouse(core: &Arc<Core>, mut state: MutexGuard<'_, State>) {
    let mut wanted = core.queue.wanted(&state);
    if wanted == 0 {
        return;
    }
    let porter = usize::from(state.call_porter());
    wanted -= porter;
    let free = if state.rayon.is_some() { core.threads.saturating_sub(1 + state.inside + state.tickets) } else { 0 };
    let tickets = wanted.min(free).min(CHAIN - porter);
    state.tickets += tickets;
    wanted -= tickets;
    let called = state.call(wanted);
    // Those that sleep still are called by those that are called.
    wanted = if state.sleeping.len() > 0 { 0 } else { (wanted - called.len()).saturating_sub(state.hooked) };
    let rayon = (tickets > 0).then(|| state.rayon.clone()).flatten();
    if wanted > 0 && state.aside + state.lost > 0 {
        // One that is refused is deferred.
        let _ = spawn::start_threads(core, state, wanted, blocking::work);
    } else {
        drop(state);
    }
    if porter > 0 {
        core.queue.porter.notify_one();
    }
    called.ring();
    if let Some(rayon) = rayon {
        for _ in 0..tickets {
            let core = Arc::clone(core);
            rayon.spawn(move || use_ticket(&core));
        }
    }
}

thread_local! {
    /// Whether this thread serves the queue already: the porter, and one that waits for rayon's work inside a job, use
    /// tickets as well.
    static SERVES: Cell<bool> = const { Cell::new(false) };
}

/// Notes that this thread serves the queue; whether it did.
pub(crate) fn begin_to_serve() -> bool {
    SERVES.replace(true)
}

fn use_ticket(core: &Arc<Core>) {
    let before = begin_to_serve();
    let mut state = core.queue.lock();
    state.tickets -= 1;
    state.inside += usize::from(!before);
    serve(core, state).inside -= usize::from(!before);
    SERVES.set(before);
}

/// Takes jobs until there are none, or no permit for one. Whoever has helped with a map looks for more for a while: maps
/// often come one after the other, and waking a thread takes longer than many of them.
pub(crate) fn serve<'a>(core: &'a Arc<Core>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    if core.queue.wanted(&state) > 1 {
        // One job is this thread's own: the others are called in a chain, not all of them by one thread.
        rouse(core, state);
        state = core.queue.lock();
    }
    let mut helped = state.jobs.is_empty() && core.demand.expects_more();
    loop {
        while let Some(job) = core.queue.take(&mut state) {
            drop(state);
            let ran;
            (state, ran) = core.run_job(job);
            helped = ran == JobEnd::Helped;
        }
        // One core is left to the caller.
        if !std::mem::take(&mut helped) || state.closed || state.lingering + 1 >= core.threads.max(2) {
            break;
        }
        state.lingering += 1;
        drop(state);
        let seen = core.demand.while_looking(|| park::spin_for(LINGER, || core.queue.looks_busy()));
        state = core.queue.lock();
        state.lingering -= 1;
        // What came for nothing does not look again.
        helped = seen && state.jobs.is_empty();
    }
    state
}
