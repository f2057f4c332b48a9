//! Whether any thread drives an async runtime of one thread. If none does, a wait for one of its tasks never ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::current_worker::wait_until_deadline;
use crate::error::panics;
use crate::sys::park;

/// How long a runtime of one thread may take to poll a task before it counts as driven by no thread.
const DRIVEN_WITHIN: Duration = Duration::from_secs(3);

/// Waits until a runtime of one thread polls a new task; `false` if it has not after [`DRIVEN_WITHIN`].
///
/// Returns `true` at once in two cases. The caller notices a deadline before that time itself. And a thread that the
/// runtime started for `spawn_blocking` need not ask: that runtime has a driver, which may be busy for longer.
pub(super) fn is_driven(runtime: &Handle, deadline: Option<Instant>) -> bool {
    let limit = Instant::now() + DRIVEN_WITHIN;
    if deadline.is_some_and(|deadline| deadline < limit) || is_blocking_thread_of(runtime) {
        return true;
    }
    let is_polled = Arc::new(AtomicBool::new(false));
    let probe = PollProbe { is_polled: Arc::clone(&is_polled), waiter: park::waker() };
    drop(runtime.spawn(async move { drop(probe) }));
    wait_until_deadline(|| is_polled.load(Ordering::Acquire), limit)
}

/// Whether this thread runs a closure of the runtime's `spawn_blocking`. Such a closure is a task, and the only kind
/// that is polled outside of every `block_on`. A worker of another runtime that has entered this one also runs a task,
/// but inside of a `block_on`.
fn is_blocking_thread_of(runtime: &Handle) -> bool {
    let is_task_here = tokio::task::try_id().is_some();
    is_task_here
        && Handle::try_current().is_ok_and(|here| here.id() == runtime.id())
        // Tokio has no query for this. Its `block_on` panics inside of another one.
        && panics::quietly(|| runtime.block_on(async {})).is_ok()
}

/// Wakes the waiting thread when it is dropped: its task was polled, or the runtime was dropped.
struct PollProbe {
    is_polled: Arc<AtomicBool>,
    waiter: Waker,
}

impl Drop for PollProbe {
    fn drop(&mut self) {
        self.is_polled.store(true, Ordering::Release);
        self.waiter.wake_by_ref();
    }
}
