//! The cpu pool: rayon's work-stealing threads, in a pool of our own, as the global one may be taken.
//!
//! Jobs wait in our own queue, and rayon gets a ticket for each: "take the next job". So a job can be counted,
//! and whoever waits for it can run it first; its ticket then finds nothing to do.

use std::sync::Arc;

use super::queue::Run;
use super::{BuildError, Core, seat};

pub(super) fn start(core: &Arc<Core>) -> Result<(), BuildError> {
    let id = core.id;
    // Weak handles: the threads must not keep alive the pool whose end they wait for.
    let (name, left) = (Arc::downgrade(core), Arc::downgrade(core));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(core.threads)
        .thread_name(move |index| name.upgrade().map_or_else(String::new, |core| core.thread_name(index)))
        .start_handler(move |_| seat::take(id, false))
        .exit_handler(move |_| {
            if let Some(core) = left.upgrade() {
                core.queue.lock().threads -= 1;
                core.queue.gone.notify_all();
            }
        })
        .build()
        .map_err(|error| BuildError::Spawn(std::io::Error::other(error)))?;
    let mut state = core.queue.lock();
    state.threads = core.threads;
    state.rayon = Some(Arc::new(pool));
    Ok(())
}

pub(super) fn push(core: &Arc<Core>, job: Arc<dyn Run>, copies: usize) {
    let pool = match core.queue.add(job, copies) {
        Ok(state) => state.rayon.clone(),
        Err(job) => return job.abandon(),
    };
    for _ in 0..copies {
        let ticket = Arc::clone(core);
        let run = move || {
            let job = ticket.queue.next();
            drop(ticket);
            if let Some(job) = job {
                job.run();
            }
        };
        if let Some(pool) = &pool {
            pool.spawn(run);
        }
    }
}

pub(super) fn finish(core: &Core) {
    let mut state = core.queue.lock();
    state.closed = true;
    // Rayon runs the tickets it has before its threads end.
    let pool = state.rayon.take();
    drop(state);
    drop(pool);
    if seat::seated_at().core != core.id {
        core.queue.wait_until_empty(core.queue.lock());
    }
}
