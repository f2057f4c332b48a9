//! [`Pool::submit`]: runs a closure as a task.

use super::Task;
use super::queueing::Queueing;
use super::submitter;
use crate::pool::Pool;

impl Pool {
    /// Runs a closure on this pool.
    ///
    /// A task costs a queue entry and a handle, some hundred nanoseconds. A recursion that divides its work makes many
    /// small parts: there [`join`](crate::join) costs a tenth of that.
    ///
    /// While the queue of a pool with a [`queue_limit`](Self::queue_limit) is full, it waits.
    ///
    /// # Panics
    ///
    /// If this is a static pool whose first use fails: it has `threads(0)`, or no thread can be started (a later use
    /// tries again). And if it is a pool of processes: a closure cannot be sent to a process, as an annotated function
    /// can.
    #[doc(alias = "spawn")]
    #[doc(alias = "spawn_blocking")]
    #[doc(alias = "apply_async")]
    #[doc(alias = "execute")]
    #[track_caller]
    pub fn submit<T, F>(&self, work: F) -> Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let core = self.core().with_threads("closures");
        submitter::start(core, core.wait_for_place(None), Queueing::default(), work)
    }
}
