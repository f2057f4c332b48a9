//! `retries = N`: again on `Err`, after a pause that doubles each time.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::thread;
use std::time::{Duration, Instant};

use crate::pool;
use crate::task::cancel::{cancelled, current_task_key};

/// How often to try again, how long to wait before the first time, and what a failure is.
pub struct Retry<R> {
    times: u32,
    backoff: Duration,
    failed: fn(&R) -> bool,
}

impl<R> Retry<R> {
    /// Tries `times` more after a failure.
    #[must_use]
    pub const fn new(times: u32, backoff_nanoseconds: u64, failed: fn(&R) -> bool) -> Self {
        Self { times, backoff: Duration::from_nanos(backoff_nanoseconds), failed }
    }

    /// Runs `attempt` until it succeeds, all tries are used up, or the task is cancelled; gives the last result.
    pub fn run(self, mut attempt: impl FnMut() -> R) -> R {
        let mut pauses = Pauses::new(self.backoff);
        for _ in 0..self.times {
            let result = attempt();
            if !(self.failed)(&result) || cancelled() {
                return result;
            }
            pauses.next(None);
            if cancelled() {
                return result;
            }
        }
        attempt()
    }

    /// As [`run`](Self::run), for attempts that are futures. One that is cancelled is dropped.
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

/// How often a pause looks whether its task was cancelled.
const GLANCE: Duration = Duration::from_millis(20);

/// Pauses that double.
pub(crate) struct Pauses(Duration);

impl Pauses {
    pub(crate) fn new(first: Duration) -> Self {
        Self(first)
    }

    /// Makes the next one this long, unless it is longer.
    #[cfg(feature = "process")]
    pub(crate) fn at_least(&mut self, pause: Duration) {
        self.0 = self.0.max(pause);
    }

    /// Sleeps for the next one, but no longer than `most`; a worker gives its permit back meanwhile.
    pub(crate) fn next(&mut self, most: Option<Duration>) {
        let pause = jittered(self.0).min(most.unwrap_or(Duration::MAX));
        self.0 = self.0.saturating_mul(2);
        if !pause.is_zero() {
            pool::wait_by(|| sleep(pause));
        }
    }
}

/// Sleeps, but not for long after the task was told to stop: nobody wakes a task that runs.
fn sleep(pause: Duration) {
    if current_task_key().is_none() && !pool::is_worker() {
        // Nobody can cancel it: neither the task nor the pool.
        return thread::sleep(pause);
    }
    let start = Instant::now();
    while !cancelled()
        && let Some(left) = pause.checked_sub(start.elapsed()).filter(|left| !left.is_zero())
    {
        thread::sleep(left.min(GLANCE));
    }
}

/// Between half and all of the pause: many that failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    // The standard library's source of random bits: each state has other keys.
    let random = RandomState::new().build_hasher().finish();
    let share = f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}

/// The proof that a result can fail, for `retries`.
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` cannot be tried again",
    label = "says nothing of failure",
    note = "`retries` calls the function again when it returns `Err`: return a `Result`"
)]
pub trait Fallible {
    /// Whether it is a failure.
    fn has_failed(&self) -> bool;
}

impl<T, E> Fallible for Result<T, E> {
    fn has_failed(&self) -> bool {
        self.is_err()
    }
}

/// The proof, as the question itself.
#[must_use]
pub fn fallible<R: Fallible>() -> fn(&R) -> bool {
    R::has_failed
}

/// An argument that each attempt gets a copy of.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given to a second attempt",
    label = "not `Clone`, so it is used up by the first attempt",
    note = "`retries` calls the function again with the same arguments: take it by reference, or make it `Clone`"
)]
pub trait Again: Sized {
    /// One more of it.
    fn again(&self) -> Self;
}

impl<T: Clone> Again for T {
    fn again(&self) -> Self {
        self.clone()
    }
}

/// A copy of an argument, for one attempt.
pub fn again<T: Again>(value: &T) -> T {
    value.again()
}
