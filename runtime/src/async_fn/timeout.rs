//! [`TimedFuture`]: a future with a time limit, which is dropped when its time is up.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::runtime;
use crate::error::TaskError;

/// A future that ends with [`TaskError::TimedOut`] once `limit` is over, counted from its first poll. The inner future
/// is dropped then.
pub struct TimedFuture<Fut> {
    limit: Duration,
    /// `None` after its end.
    future: Option<Pin<Box<Fut>>>,
    /// The timer; set at the first poll.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<Fut: Future> TimedFuture<Fut> {
    pub(crate) fn new(future: Fut, limit: Duration) -> Self {
        Self { limit, future: Some(Box::pin(future)), timer: None }
    }
}

impl<Fut: Future> Future for TimedFuture<Fut> {
    type Output = Result<Fut::Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _entered = runtime::enter();
        let future = this.future.as_mut().expect("this future was polled after it gave its result");
        // The timer starts before the future is polled: a long first poll counts.
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(this.limit)));
        let result = match future.as_mut().poll(context) {
            Poll::Ready(result) => Ok(result),
            Poll::Pending if timer.as_mut().poll(context).is_ready() => Err(TaskError::TimedOut { after: this.limit }),
            Poll::Pending => return Poll::Pending,
        };
        // Drops the future, with its borrows and locks, before the end is seen.
        this.future = None;
        Poll::Ready(result)
    }
}

impl<Fut> fmt::Debug for TimedFuture<Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedFuture").field("limit", &self.limit).finish_non_exhaustive()
    }
}
