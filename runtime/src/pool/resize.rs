//! [`Pool::resize`]: changes the number of workers of a running pool.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::check_threads;
use super::{BuildError, Core, Pool};

impl Pool {
    /// Changes the number of tasks that run at once, and so the number of threads or worker processes, while the pool
    /// works. It starts the pool if it has not started.
    ///
    /// A pool that grows starts on queued tasks at once. One that shrinks lets running tasks end, and starts no others
    /// until fewer than `threads` run. Threads of an io pool that are too many end when they are idle, worker processes
    /// at once or with their call. A cpu pool keeps the threads that it was built with, which then idle, and adds plain
    /// threads beyond them: its tasks and maps use all of them, but what a task does with [`join`](crate::join) or with
    /// rayon itself stays on those that the pool was built with.
    ///
    /// Threads that run the pool's frames are resized, too. A closed pool stays closed.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoThreads`] for 0, and [`BuildError::TooManyThreads`] as [`build`](Self::build). Nothing is changed
    /// then.
    ///
    /// # Panics
    ///
    /// If this is a static pool whose first use fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// # fn main() -> Result<(), fanfold::BuildError> {
    /// let pool = Pool::io("uploads").threads(2).build()?;
    /// pool.resize(8)?; // at night
    /// assert_eq!(pool.stats().limit, 8);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn resize(&self, threads: usize) -> Result<(), BuildError> {
        self.core().resize(threads)
    }
}

impl Core {
    fn resize(self: &Arc<Self>, threads: usize) -> Result<(), BuildError> {
        let threads = check_threads(self.kind, threads)?;
        if self.is_from_parent() {
            return Ok(());
        }
        let mut state = self.queue.lock();
        self.threads.store(threads, Ordering::Relaxed);
        self.queue.set_limit(&mut state, threads);
        // The first worker that arrives wakes two more, and so on.
        self.wake_workers(state);
        #[cfg(feature = "process")]
        self.process_slots.resize(threads);
        #[cfg(feature = "polars")]
        if let Some(frame_pool) = self.frame_pool.get() {
            frame_pool.resize(threads)?;
        }
        Ok(())
    }
}
