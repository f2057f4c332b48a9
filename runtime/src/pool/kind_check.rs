//! Panics where a function is given a pool of the wrong kind.

use std::sync::Arc;

use super::{Core, Kind};

impl Core {
    /// Returns the pool itself, for `what`, which runs on threads of this process.
    ///
    /// # Panics
    ///
    /// If it is a pool of processes.
    #[inline]
    #[track_caller]
    pub(crate) fn with_threads(self: &Arc<Self>, what: &str) -> &Arc<Self> {
        if self.kind == Kind::Process {
            self.has_no_threads(what);
        }
        self
    }

    /// Returns the pool itself, for a function that runs in other processes.
    ///
    /// # Panics
    ///
    /// If it is a pool of threads.
    #[track_caller]
    pub(crate) fn with_processes(self: &Arc<Self>, function: &str) -> &Arc<Self> {
        assert!(
            self.kind == Kind::Process,
            "`{function}` is of `kind = \"process\"`, and the {self:?} has no processes: give it a `Pool::process`"
        );
        self
    }

    #[cold]
    #[track_caller]
    fn has_no_threads(&self, what: &str) -> ! {
        panic!(
            "the {self:?} cannot run {what}: only functions of `kind = \"process\"` can be called in another process; \
             annotate one, or use a pool of threads"
        )
    }
}
