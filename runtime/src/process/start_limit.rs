//! [`StartLimiter`]: how often a pool tries to start worker processes when starts fail.
//!
//! A start has failed when no worker is ready, or when the worker exits before it begins its first call. Consecutive
//! failed starts of a pool are one *series*. After each failure all threads of the pool pause, from 20 ms doubling to 1
//! s. After [`MAX_ATTEMPTS`] failures, or one that no retry can help, the call fails with the last cause. Starts that
//! are made at the same time count as one attempt. A call that was made before a series failed, less than 1 s ago,
//! fails with the same error, so ten thousand queued tasks cost one series. A worker that begins a call ends the
//! series.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::process::os::ChildProcess;
use crate::sys::mutex;
use crate::sys::reserve;

/// The consecutive failed starts of a series.
const MAX_ATTEMPTS: u32 = 5;
/// The pause after the first failure; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause, and the time for which calls share an error.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The interval at which a pause checks whether its call was cancelled.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The time that a worker may take to start: the call's `timeout`, and at least this. Most workers are ready within 10
/// ms, and take longer if the machine is short of cores. A shorter time limit is meant for the function, not for the
/// start.
const MIN_START_TIME: Duration = Duration::from_secs(1);

/// The number of failed series so far, in all pools.
static SERIES: AtomicU32 = AtomicU32::new(0);

/// The number of failed series so far: it tells calls that were made before a series failed from later ones.
#[inline]
pub(crate) fn series() -> u32 {
    SERIES.load(Ordering::Relaxed)
}

/// A call that needs a worker process.
pub(crate) struct StartCaller<'a> {
    /// The task that can be cancelled, as [`current`](crate::task::cancel::current) returns it.
    pub(crate) task: Option<usize>,
    /// The value of [`series`] when the call was made.
    pub(crate) start_series: u32,
    /// The time limit of the call.
    pub(crate) limit: Option<Duration>,
    pub(crate) is_cancelled: &'a dyn Fn() -> bool,
    /// The time at which its worker must be ready; set when a start is first tried.
    deadline: Option<Instant>,
    /// The failed starts of this call.
    failed: u32,
    /// The consecutive failed starts of the pool when this call's last start began.
    pub(crate) failed_before: u32,
}

/// Why a call gets no worker process.
#[derive(Debug)]
pub(crate) enum NoWorker {
    /// The call was cancelled.
    Cancelled,
    /// Its time limit has passed.
    TimedOut,
    /// Starts have failed, for this reason.
    Failed(String),
}

impl<'a> StartCaller<'a> {
    pub(crate) fn new(
        task: Option<usize>,
        start_series: u32,
        limit: Option<Duration>,
        is_cancelled: &'a dyn Fn() -> bool,
    ) -> Self {
        Self { task, start_series, limit, is_cancelled, deadline: None, failed: 0, failed_before: 0 }
    }

    /// The time at which its worker must be ready.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        if self.deadline.is_none() {
            self.deadline = self.limit.and_then(|limit| Instant::now().checked_add(limit.max(MIN_START_TIME)));
        }
        self.deadline
    }
}

/// The state of the starts of a pool, and its processes.
#[derive(Default)]
pub(crate) struct StartLimiter(Mutex<StartState>);

#[derive(Default)]
struct StartState {
    /// Consecutive failures. Failures of starts that were made at the same time count once.
    failed: u32,
    /// After a failure, the time before which no start is made.
    next: Option<Instant>,
    /// The last failed series: its number, the time of its end, and its last cause.
    series: Option<(u32, Instant, Arc<str>)>,
    /// The pool's worker processes.
    processes: Vec<Weak<ChildProcess>>,
    /// Whether the pool was cancelled, so that new processes are killed.
    cancelled: bool,
}

fn pause(failed: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failed.saturating_sub(1).min(16));
    doubled.min(MAX_PAUSE)
}

