//! The worker threads of cpu pools: rayon's work-stealing threads, in a rayon pool of our own, as the program may use
//! the global one.
//!
//! Jobs wait in our queue, not in rayon's. The first of rayon's threads, the [resident worker](resident), waits at this
//! queue. The others wait in rayon's main loop, and are given requests to serve the queue ([`inject`]). So jobs can be
//! counted, a thread that waits for a job can run it first, and a burst of jobs costs rayon at most one request per
//! thread. While rayon's threads are blocked inside of jobs, plain threads run in their place.

pub(super) mod inject;
#[cfg(test)]
mod lock_counts;
pub(super) mod resident;

use std::sync::{Arc, Weak};

use super::job::Job;
use super::{BuildError, Core, current_worker};
use crate::sys::thread;

pub(super) fn start(core: &Arc<Core>) -> Result<(), BuildError> {
    // Weak references: the threads must not keep the pool alive, whose end they wait for.
    let (name, entered, left) = (Arc::downgrade(core), Arc::downgrade(core), Arc::downgrade(core));
    let stack = core.stack;
    let built = rayon::ThreadPoolBuilder::new()
        .num_threads(core.rayon_threads)
        .thread_name(move |index| name.upgrade().map_or_else(String::new, |core| core.thread_name(index)))
        .spawn_handler(move |thread| {
            let name = thread.name().unwrap_or_default().to_owned();
            thread::spawn(name, stack, || thread.run()).map(drop)
        })
        .start_handler(move |index| on_thread_start(&entered, index))
        .exit_handler(move |_| on_thread_exit(&left))
        .build()
        .map(Arc::new);
    let mut state = core.queue.lock();
    match built {
        Ok(pool) => {
            state.threads = core.rayon_threads;
            state.next_thread_index = core.rayon_threads;
            state.rayon = Some(pool);
            Ok(())
        }
        Err(error) => {
            // The resident worker may have started.
            core.queue.close(&mut state);
            core.queue.resident.notify_one();
            drop(state);
            Err(BuildError::Spawn(std::io::Error::other(error)))
        }
    }
}

/// What a thread runs before rayon's main loop. The first thread returns from it when the pool is shut down.
fn on_thread_start(core: &Weak<Core>, index: usize) {
    if let Some(core) = core.upgrade() {
        current_worker::enter(&core, index);
        current_worker::enter_rayon(index);
        current_worker::join_broadcasts(&core);
        core.on_start();
        if index == 0 {
            resident::run(&core);
        }
    }
}

fn on_thread_exit(core: &Weak<Core>) {
    if let Some(core) = core.upgrade() {
        core.on_stop();
        // Saturating: threads of a pool that could not be built were never counted.
        let mut state = core.queue.lock();
        state.threads = state.threads.saturating_sub(1);
        drop(state);
        core.queue.drain_progress.notify_all();
    }
}

/// Queues a task. One that a thread of rayon's submits to its own pool goes to the thread's own deque.
#[inline]
pub(super) fn push_task(core: &Arc<Core>, task: Arc<dyn Job>) {
    let Some(own) = current_worker::own_deque_of(core) else { return push(core, task, 1) };
    match core.queue.push_own(own, task) {
        Ok(()) if core.queue.wants_workers() => inject::wake_workers(core, core.queue.lock()),
        Ok(()) => {}
        Err(task) => task.abandon(false),
    }
}

#[inline]
pub(super) fn push(core: &Arc<Core>, job: Arc<dyn Job>, copies: usize) {
    match core.queue.add(job, copies) {
        Ok(state) => inject::wake_workers(core, state),
        Err(job) => job.abandon(false),
    }
}

/// Closes the pool, and waits until its queue is empty and its threads have ended.
pub(super) fn close_and_join(core: &Core) {
    let mut state = core.queue.lock();
    core.queue.close(&mut state);
    core.queue.resident.notify_one();
    state.wake_all();
    drop(state);
    let is_own = current_worker::is_worker_of(core);
    if !is_own {
        core.drain(None);
    }
    // Rayon runs the injected requests that it has before its threads end.
    let rayon = core.queue.lock().rayon.take();
    drop(rayon);
    if !is_own {
        current_worker::blocking_section(|| core.queue.join());
    }
}
