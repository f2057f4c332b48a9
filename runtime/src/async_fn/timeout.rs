//! A future with a time limit: when time is up it is dropped.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::runtime;
use crate::error::TaskError;

/// A future that ends as [`TaskError::TimedOut`] once `limit` is over, counted from its first poll. What it was
/// polling is dropped then.
pub struct TimedFuture<Fut> {
    limit: Duration,
    /// `None` once it has ended.
    future: Option<Pin<Box<Fut>>>,
    /// Starts with the first poll.
    clock: Option<Pin<Box<Sleep>>>,
}

impl<Fut: Future> TimedFuture<Fut> {
    pub(crate) fn new(future: Fut, limit: Duration) -> Self {
        Self { limit, future: Some(Box::pin(future)), clock: None }
    }
}

impl<Fut: Future> Future for TimedFuture<Fut> {
    type Output = Result<Fut::Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _entered = runtime::enter();
        let future = this.future.as_mut().expect("this future was polled after it gave its result");
        // The clock first: a future that never lets go of the thread must not hide that its time has begun.
        let clock = this.clock.get_or_insert_with(|| Box::pin(sleep(this.limit)));
        let result = match future.as_mut().poll(context) {
            Poll::Ready(result) => Ok(result),
            Poll::Pending if clock.as_mut().poll(context).is_ready() => Err(TaskError::TimedOut { after: this.limit }),
            Poll::Pending => return Poll::Pending,
        };
        // What the future holds is let go of before anybody hears of the end.
        this.future = None;
        Poll::Ready(result)
    }
}

impl<Fut> fmt::Debug for TimedFuture<Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedFuture").field("limit", &self.limit).finish_non_exhaustive()
    }
}
