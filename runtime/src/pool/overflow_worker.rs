//! A thread more for one job of frames, where all of the pool's workers wait in ways that Fanfold does not see.
//!
//! A worker that waits for tasks gives its permit back meanwhile. One that joins a thread, or waits for rayon or for
//! Polars' streaming engine, keeps it. With all of them waiting so for a call that only they could serve, that call would
//! never end. So its caller [asks](Core::spawn_overflow_worker) for one thread that runs that call's job alone, without a permit.
//! Each call has a worker or such a thread of its own then, so what the innermost of them waits for ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Core, Job, current_worker};

/// How often a call that no worker has begun looks at the pool. It asks for a thread if all permits are in use at two
/// looks in a row and no job has ended in between: after 100 ms at the soonest.
pub(crate) const STALL_CHECK: Duration = Duration::from_millis(50);

impl Core {
    /// How often a worker has come back for another job; `None` while a permit is free, as a worker will come then.
    pub(crate) fn jobs_finished_if_full(&self) -> Option<u64> {
        let state = self.queue.lock();
        (!state.has_permit()).then_some(state.jobs_finished)
    }

    /// Starts a thread that runs this job and ends. [`finish`](Self::finish) waits for it.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the thread.
    pub(crate) fn spawn_overflow_worker(self: &Arc<Self>, job: Arc<dyn Job>) -> io::Result<()> {
        let mut state = self.queue.lock();
        state.overflow_threads += 1;
        let index = state.next_thread_index;
        state.next_thread_index += 1;
        drop(state);
        let core = Arc::clone(self);
        let spawned = std::thread::Builder::new().name(self.thread_name(index)).spawn(move || {
            current_worker::enter(&core);
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
