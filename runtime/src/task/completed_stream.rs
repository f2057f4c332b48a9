//! [`Completed`]: the results of tasks as a stream, in the order of completion.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_core::Stream;

use super::alarm::Alarm;
use super::as_completed::{AsCompleted, TimeLimit};
use crate::error::TaskError;

impl<T, K> AsCompleted<T, K> {
    /// Turns the iterator into a stream, for async code: it blocks no thread, and any executor can poll it.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::{Pool, as_completed};
    ///
    /// # pollster::block_on(async {
    /// let tasks = (0..3).map(|n| Pool::cpu_default().submit(move || n * n));
    /// let mut squares = as_completed(tasks).stream();
    /// while let Some((n, square)) = squares.next().await {
    ///     assert_eq!(square.unwrap(), n * n);
    /// }
    /// # });
    /// ```
    pub fn stream(self) -> Completed<T, K> {
        Completed { all: self, alarm: None }
    }
}

/// A stream of the results of tasks in the order of completion; [`AsCompleted::stream`] makes one.
#[must_use = "it is a stream: poll it"]
pub struct Completed<T, K = usize> {
    pub(super) all: AsCompleted<T, K>,
    /// Made by the first poll, if there is a time limit.
    alarm: Option<Arc<Alarm>>,
}

impl<T, K> fmt::Debug for Completed<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed").field("remaining", &self.all.remaining).finish_non_exhaustive()
    }
}

impl<T, K> Completed<T, K> {
    /// Waits for the next result; `None` once all were given.
    pub async fn next(&mut self) -> Option<(K, Result<T, TaskError>)> {
        poll_fn(|context| self.advance(context)).await
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Option<(K, Result<T, TaskError>)>> {
        // Registered before the check: a task that ends in between wakes this waker.
        self.all.completions.wake_on_next(cx.waker());
        if let Some(TimeLimit { deadline: Some(deadline), after }) = self.all.limit {
            self.alarm.get_or_insert_with(|| Alarm::at(deadline)).set(cx.waker().clone());
            if Instant::now() >= deadline && self.all.remaining > 0 {
                let ended = self.all.completions.try_next().and_then(|index| self.all.take_result(index));
                return Poll::Ready(ended.or_else(|| self.all.time_out_next(after)));
            }
        }
        while self.all.remaining > 0 {
            match self.all.completions.try_next() {
                Some(index) => match self.all.take_result(index) {
                    None => {}
                    result => return Poll::Ready(result),
                },
                None => {
                    self.all.completions.check_fork();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(None)
    }
}

// Nothing in it is pinned.
impl<T, K> Unpin for Completed<T, K> {}

impl<T, K> Stream for Completed<T, K> {
    type Item = (K, Result<T, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.advance(cx)
    }
}
