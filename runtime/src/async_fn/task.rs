//! Submitted async calls: one task slot each, polled by a runtime instead of run by a worker.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use tokio::task::AbortHandle;

use super::{TimedFuture, runtime};
use crate::error::TaskError;
use crate::error::panics;
use crate::pool::Core;
use crate::pool::async_tasks::Alive;
use crate::pool::block_in_place::Blocked;
use crate::pool::config;
use crate::sys::unwind;
use crate::task::Task;
use crate::task::send_proof::CallProof;
use crate::task::slot::{CompletionSink, Handle, Listener, Slot, TaskId, TaskOptions, TaskWork};

/// The future of a task that nobody has polled.
pub(crate) struct Polled<Fut>(Pin<Box<Fut>>);

/// Only its runtime runs it.
impl<Fut, T> TaskWork<T> for Polled<Fut> {
    const IN_POOL_QUEUE: bool = false;

    fn run_if_queued(_: &Slot<Self, T>) -> bool {
        false
    }
}

/// Gives the future to the caller's runtime, or to Fanfold's own.
pub(crate) fn spawn<Fut>(core: &Arc<Core>, function: &'static str, terms: TaskOptions, future: Fut) -> Task<Fut::Output>
where
    Fut: Future + Send + 'static,
    Fut::Output: 'static,
{
    core.check_fork();
    let work = Polled(Box::pin(future));
    // SAFETY: the future is `Send`; its output is the call's result, for which the caller's proof stands.
    let proof = unsafe { CallProof::new_unchecked() };
    let slot = Slot::new(Arc::clone(core), function, terms, work, proof);
    let running = Running { slot: Arc::clone(&slot), future: None, _alive: Alive::new() };
    if core.is_closed() {
        slot.end_unstarted(TaskError::PoolClosed);
    } else if config::serial() && !runtime::is_inside() {
        runtime::block_on(running);
        return Task::from_handle(slot);
    }
    let home = runtime::current();
    let abort = home.spawn(running).abort_handle();
    Task::from_handle(Arc::new(Spawned { slot, abort, home }))
}

/// A task's handle to its future.
struct Spawned<Fut, T> {
    slot: Arc<Slot<Polled<Fut>, T>>,
    abort: AbortHandle,
    /// The runtime that polls it.
    home: Runtime,
}

impl<Fut: Send, T> Handle<T> for Spawned<Fut, T> {
    fn cancel(&self) -> bool {
        let unbegun = self.slot.cancel();
        // One that was begun is dropped where it awaits.
        self.abort.abort();
        unbegun
    }

    fn is_polled(&self) -> bool {
        true
    }

    fn blocked(&self) -> Blocked {
        if !runtime::has_threads(&self.home) {
            return Blocked::Driver(self.home.clone());
        }
        let is_here = Runtime::try_current().is_ok_and(|here| here.id() == self.home.id());
        if is_here { Blocked::OneThread } else { Blocked::Nothing }
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
}

/// What the runtime polls: the future, and where its outcome goes.
struct Running<Fut: Future> {
    slot: Arc<Slot<Polled<Fut>, Fut::Output>>,
    /// Once it was begun, until it has ended.
    future: Option<Limited<Fut>>,
    _alive: Alive,
}

/// With the task's time limit, or without one.
enum Limited<Fut> {
    Free(Pin<Box<Fut>>),
    Timed(TimedFuture<Pin<Box<Fut>>>),
}

impl<Fut: Future> Limited<Fut> {
    fn new(future: Pin<Box<Fut>>, limit: Option<Duration>) -> Self {
        match limit {
            Some(limit) => Self::Timed(TimedFuture::new(future, limit)),
            None => Self::Free(future),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Fut::Output, TaskError>> {
        match self {
            Self::Free(future) => future.as_mut().poll(context).map(Ok),
            Self::Timed(future) => Pin::new(future).poll(context),
        }
    }
}

impl<Fut: Future> Future for Running<Fut> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.future.is_none() {
            let Some(Polled(future)) = this.slot.claim_work() else { return Poll::Ready(()) };
            this.future = Some(Limited::new(future, this.slot.options().timeout));
        }
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        let current = this.slot.enter();
        let polled = panics::catch(this.slot.function(), || future.poll(context));
        drop(current);
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(outcome)) => outcome,
            Err(panicked) => Err(panicked),
        };
        // What it borrowed or locked is let go of before anybody hears of the end.
        unwind::discard(this.future.take());
        this.slot.finish(outcome);
        Poll::Ready(())
    }
}

/// Dropped before its end: aborted, or its runtime has shut down.
impl<Fut: Future> Drop for Running<Fut> {
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
