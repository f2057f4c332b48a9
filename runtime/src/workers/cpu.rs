//! The cpu pool: rayon's work-stealing threads, in a pool of our own, as the global one may be taken.
//!
//! Jobs wait in our own queue, and rayon gets tickets: "serve the queue". A rayon thread with a ticket takes jobs
//! until there are none. So a job can be counted, whoever waits for it can run it first, and a burst of jobs costs
//! rayon as many tickets as it has threads. When rayon's threads wait inside jobs, plain threads stand in for them.

use std::sync::{Arc, MutexGuard};

use std::time::Duration;

use super::queue::{Ran, Run, State};
use super::{BuildError, Core, crew, seat};
use crate::park;

/// How long a thread that has helped looks for more.
const LINGER: Duration = Duration::from_micros(50);
/// Threads that one thread calls; they call the next ones.
const CHAIN: usize = 2;

pub(super) fn start(core: &Arc<Core>) -> Result<(), BuildError> {
    // Weak handles: the threads must not keep alive the pool whose end they wait for.
    let (name, entered, left) = (Arc::downgrade(core), Arc::downgrade(core), Arc::downgrade(core));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(core.threads)
        .thread_name(move |index| name.upgrade().map_or_else(String::new, |core| core.thread_name(index)))
        .start_handler(move |_| {
            if let Some(core) = entered.upgrade() {
                seat::take(&core);
                core.on_start();
            }
        })
        .exit_handler(move |_| {
            if let Some(core) = left.upgrade() {
                core.on_stop();
                // Threads of a pool that could not be built were never counted.
                let mut state = core.queue.lock();
                state.threads = state.threads.saturating_sub(1);
                drop(state);
                core.queue.gone.notify_all();
            }
        })
        .build()
        .map_err(|error| BuildError::Spawn(std::io::Error::other(error)))?;
    let mut state = core.queue.lock();
    state.threads = core.threads;
    state.next_index = core.threads;
    state.rayon = Some(Arc::new(pool));
    Ok(())
}

pub(super) fn push(core: &Arc<Core>, job: Arc<dyn Run>, copies: usize) {
    match core.queue.add(job, copies) {
        Ok(state) => rouse(core, state),
        Err(job) => job.abandon(false),
    }
}

/// Calls workers for jobs that could run: rayon's that are free, else those that stand in.
pub(super) fn rouse(core: &Arc<Core>, mut state: MutexGuard<'_, State>) {
    let mut wanted = state.wanted();
    if wanted == 0 {
        return;
    }
    let free = core.threads.saturating_sub(state.inside + state.coming);
    let tickets = wanted.min(free).min(CHAIN);
    state.coming += tickets;
    wanted -= tickets;
    let called = state.call(wanted);
    wanted -= called;
    let rayon = state.rayon.clone();
    if wanted > 0 && state.aside + state.lost > 0 {
        let _ = crew::start_threads(core, state, wanted);
    } else {
        drop(state);
    }
    core.queue.ring(called);
    if let Some(rayon) = rayon {
        for _ in 0..tickets {
            let core = Arc::clone(core);
            rayon.spawn(move || serve(&core));
        }
    }
}

/// A ticket: takes jobs until there are none, or no permit for one. Whoever has helped with a map looks for more for a
/// while: maps often come one after the other, and waking a thread takes longer than many of them.
fn serve(core: &Arc<Core>) {
    let mut state = core.queue.lock();
    state.coming -= 1;
    state.inside += 1;
    if state.wanted() > 1 {
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
            helped = ran == Ran::Helped;
        }
        // One core is left to the caller.
        if !std::mem::take(&mut helped) || state.closed || state.lingering + 1 >= core.threads.max(2) {
            break;
        }
        state.lingering += 1;
        drop(state);
        let seen = core.demand.while_looking(|| park::look_for(LINGER, || core.queue.looks_busy()));
        state = core.queue.lock();
        state.lingering -= 1;
        // What came for nothing does not look again.
        helped = seen && state.jobs.is_empty();
    }
    state.inside -= 1;
}

pub(super) fn finish(core: &Core) {
    let mut state = core.queue.lock();
    state.closed = true;
    core.queue.bell.notify_all();
    // Rayon runs the tickets it has before its threads end.
    let rayon = state.rayon.take();
    drop(state);
    drop(rayon);
    if !seat::is_worker_of(core) {
        core.drain(None);
        seat::wait_by(|| core.queue.join());
    }
}