impl StartLimiter {
    fn lock(&self) -> MutexGuard<'_, StartState> {
        mutex::lock(&self.0)
    }

    /// Waits until the call may start a worker.
    pub(crate) fn wait_for_turn(&self, caller: &mut StartCaller<'_>) -> Result<(), NoWorker> {
        let deadline = caller.deadline();
        loop {
            if (caller.is_cancelled)() {
                return Err(NoWorker::Cancelled);
            }
            let mut state = self.lock();
            let now = Instant::now();
            let wait = state.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now));
            if let Some((number, at, why)) = &state.series
                && *number > caller.start_series
                && now.saturating_duration_since(*at) < MAX_PAUSE
            {
                let why = Arc::clone(why);
                drop(state);
                return Err(NoWorker::Failed(why.to_string()));
            }
            if wait.is_zero() {
                if state.failed > 0 {
                    state.next = now.checked_add(pause(state.failed));
                }
                caller.failed_before = state.failed;
                return Ok(());
            }
            drop(state);
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Err(NoWorker::TimedOut);
            }
            std::thread::sleep(wait.min(left).min(POLL_INTERVAL));
        }
    }

    /// Records a failed start; returns the error if the call should give up.
    pub(crate) fn failed(&self, caller: &mut StartCaller<'_>, why: &str, may_succeed_later: bool) -> Option<String> {
        caller.failed += 1;
        self.count_failure(caller.failed_before, caller.failed, why, may_succeed_later)
    }

    /// Records a worker that exited before it began a call, where no single call started it. `failed_before` is the
    /// number of consecutive failures before its own start. Returns the error if the pipeline should give up.
    pub(crate) fn worker_failed_start(&self, failed_before: u32, why: &str) -> Option<String> {
        self.count_failure(failed_before, 0, why, true)
    }

    fn count_failure(&self, failed_before: u32, of_call: u32, why: &str, may_succeed_later: bool) -> Option<String> {
        let mut state = self.lock();
        // Starts that were made at the same time count once, so a pool with many workers has as many attempts as one
        // with few.
        if failed_before >= state.failed {
            state.failed = state.failed.saturating_add(1);
        }
        let now = Instant::now();
        state.next = now.checked_add(pause(state.failed));
        let failed = state.failed.max(of_call);
        drop(state);
        if may_succeed_later && failed < MAX_ATTEMPTS {
            return None;
        }
        let why = match failed {
            1 => why.to_owned(),
            failed => format!("{failed} starts of a worker process in a row have failed, the last one so: {why}"),
        };
        let number = SERIES.fetch_add(1, Ordering::Relaxed) + 1;
        let series = (number, now, Arc::from(why.as_str()));
        let failed_before = self.lock().series.replace(series);
        drop(failed_before);
        Some(why)
    }

    /// Records that a worker has begun its first call.
    #[cold]
    pub(crate) fn succeeded(&self) {
        let mut state = self.lock();
        (state.failed, state.next) = (0, None);
        let series = state.series.take();
        drop(state);
        drop(series);
    }

    /// Adds a process, to be killed if the pool is cancelled; `false` if the pool is cancelled already.
    pub(crate) fn track(&self, process: &Arc<ChildProcess>) -> bool {
        let mut ended = Vec::new();
        let mut state = reserve::lock_with_buffer(|| self.lock(), |state| state.processes.len(), &mut ended);
        ended.extend(state.processes.extract_if(.., |process| process.strong_count() == 0));
        drop(state);
        drop(ended);
        let mut state = reserve::lock_with_capacity(|| self.lock(), |state| &mut state.processes, 1);
        state.processes.push(Arc::downgrade(process));
        !state.cancelled
    }

    /// Kills the pool's processes except those with the ids `except`, and those that start from now on.
    pub(crate) fn cancel(&self, except: &[u32]) {
        let mut processes = Vec::new();
        let mut state = reserve::lock_with_buffer(|| self.lock(), |state| state.processes.len(), &mut processes);
        state.cancelled = true;
        processes.extend(state.processes.iter().filter_map(Weak::upgrade));
        drop(state);
        for process in processes {
            if !except.contains(&process.id()) {
                process.kill();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_bounded_and_earlier_calls_share_its_error() {
        let limiter = StartLimiter::default();
        let stopped = || false;
        let mut caller = StartCaller::new(None, series(), None, &stopped);
        let mut early = StartCaller::new(None, series(), None, &stopped);
        for n in 1..=MAX_ATTEMPTS {
            limiter.wait_for_turn(&mut caller).expect("it may try");
            let error = limiter.failed(&mut caller, "no luck", true);
            assert_eq!(error.is_some(), n == MAX_ATTEMPTS);
            assert!(error.is_none_or(|error| error.starts_with("5 starts") && error.ends_with(": no luck")));
        }
        assert!(matches!(limiter.wait_for_turn(&mut early), Err(NoWorker::Failed(_))));
        let mut late = StartCaller::new(None, series(), None, &stopped);
        limiter.wait_for_turn(&mut late).expect("it was made after that");
        assert!(limiter.failed(&mut late, "no luck", true).is_some(), "one attempt while the series goes on");
        limiter.succeeded();
        assert!(limiter.failed(&mut late, "no luck", true).is_none());
        assert!(limiter.failed(&mut late, "for ever", false).is_some());
    }

    #[test]
    fn simultaneous_failures_count_as_one_attempt() {
        let limiter = StartLimiter::default();
        let stopped = || false;
        let mut callers: Vec<_> =
            (0..4 * MAX_ATTEMPTS).map(|_| StartCaller::new(None, series(), None, &stopped)).collect();
        callers.iter_mut().for_each(|caller| limiter.wait_for_turn(caller).expect("it may try"));
        for caller in &mut callers {
            assert!(limiter.failed(caller, "no luck", true).is_none());
        }
        assert_eq!(limiter.lock().failed, 1);
        for failed_before in 1..MAX_ATTEMPTS {
            assert_eq!(
                limiter.worker_failed_start(failed_before, "no luck").is_some(),
                failed_before == MAX_ATTEMPTS - 1
            );
        }
    }

    #[test]
    fn a_pause_ends_when_the_call_is_cancelled_or_times_out() {
        let limiter = StartLimiter::default();
        for n in 0..MAX_ATTEMPTS {
            limiter.worker_failed_start(n, &n.to_string());
        }
        limiter.lock().next = Instant::now().checked_add(Duration::from_secs(3_600));
        let (stopped, goes_on) = (|| true, || false);
        let mut caller = StartCaller::new(None, series(), None, &stopped);
        assert!(matches!(limiter.wait_for_turn(&mut caller), Err(NoWorker::Cancelled)));
        let mut caller = StartCaller::new(None, series(), Some(Duration::from_millis(1)), &goes_on);
        assert!(matches!(limiter.wait_for_turn(&mut caller), Err(NoWorker::TimedOut)));
    }

    #[test]
    fn pauses_double_up_to_a_second() {
        let pauses = [1, 2, 3, 4, 40].map(|failed| pause(failed).as_millis());
        assert_eq!(pauses, [20, 40, 80, 160, 1_000]);
    }
}
