//! Whether a thread drives an async runtime of one thread: a wait for one of its tasks would else never end.

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

/// Waits until a runtime of one thread polls a task; `false` if it does not. A deadline before that is for the caller to
/// notice, and a thread that the runtime started itself need not ask: it has a driver, which may be busy for longer.
pub(super) fn is_driven(runtime: &Handle, deadline: Option<Instant>) -> bool {
    let limit = Instant::now() + DRIVEN_WITHIN;
    if deadline.is_some_and(|deadline| deadline < limit) || is_blocking_thread_of(runtime) {
        return true;
    }
    let seen = Arc::new(AtomicBool::new(false));
    let probe = Probe { seen: Arc::clone(&seen), waiter: park::waker() };
    drop(runtime.spawn(async move { drop(probe) }));
    wait_until_deadline(|| seen.load(Ordering::Acquire), limit)
}

/// Whether this thread runs a closure of the runtime's `spawn_blocking`: that is a task, and the one kind that is polled
/// outside of every `block_on`. A worker of another runtime that has entered this one runs a task too, but inside of one.
fn is_blocking_thread_of(runtime: &Handle) -> bool {
    let is_task_here = tokio::task::try_id().is_some();
    is_task_here
        && Handle::try_current().is_ok_and(|here| here.id() == runtime.id())
        // Tokio alone knows, and says so by a panic.
        && panics::quietly(|| runtime.block_on(async {})).is_ok()
}

/// Tells that it was dropped: polled, or with its runtime.
struct Probe {
    seen: Arc<AtomicBool>,
    waiter: Waker,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.seen.store(true, Ordering::Release);
        self.waiter.wake_by_ref();
    }
}
