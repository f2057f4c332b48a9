//! A crew: named threads that take jobs from one queue, and may block.
//!
//! A job that finds no idle thread starts a new one, up to the limit; a thread that finds no job for
//! [`IDLE_LIMIT`] ends. One plain queue beats spinning workers here: work that blocks comes seldom, and a
//! spinning thread takes the core that the caller needs.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::queue::{Run, State};
use super::{BuildError, Core, Kind, seat};

/// How long a thread stays without work.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn start(core: &Arc<Core>) -> Result<(), BuildError> {
    // The first thread starts now: a pool that cannot have one must not be built.
    core.queue.lock().threads = 1;
    spawn(core).map_err(BuildError::Spawn)
}

pub(super) fn push(core: &Arc<Core>, job: Arc<dyn Run>, copies: usize) {
    let (wake, grow) = match core.queue.add(job, copies) {
        Ok(mut state) => {
            let wake = copies.min(state.idle - state.rung);
            state.rung += wake;
            let grow = (copies - wake).min(core.threads - state.threads);
            state.threads += grow;
            (wake, grow)
        }
        Err(job) => return job.abandon(),
    };
    for _ in 0..wake {
        core.queue.bell.notify_one();
    }
    for _ in 0..grow {
        // The crew has a thread already, so a refusal costs speed alone: the others will come to the job.
        let _ = spawn(core);
    }
}

/// Starts a thread that the count already holds.
fn spawn(core: &Arc<Core>) -> std::io::Result<()> {
    let index = {
        let mut state = core.queue.lock();
        state.next_index += 1;
        state.next_index - 1
    };
    let crew = Arc::clone(core);
    let spawned = std::thread::Builder::new().name(core.thread_name(index)).spawn(move || work(&crew));
    let mut state = core.queue.lock();
    match spawned {
        Ok(handle) => {
            state.handles.retain(|old| !old.is_finished());
            state.handles.push(handle);
            Ok(())
        }
        Err(error) => {
            state.threads -= 1;
            Err(error)
        }
    }
}

/// A crew thread's life.
fn work(core: &Core) {
    seat::take(core.id, core.kind.does_cpu_work());
    let mut state = core.queue.lock();
    loop {
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            job.run();
            // Its captures may be the last of something large: not to be held while this thread sleeps.
            drop(job);
            state = core.queue.lock();
        } else if state.closed {
            break;
        } else {
            let (next, stay) = rest(core, state);
            state = next;
            if !stay {
                break;
            }
        }
    }
    state.threads -= 1;
    core.queue.gone.notify_all();
}

/// Sleeps until a job may be there; `false` when the thread has waited long enough and may go.
fn rest<'a>(core: &'a Core, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
    let until = Instant::now() + IDLE_LIMIT;
    state.idle += 1;
    let stay = loop {
        let left = until.saturating_duration_since(Instant::now());
        let woken = core.queue.bell.wait_timeout(state, left);
        state = woken.unwrap_or_else(PoisonError::into_inner).0;
        // A busy thread may have taken the job that this one was rung for; then the ring alone is answered.
        state.rung = state.rung.saturating_sub(1);
        if !state.jobs.is_empty() || state.closed {
            break true;
        }
        // The last thread stays: with none, a refused start would leave a job to nobody.
        if left.is_zero() && state.threads > 1 {
            break false;
        }
    };
    state.idle -= 1;
    state.rung = state.rung.min(state.idle);
    (state, stay)
}

pub(super) fn finish(core: &Core) {
    let mut state = core.queue.lock();
    state.closed = true;
    core.queue.bell.notify_all();
    if seat::seated_at().core == core.id {
        return;
    }
    let handles = std::mem::take(&mut state.handles);
    drop(state);
    for handle in handles {
        let _ = handle.join();
    }
    core.queue.wait_until_empty(core.queue.lock());
}

impl Kind {
    /// Whether its threads count as the default cpu pool's, so that nested calls stay on them.
    fn does_cpu_work(self) -> bool {
        match self {
            #[cfg(feature = "polars")]
            Kind::Frame => true,
            _ => false,
        }
    }
}
