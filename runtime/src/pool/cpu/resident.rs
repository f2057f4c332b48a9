//! The resident worker of a cpu pool: the one of rayon's threads that waits at our queue.
//!
//! Rayon wakes its threads in a chain, and each of them searches for work for a while before it sleeps again. That
//! suits work that branches. For a single task it costs several times what the task takes, on cores that the caller may
//! want. So the first thread of the pool never enters rayon's main loop: it stays in the handler that rayon calls at
//! its start. There it is a worker of rayon's like the others, so what it runs may split itself, and the others steal
//! from it. But it parks at our condition variable.
//!
//! It learns by polling whether rayon has work for it, such as the other threads' work to steal, or a broadcast: before
//! it parks, and now and then while others serve the queue. So work that a task has left behind in rayon may wait up to
//! ten seconds for this thread: a broadcast, or any work where this is the only free thread.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::inject;
use crate::pool::Core;
use crate::pool::idle::IdlePolicy;
use crate::pool::queue::state::{ResidentState, State};
use crate::sys::clock::Moment;
use crate::sys::mutex;
use crate::sys::park;

/// The pause between two polls of rayon while others serve the queue: their jobs may have split their work.
const POLL_BUSY: Duration = Duration::from_millis(4);
/// The pause while no thread serves the queue. Any work in rayon was left behind by a task then. That is rare, and
/// polling is to cost next to nothing.
const POLL_IDLE: Duration = Duration::from_secs(10);

/// Serves the queue until the pool is closed and its queue is empty.
pub(crate) fn run(core: &Arc<Core>) {
    let mut idle_policy = IdlePolicy::new();
    inject::mark_serving();
    let mut state = core.queue.lock();
    loop {
        state = inject::serve_queue(core, state);
        if core.queue.has_ended(&state) {
            return;
        }
        state = wait_for_work(core, state, &mut idle_policy);
    }
}

/// Waits for a job, and runs rayon's work meanwhile.
fn wait_for_work<'a>(
    core: &'a Core,
    mut state: MutexGuard<'a, State>,
    idle_policy: &mut IdlePolicy,
) -> MutexGuard<'a, State> {
    if idle_policy.should_spin() {
        state.rayon_spinning += 1;
        drop(state);
        idle_policy.spin(&core.queue);
        state = core.queue.lock();
        state.rayon_spinning -= 1;
    }
    let mut expects_work = false;
    while !core.queue.is_ready(&state) && !core.queue.has_ended(&state) && !core.has_broadcast() {
        drop(state);
        run_rayon_work(core, expects_work);
        state = core.queue.lock();
        if core.queue.is_ready(&state) || core.queue.has_ended(&state) || core.has_broadcast() {
            break;
        }
        let pause = if state.rayon_serving + state.injected > 0 { POLL_BUSY } else { POLL_IDLE };
        state.resident = ResidentState::Parked;
        core.resident_parked.store(true, Ordering::Relaxed);
        let parked_at = Moment::now();
        state = mutex::wait_timeout(&core.queue.resident, state, pause).0;
        expects_work = !core.resident_parked.swap(false, Ordering::Relaxed);
        if state.resident == ResidentState::Active {
            // It was woken for a job.
            state.woken -= 1;
            idle_policy.record_sleep(parked_at, state.last_wake);
        }
        state.resident = ResidentState::Active;
    }
    state
}

impl Core {
    /// Wakes the resident worker if it is parked: rayon has work that it may steal.
    #[inline]
    pub(crate) fn wake_resident_to_steal(&self) {
        if self.resident_parked.load(Ordering::Relaxed) {
            self.wake_parked_resident();
        }
    }

    #[cold]
    fn wake_parked_resident(&self) {
        // Under the lock, which the resident worker holds until it waits: so it is notified once, and then.
        let state = self.queue.lock();
        let is_parked = self.resident_parked.swap(false, Ordering::Relaxed);
        drop(state);
        if is_parked {
            self.queue.resident.notify_one();
        }
    }
}

/// Runs the work that rayon has for this thread. A thread that has stolen a part of a job, or was woken to steal one,
/// spins for the next part for a while: each is woken for otherwise.
fn run_rayon_work(core: &Core, expects_work: bool) {
    let steal = || rayon::yield_now() == Some(rayon::Yield::Executed);
    let mut spins = expects_work;
    loop {
        while steal() {
            spins = true;
        }
        if !spins {
            return;
        }
        let stolen = Cell::new(false);
        park::spin_for(park::HELPER_SPIN, || {
            stolen.set(steal());
            stolen.get() || core.queue.has_queued_jobs()
        });
        spins = stolen.get();
    }
}
