//! The cpu pool: rayon's work-stealing threads, in a pool of our own, as the global one may be taken.
//!
//! Jobs wait in our own queue. The first of rayon's threads, the [resident](resident), waits at that queue; the others
//! are rayon's, and get [injected](inject). So a job can be counted, whoever waits for it can run it first, and a
//! burst of jobs costs rayon as many injected as it has threads. When rayon's threads wait inside jobs, plain threads stand
//! in for them.

pub(super) mod inject;
pub(super) mod resident;

use std::sync::{Arc, Weak};

use super::job::Job;
use super::{BuildError, Core, current_worker};

pub(super) fn start(core: &Arc<Core>) -> Result<(), BuildError> {
    // Weak handles: the threads must not keep alive the pool whose end they wait for.
    let (name, entered, left) = (Arc::downgrade(core), Arc::downgrade(core), Arc::downgrade(core));
    let built = rayon::ThreadPoolBuilder::new()
        .num_threads(core.threads)
        .thread_name(move |index| name.upgrade().map_or_else(String::new, |core| core.thread_name(index)))
        .start_handler(move |index| enter(&entered, index))
        .exit_handler(move |_| leave(&left))
        .build()
        .map(Arc::new);
    let mut state = core.queue.lock();
    match built {
        Ok(pool) => {
            state.threads = core.threads;
            state.next_thread_index = core.threads;
            state.rayon = Some(pool);
            Ok(())
        }
        Err(error) => {
            // The resident may be there already.
            state.closed = true;
            core.queue.resident.notify_one();
            drop(state);
            Err(BuildError::Spawn(std::io::Error::other(error)))
        }
    }
}

/// What a thread does before it is rayon's; the first one stays until the pool ends.
fn enter(core: &Weak<Core>, index: usize) {
    if let Some(core) = core.upgrade() {
        current_worker::enter(&core);
        core.on_start();
        if index == 0 {
            resident::run(&core);
        }
    }
}

fn leave(core: &Weak<Core>) {
    if let Some(core) = core.upgrade() {
        core.on_stop();
        // Threads of a pool that could not be built were never counted.
        let mut state = core.queue.lock();
        state.threads = state.threads.saturating_sub(1);
        drop(state);
        core.queue.drain_progress.notify_all();
    }
}

#[inline]
pub(super) fn push(core: &Arc<Core>, job: Arc<dyn Job>, copies: usize) {
    match core.queue.add(job, copies) {
        Ok(state) => inject::wake_workers(core, state),
        Err(job) => job.abandon(false),
    }
}

pub(super) fn close_and_join(core: &Core) {
    let mut state = core.queue.lock();
    state.closed = true;
    core.queue.resident.notify_one();
    state.wake_all();
    drop(state);
    let own = current_worker::is_worker_of(core);
    if !own {
        core.drain(None);
    }
    // Rayon runs the injected it has before its threads end.
    let rayon = core.queue.lock().rayon.take();
    drop(rayon);
    if !own {
        current_worker::blocking_section(|| core.queue.join());
    }
}
