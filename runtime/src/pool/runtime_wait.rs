//! Waiting for tasks that an async runtime polls: the thread that waits may be the one that has to poll them.
//!
//! If no thread drives a runtime of one thread, a wait for one of its tasks never ends. Such a wait panics instead.

#[cfg(feature = "tokio")]
use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "tokio")]
use std::task::Waker;
#[cfg(feature = "tokio")]
use std::time::Duration;
use std::time::Instant;

#[cfg(feature = "tokio")]
use tokio::runtime::Handle;

#[cfg(feature = "tokio")]
use super::block_in_place;
#[cfg(feature = "tokio")]
use super::current_worker::wait_until_deadline;
#[cfg(feature = "tokio")]
use crate::error::panics;
#[cfg(feature = "tokio")]
use crate::sys::park;

/// The async runtime that a thread blocks while it waits for a task, as far as the task needs that runtime.
#[derive(Clone, Default)]
pub(crate) enum BlockedRuntime {
    /// None that polls the task.
    #[default]
    None,
    /// One of several worker threads of the runtime that polls the task.
    #[cfg(feature = "tokio")]
    Worker,
    /// The runtime polls the task on one thread only. The waiting thread may be that one, or another thread drives it.
    #[cfg(feature = "tokio")]
    Driver(Handle),
}

impl BlockedRuntime {
    /// The one of both that matters more: `Driver`, then `Worker`.
    #[cfg_attr(not(feature = "tokio"), allow(clippy::needless_pass_by_value, reason = "there is one value only"))]
    pub(crate) fn or(self, other: Self) -> Self {
        match (&self, &other) {
            #[cfg(feature = "tokio")]
            (_, Self::Driver(_)) | (Self::None, _) => other,
            _ => self,
        }
    }
}

/// Waits for tasks, until the deadline at most. If this thread is one of several of the runtime that polls them,
/// another thread takes its place meanwhile.
///
/// # Panics
///
/// On the only thread of that runtime, which would wait for itself, and if no thread drives that runtime.
#[cfg(feature = "tokio")]
#[track_caller]
pub(crate) fn wait<T>(blocked: BlockedRuntime, deadline: Option<Instant>, wait: impl FnOnce() -> T) -> T {
    match blocked {
        BlockedRuntime::None => wait(),
        BlockedRuntime::Worker => block_in_place::in_place(wait),
        BlockedRuntime::Driver(runtime) => {
            let is_inside = || Handle::try_current().is_ok_and(|here| here.id() == runtime.id());
            if is_inside() && !block_in_place::can_block() {
                block_in_place::panic_would_block();
            }
            assert!(
                is_driven(&runtime, deadline),
                "no thread drives the async runtime of one thread that is to run what this waits for: `.await` the \
                 task inside of its `block_on`, or submit it where that runtime is not entered"
            );
            wait()
        }
    }
}

#[cfg(not(feature = "tokio"))]
pub(crate) fn wait<T>(_: BlockedRuntime, _: Option<Instant>, wait: impl FnOnce() -> T) -> T {
    wait()
}

/// How long a runtime of one thread may take to poll a task before it counts as driven by no thread.
#[cfg(feature = "tokio")]
const DRIVEN_WITHIN: Duration = Duration::from_secs(3);

/// Waits until a runtime of one thread polls a new task; `false` if it has not after [`DRIVEN_WITHIN`].
///
/// Returns `true` at once in two cases. The caller notices a deadline before that time itself. And a thread that the
/// runtime started for `spawn_blocking` need not ask: that runtime has a driver, which may be busy for longer.
#[cfg(feature = "tokio")]
fn is_driven(runtime: &Handle, deadline: Option<Instant>) -> bool {
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
#[cfg(feature = "tokio")]
fn is_blocking_thread_of(runtime: &Handle) -> bool {
    let is_task_here = tokio::task::try_id().is_some();
    is_task_here
        && Handle::try_current().is_ok_and(|here| here.id() == runtime.id())
        // Tokio has no query for this. Its `block_on` panics inside of another one.
        && panics::quietly(|| runtime.block_on(async {})).is_ok()
}

/// Wakes the waiting thread when it is dropped: its task was polled, or the runtime was dropped.
#[cfg(feature = "tokio")]
struct PollProbe {
    is_polled: Arc<AtomicBool>,
    waiter: Waker,
}

#[cfg(feature = "tokio")]
impl Drop for PollProbe {
    fn drop(&mut self) {
        self.is_polled.store(true, Ordering::Release);
        self.waiter.wake_by_ref();
    }
}
