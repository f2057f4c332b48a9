//! The hooks that each thread of a pool runs first and last: `Pool::on_start` and `Pool::on_stop`.

use super::{Core, current_worker, worker_state};
use crate::sys::unwind;

impl Core {
    /// Whether only the pool's own threads may run its jobs, because no other thread has run its hooks.
    #[inline]
    pub(crate) fn has_hooks(&self) -> bool {
        self.has_hooks
    }

    pub(super) fn has_start_hook(&self) -> bool {
        self.hooks.start.is_some()
    }

    /// Runs the start hook, first on each thread.
    pub(super) fn on_start(&self) {
        run_hook(self.hooks.start);
    }

    /// Drops the worker's state and runs the stop hook, last on each thread.
    pub(super) fn on_stop(&self) {
        worker_state::drop_all();
        run_hook(self.hooks.stop);
        #[cfg(feature = "process")]
        self.process_slots.close();
        current_worker::exit();
    }
}

/// Runs a user's hook. A panic in it is reported by the panic hook, and the worker goes on.
fn run_hook(hook: Option<fn()>) {
    if let Some(hook) = hook {
        unwind::contain(hook);
    }
}
