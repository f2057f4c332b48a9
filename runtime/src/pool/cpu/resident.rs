//! The resident of the cpu pool: the one of rayon's threads that waits at our own queue.
//!
//! Rayon wakes its threads in a chain, each of which looks for a while before it sleeps again. That suits work that
//! branches. For a single task it is several times what the task costs, on cores that the caller may want. So the first
//! thread of the pool never gets as far as rayon's main loop: it stays in the handler that rayon calls at its start, where
//! it is a worker of rayon's like the others (what it runs may split itself, and the others steal from it), and sleeps
//! at our sleeper.
//!
//! What rayon has for it (the others' work to steal, a broadcast) it learns by asking: before it sleeps, and now and then
//! while others are at work. So what a task has left behind in rayon may want this thread, for a broadcast or as the only
//! one that is free, up to a minute before it comes.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::inject;
use crate::pool::Core;
use crate::pool::idle::IdlePolicy;
use crate::pool::queue::state::{ResidentState, State};
use crate::sys::clock::Moment;

/// How soon it asks rayon again while others serve the queue; then after twice that time, and so on.
const FIRST_POLL: Duration = Duration::from_millis(1);
/// The longest pause while others serve it.
const MAX_POLL_BUSY: Duration = Duration::from_millis(16);
/// How soon it asks when nobody serves the queue. What runs then was left behind by a task: that is rare, and asking is
/// to cost next to nothing.
const MIN_POLL_IDLE: Duration = Duration::from_secs(10);
/// The longest pause then.
const MAX_POLL_IDLE: Duration = Duration::from_mins(1);

/// The resident's life, from the pool's start to its end.
pub(crate) fn run(core: &Arc<Core>) {
    let mut idle_policy = IdlePolicy::new();
    inject::enter_serving();
    let mut state = core.queue.lock();
    loop {
        state = inject::serve_queue(core, state);
        if has_ended(&state) {
            return;
        }
        state = wait_for_work(core, state, &mut idle_policy);
    }
}

/// Whether nothing will be left to do.
fn has_ended(state: &State) -> bool {
    state.closed && state.jobs.is_empty()
}

/// Waits for a job, or for something to do for rayon.
fn wait_for_work<'a>(
    core: &'a Core,
    mut state: MutexGuard<'a, State>,
    idle_policy: &mut IdlePolicy,
) -> MutexGuard<'a, State> {
    let last_wake = state.last_wake;
    if idle_policy.should_spin(last_wake) {
        state.rayon_spinning += 1;
        drop(state);
        idle_policy.spin(&core.queue, last_wake);
        state = core.queue.lock();
        state.rayon_spinning -= 1;
    }
    let mut pause = FIRST_POLL;
    while !state.is_ready() && !has_ended(&state) {
        drop(state);
        if run_rayon_work() {
            pause = FIRST_POLL;
        }
        state = core.queue.lock();
        if state.is_ready() || has_ended(&state) {
            break;
        }
        pause =
            if state.rayon_serving + state.injected > 0 { pause.min(MAX_POLL_BUSY) } else { pause.max(MIN_POLL_IDLE) };
        state.resident = ResidentState::Parked;
        let asleep = Moment::now();
        state = core.queue.resident.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        if state.resident == ResidentState::Active {
            // PendingWakes, and here.
            state.woken -= 1;
            idle_policy.record_sleep(asleep, state.last_wake);
        }
        state.resident = ResidentState::Active;
        pause = (2 * pause).min(MAX_POLL_IDLE);
    }
    state
}

/// Runs what rayon has for this thread; whether that was anything.
fn run_rayon_work() -> bool {
    let mut found = false;
    while rayon::yield_now() == Some(rayon::Yield::Executed) {
        found = true;
    }
    found
}
