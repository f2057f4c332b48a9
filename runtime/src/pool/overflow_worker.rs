//! Overflow workers: a thread for one job of a frame pool whose workers are all blocked with their permits.
//!
//! A worker that waits for a Fanfold task gives its permit back meanwhile. A worker that joins a plain thread, or waits
//! for rayon or for Polars' streaming engine, keeps its permit. If all workers wait that way for a call that needs one
//! of them, the call would never end. So the caller [asks](Core::spawn_overflow_worker) for a thread that runs only the
//! job of that call, without a permit. Then the innermost call ends, and with it the waits for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Core, Job, current_worker};
use crate::sys::thread;

/// How often a call that no worker has begun checks the pool. It asks for a thread if all permits are in use at two
/// checks in a row and no job has ended in between: after 100 ms at the soonest.
pub(crate) const STALL_CHECK: Duration = Duration::from_millis(50);

impl Core {
    /// The number of jobs that workers have finished; `None` if a permit is free, because a worker will take the job
    /// then.
    pub(super) fn jobs_finished_if_full(&self) -> Option<u64> {
        let state = self.queue.lock();
        (!state.has_permit()).then_some(state.jobs_finished)
    }

    /// Spawns a thread that runs this job and ends. [`close_and_join`](Self::close_and_join) waits for it.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the thread.
    pub(super) fn spawn_overflow_worker(self: &Arc<Self>, job: Arc<dyn Job>) -> io::Result<()> {
        let mut state = self.queue.lock();
        state.overflow_threads += 1;
        let index = state.next_thread_index;
        state.next_thread_index += 1;
        drop(state);
        let core = Arc::clone(self);
        let spawned = thread::spawn(self.thread_name(index), self.stack, move || {
            current_worker::enter(&core, index);
            core.on_start();
            current_worker::without_permit(|| job.run());
            core.on_stop();
            core.end_overflow_worker();
        });
        match spawned {
            Ok(handle) => self.keep_join_handle(handle),
            Err(error) => {
                self.end_overflow_worker();
                return Err(error);
            }
        }
        Ok(())
    }

    fn end_overflow_worker(&self) {
        self.queue.lock().overflow_threads -= 1;
        self.queue.drain_progress.notify_all();
    }
}
