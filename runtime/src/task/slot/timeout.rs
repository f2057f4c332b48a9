//! [`TimedRun`]: the timer entry of a task with a time limit.

use std::sync::Arc;
use std::time::Duration;

use super::Slot;
use crate::error::TaskError;
use crate::pool::Permit;
use crate::pool::timer::Expire;

/// One run of a task with a time limit. The run owns it and the timer holds a weak reference, so a task that ended in
/// time leaves nothing behind in the timer.
pub(super) struct TimedRun<F, T> {
    pub(super) slot: Arc<Slot<F, T>>,
    pub(super) permit: Arc<Permit>,
    /// Whether the caller of the task runs it: see [`serial`](crate::serial).
    pub(super) is_serial: bool,
}

impl<F, T> Expire for TimedRun<F, T>
where
    F: FnOnce() -> T,
{
    fn expire(&self, after: Duration) {
        let slot = &self.slot;
        if self.is_serial {
            // The caller runs the task and cannot leave it, so the task can only be asked to stop.
            return slot.cell.request_stop();
        }
        if !slot.core.write_off(&self.permit, || slot.cell.seal()) {
            return;
        }
        slot.cell.request_stop();
        // SAFETY: `write_off` returned `true`, so this thread's `seal` succeeded, and it has not published before.
        unsafe { slot.publish_run(Err(Box::new(TaskError::TimedOut { after }))) };
    }
}
