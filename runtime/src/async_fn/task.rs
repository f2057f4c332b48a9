//! Submitted async calls: each is a task slot whose future a Tokio runtime polls.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle as Runtime;

use super::{TimedFuture, runtime};
use crate::error::TaskError;
use crate::error::panics;
use crate::pool::Core;
use crate::pool::async_tasks::LiveFuture;
use crate::pool::config;
use crate::pool::runtime_wait::BlockedRuntime;
use crate::pool::work_span::{WorkKind, WorkSpan, is_observed};
use crate::sys::unwind;
use crate::task::send_proof::CallProof;
use crate::task::slot::{CompletionSink, Handle, Listener, Slot, TaskId, TaskOptions, TaskWork};
use crate::task::{AbortHandle, Deadline, Task};

/// The work of an async task before its first poll.
pub(crate) struct QueuedFuture<Fut>(Pin<Box<Fut>>);

// Workers and joiners cannot run it: only its runtime polls it.
impl<Fut, T> TaskWork<T> for QueuedFuture<Fut> {
    const IN_POOL_QUEUE: bool = false;

    fn run_if_queued(_: &Slot<Self, T>) -> bool {
        false
    }
}

/// Spawns a future on the caller's runtime, or on Fanfold's own. It must have been polled by the deadline.
pub(crate) fn spawn<Fut>(
    core: &Arc<Core>,
    function: &'static str,
    options: TaskOptions,
    deadline: Option<Deadline>,
    future: Fut,
) -> Task<Fut::Output>
where
    Fut: Future + Send + 'static,
    Fut::Output: 'static,
{
    core.check_fork();
    let work = QueuedFuture(Box::pin(future));
    // SAFETY: the future is `Send`. Its output is the result that the `CheckedCall` of `submit_async`, the only caller,
    // covers.
    let proof = unsafe { CallProof::new_unchecked() };
    let slot = Slot::new(Arc::clone(core), function, options, work, proof);
    let running = RunningFuture { slot: Arc::clone(&slot), future: None, span: None, _alive: LiveFuture::new() };
    if core.is_closed() {
        slot.end_unstarted(TaskError::PoolClosed);
    } else if config::serial() && !runtime::is_inside() {
        runtime::block_on(running);
        return Task::from_handle(slot);
    }
    let runtime = runtime::current_runtime();
    let abort = runtime.spawn(running).abort_handle();
    let task = Task::from_handle(Arc::new(SpawnedHandle { slot, abort, runtime }));
    task.start_by(deadline);
    task
}

/// The handle of a spawned task.
struct SpawnedHandle<Fut, T> {
    slot: Arc<Slot<QueuedFuture<Fut>, T>>,
    abort: tokio::task::AbortHandle,
    /// The runtime that polls the future.
    runtime: Runtime,
}

impl<Fut: Send + 'static, T: 'static> Handle<T> for SpawnedHandle<Fut, T> {
    fn cancel(&self) -> bool {
        let was_queued = self.slot.cancel();
        // A future that was polled before is dropped at its `.await`.
        self.abort.abort();
        was_queued
    }

    fn is_polled(&self) -> bool {
        true
    }

    fn blocked(&self) -> BlockedRuntime {
        if !runtime::has_threads(&self.runtime) {
            return BlockedRuntime::Driver(self.runtime.clone());
        }
        let is_here = Runtime::try_current().is_ok_and(|here| here.id() == self.runtime.id());
        if is_here { BlockedRuntime::Worker } else { BlockedRuntime::None }
    }

    fn run_if_queued(&self) -> bool {
        false
    }

    fn is_claimable(&self) -> bool {
        false
    }

    fn id(&self) -> TaskId {
        self.slot.id()
    }

    fn is_done(&self) -> bool {
        self.slot.is_done()
    }

    fn is_running(&self) -> bool {
        self.slot.is_running()
    }

    fn has_failed(&self) -> bool {
        self.slot.has_failed()
    }

    fn listen(&self, listener: Listener) -> Option<Listener> {
        self.slot.listen(listener)
    }

    fn remove_sink(&self, sink: &Arc<dyn CompletionSink>, key: usize) {
        self.slot.remove_sink(sink, key);
    }

    fn notify_now(&self, listener: Listener) {
        self.slot.notify_now(listener);
    }

    fn take(&self) -> Option<Result<T, TaskError>> {
        self.slot.take()
    }

    fn core(&self) -> &Arc<Core> {
        self.slot.core()
    }

    fn function(&self) -> &'static str {
        self.slot.function()
    }

    fn abort_handle(self: Arc<Self>) -> AbortHandle {
        Arc::clone(&self.slot).abort_handle().with_future(self.abort.clone())
    }
}

/// The future that the runtime polls, with the slot that gets its outcome.
struct RunningFuture<Fut: Future> {
    slot: Arc<Slot<QueuedFuture<Fut>, Fut::Output>>,
    /// Set from the first poll until the future has ended.
    future: Option<TaskFuture<Fut>>,
    /// The span of the task, from its first poll on.
    span: Option<WorkSpan>,
    _alive: LiveFuture,
}

/// The future with the task's time limit, or without one.
enum TaskFuture<Fut> {
    Unlimited(Pin<Box<Fut>>),
    Timed(TimedFuture<Pin<Box<Fut>>>),
}

impl<Fut: Future> TaskFuture<Fut> {
    fn new(future: Pin<Box<Fut>>, limit: Option<Duration>) -> Self {
        match limit {
            Some(limit) => Self::Timed(TimedFuture::new(future, limit)),
            None => Self::Unlimited(future),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Fut::Output, TaskError>> {
        match self {
            Self::Unlimited(future) => future.as_mut().poll(context).map(Ok),
            Self::Timed(future) => Pin::new(future).poll(context),
        }
    }
}

impl<Fut: Future<Output: 'static> + 'static> Future for RunningFuture<Fut> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut queued = None;
        if this.future.is_none() {
            let Some(QueuedFuture(future)) = this.slot.claim_work() else { return Poll::Ready(()) };
            this.future = Some(TaskFuture::new(future, this.slot.options().timeout));
            queued = this.slot.start_clock();
        }
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        let current = this.slot.enter();
        let polled = panics::catch(this.slot.function(), || {
            if this.span.is_none() && is_observed() {
                this.span = Some(WorkSpan::start(this.slot.work(WorkKind::Future), queued));
            }
            let _entered = this.span.as_ref().map(WorkSpan::enter);
            future.poll(context)
        });
        drop(current);
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(outcome)) => outcome,
            Err(panicked) => Err(panicked),
        };
        // Drops the future, with its borrows and locks, before the task is seen as done.
        unwind::discard(this.future.take());
        unwind::discard(this.span.take());
        this.slot.finish(outcome);
        Poll::Ready(())
    }
}

/// A drop before the end means that the future was aborted, or that its runtime was shut down.
impl<Fut: Future> Drop for RunningFuture<Fut> {
    fn drop(&mut self) {
        match self.future.take() {
            Some(future) => {
                unwind::discard(future);
                self.slot.finish(Err(TaskError::Cancelled));
            }
            None => drop(self.slot.end_unstarted(TaskError::Cancelled)),
        }
    }
}
