//! The porter of the cpu pool: the one of rayon's threads that waits at our own queue.
//!
//! Rayon wakes its threads in a chain, each of which looks for a while before it sleeps again. That suits work that
//! branches. For a single task it is several times what the task costs, on cores that the caller may want. So the first
//! thread of the pool never gets as far as rayon's main loop: it stays in the handler that rayon calls at its start, where
//! it is a worker of rayon's like the others (what it runs may split itself, and the others steal from it), and sleeps
//! at our bell.
//!
//! What rayon has for it (the others' work to steal, a broadcast) it learns by asking: before it sleeps, and now and then
//! while others are at work. So what a task has left behind in rayon may want this thread, for a broadcast or as the only
//! one that is free, up to a minute before it comes.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::inject;
use crate::pool::Core;
use crate::pool::idle::Patience;
use crate::pool::queue::state::{Porter, State};
use crate::sys::clock::Moment;

/// How soon it asks rayon again while others serve the queue; then after twice that time, and so on.
const SOON: Duration = Duration::from_millis(1);
/// The longest pause while others serve it.
const SELDOM: Duration = Duration::from_millis(16);
/// How soon it asks when nobody serves the queue. What runs then was left behind by a task: that is rare, and asking is
/// to cost next to nothing.
const LATER: Duration = Duration::from_secs(10);
/// The longest pause then.
const LAST: Duration = Duration::from_mins(1);

/// The porter's life, from the pool's start to its end.
pub(crate) fn work(core: &Arc<Core>) {
    let mut patience = Patience::new();
    inject::begin_to_serve();
    let mut state = core.queue.lock();
    loop {
        state = inject::serve(core, state);
        if has_ended(&state) {
            return;
        }
        state = rest(core, state, &mut patience);
    }
}

/// Whether nothing will be left to do.
fn has_ended(state: &State) -> bool {
    state.closed && state.jobs.is_empty()
}

/// Waits for a job, or for something to do for rayon.
fn rest<'a>(core: &'a Core, mut state: MutexGuard<'a, State>, patience: &mut Patience) -> MutexGuard<'a, State> {
    let ring = state.ring;
    if patience.is_to_look(ring) {
        state.lingering += 1;
        drop(state);
        patience.look(&core.queue, ring);
        state = core.queue.lock();
        state.lingering -= 1;
    }
    let mut pause = SOON;
    while !state.is_ready() && !has_ended(&state) {
        drop(state);
        if help_rayon() {
            pause = SOON;
        }
        state = core.queue.lock();
        if state.is_ready() || has_ended(&state) {
            break;
        }
        pause = if state.inside + state.tickets > 0 { pause.min(SELDOM) } else { pause.max(LATER) };
        state.porter = Porter::Asleep;
        let asleep = Moment::now();
        state = core.queue.porter.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        if state.porter == Porter::Busy {
            // Called, and here.
            state.coming -= 1;
            patience.slept(asleep, state.ring);
        }
        state.porter = Porter::Busy;
        pause = (2 * pause).min(LAST);
    }
    state
}

/// Runs what rayon has for this thread; whether that was anything.
fn help_rayon() -> bool {
    let mut found = false;
    while rayon::yield_now() == Some(rayon::Yield::Executed) {
        found = true;
    }
    found
}
