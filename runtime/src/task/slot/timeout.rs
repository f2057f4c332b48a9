//! A task's time limit.

use std::sync::Arc;
use std::time::Duration;

use super::Slot;
use crate::error::TaskError;
use crate::pool::Permit;
use crate::pool::config;
use crate::pool::timer::Expire;

/// One run of a task with a time limit; it ends with the run, so the timer holds nothing of what has ended in time.
pub(super) struct Timed<F, T> {
    pub(super) slot: Arc<Slot<F, T>>,
    pub(super) permit: Arc<Permit>,
}

impl<F, T> Expire for Timed<F, T>
where
    F: FnOnce() -> T,
{
    fn expire(&self, after: Duration) {
        let slot = &self.slot;
        if config::serial() {
            // The caller runs it, and cannot leave: all there is to do is to tell it.
            return slot.cell.ask_to_stop();
        }
        if !slot.core.write_off(&self.permit, || slot.cell.seal()) {
            return;
        }
        slot.cell.ask_to_stop();
        // SAFETY: sealed just now.
        unsafe { slot.publish(Err(Box::new(TaskError::TimedOut { after }))) };
    }
}
