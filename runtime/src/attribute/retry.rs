//! Retries with exponential backoff, for `retries = N` and `backoff`.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::thread;
use std::time::{Duration, Instant};

use crate::pool;
use crate::task::cancel::{cancelled, current_task_key};

/// How often to retry, the first pause, and which results are failures.
pub struct Retry<R> {
    times: u32,
    backoff: Duration,
    failed: fn(&R) -> bool,
}

impl<R> Retry<R> {
    /// Up to `times` retries after the first failure.
    #[must_use]
    pub const fn new(times: u32, backoff_nanoseconds: u64, failed: fn(&R) -> bool) -> Self {
        Self { times, backoff: Duration::from_nanos(backoff_nanoseconds), failed }
    }

    /// Runs `attempt` until it succeeds, all retries are used up, or the task is cancelled. Returns the last result.
    pub fn run(self, mut attempt: impl FnMut() -> R) -> R {
        let mut backoff = Backoff::new(self.backoff);
        for _ in 0..self.times {
            let result = attempt();
            if !(self.failed)(&result) || cancelled() {
                return result;
            }
            backoff.sleep(None);
            if cancelled() {
                return result;
            }
        }
        attempt()
    }

    /// As [`run`](Self::run), for attempts that are futures.
    #[cfg(feature = "tokio")]
    pub async fn run_async<Fut>(self, mut attempt: impl FnMut() -> Fut) -> R
    where
        Fut: std::future::Future<Output = R>,
    {
        let mut pause = self.backoff;
        for _ in 0..self.times {
            let result = attempt().await;
            if !(self.failed)(&result) || cancelled() {
                return result;
            }
            drop(result);
            tokio::time::sleep(jittered(pause)).await;
            pause = pause.saturating_mul(2);
        }
        attempt().await
    }
}

/// The interval at which a pause checks whether its task was cancelled.
const CANCEL_CHECK: Duration = Duration::from_millis(20);

/// The pauses between retries, each twice as long as the one before.
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new(first: Duration) -> Self {
        Self(first)
    }

    /// Makes the next pause at least this long.
    #[cfg(feature = "process")]
    pub(crate) fn at_least(&mut self, pause: Duration) {
        self.0 = self.0.max(pause);
    }

    /// Sleeps for the next pause, but no longer than `most`. A worker releases its permit meanwhile.
    pub(crate) fn sleep(&mut self, most: Option<Duration>) {
        let pause = jittered(self.0).min(most.unwrap_or(Duration::MAX));
        self.0 = self.0.saturating_mul(2);
        if !pause.is_zero() {
            pool::blocking_section(|| sleep_unless_cancelled(pause));
        }
    }
}

/// Sleeps until the pause is over or the task is cancelled. A cancel wakes no running task, so the flag is polled.
fn sleep_unless_cancelled(pause: Duration) {
    if current_task_key().is_none() && !pool::is_worker() {
        // Neither a task nor a closing pool can cancel this sleep.
        return thread::sleep(pause);
    }
    let start = Instant::now();
    while !cancelled()
        && let Some(left) = pause.checked_sub(start.elapsed()).filter(|left| !left.is_zero())
    {
        thread::sleep(left.min(CANCEL_CHECK));
    }
}

/// Between half and all of the pause, at random, so that calls that failed together do not retry together.
fn jittered(pause: Duration) -> Duration {
    // Each `RandomState` has other random keys.
    let random = RandomState::new().build_hasher().finish();
    let share = f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}

/// A result that can fail, for `retries`.
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` cannot be tried again",
    label = "says nothing of failure",
    note = "`retries` calls the function again when it returns `Err`: return a `Result`"
)]
pub trait Fallible {
    /// Whether the result is a failure.
    fn has_failed(&self) -> bool;
}

impl<T, E> Fallible for Result<T, E> {
    fn has_failed(&self) -> bool {
        self.is_err()
    }
}

/// The function that tells failures from successes. The bound is the check that the result can fail.
#[must_use]
pub fn fallible<R: Fallible>() -> fn(&R) -> bool {
    R::has_failed
}

/// An argument of which each attempt gets a clone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given to a second attempt",
    label = "not `Clone`, so it is used up by the first attempt",
    note = "`retries` calls the function again with the same arguments: take it by reference, or make it `Clone`"
)]
pub trait CloneForRetry: Sized {
    /// A clone of the value.
    fn clone_for_retry(&self) -> Self;
}

impl<T: Clone> CloneForRetry for T {
    fn clone_for_retry(&self) -> Self {
        self.clone()
    }
}

/// A clone of an argument, for one attempt.
pub fn clone_for_retry<T: CloneForRetry>(value: &T) -> T {
    value.clone_for_retry()
}
