//! The worker slot of the current thread, on which it runs calls.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use super::request_replies::OnResult;
use super::worker_slot::{CallRequest, WorkerSlot};
use crate::error::TaskError;

thread_local! {
    /// The worker slot of this thread. `ManuallyDrop` keeps it usable in destructors of other thread-locals, which may
    /// call process functions. The code that sets a slot takes it out again, so none is leaked.
    static CURRENT_SLOT: ManuallyDrop<RefCell<Option<Box<WorkerSlot>>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

/// Replaces the worker slot of this thread; returns the one before.
pub(crate) fn replace_current(slot: Option<Box<WorkerSlot>>) -> Option<Box<WorkerSlot>> {
    CURRENT_SLOT.with(|current| current.replace(slot))
}

/// Runs `work` with the worker slot of this thread. Meanwhile the thread has none, so tasks that end in `work` may use
/// other slots.
///
/// # Panics
///
/// If this thread has no worker slot.
pub(crate) fn with_current(work: impl FnOnce(&mut WorkerSlot)) {
    let slot = CURRENT_SLOT.with(|current| current.take());
    let mut slot = slot.expect("a thread of a process pool runs calls on a worker slot");
    work(&mut slot);
    CURRENT_SLOT.with(|current| current.replace(Some(slot)));
}

/// Runs calls on the worker process of this thread's slot. Passes each result to `on_result`, in order.
///
/// # Errors
///
/// The error of the first call without a result. The calls behind it were not run.
///
/// # Panics
///
/// If this thread has no worker slot.
pub(crate) fn run(request: &CallRequest<'_>, on_result: &mut OnResult<'_>) -> Result<(), TaskError> {
    CURRENT_SLOT.with(|current| {
        let mut slot = current.borrow_mut();
        let slot = slot.as_mut().expect("a thread of a process pool runs calls on a worker slot");
        slot.run(request, on_result)
    })
}

/// The calls that this thread's worker process may still run before it is replaced; after a replacement, all of them.
pub(crate) fn remaining_tasks() -> u64 {
    CURRENT_SLOT
        .with(|current| {
            let slot = current.borrow();
            slot.as_ref()?.remaining_tasks()
        })
        .unwrap_or(u64::MAX)
}

/// Whether the last call of this thread's slot failed because no worker process could be started.
pub(crate) fn last_start_failed() -> bool {
    CURRENT_SLOT.with(|current| current.borrow().as_ref().is_some_and(|slot| slot.last_start_failed))
}
