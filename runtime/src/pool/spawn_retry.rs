//! Thread starts that a pool needs and did not get. The timer thread tries them again.
//!
//! A pool needs a thread when there is a job with a free permit and no thread to take it. It does not get one in two
//! cases: the operating system refuses the thread, or the pool has many spare threads already. Then
//! no other thread may be able to try again: the workers wait, for that very job perhaps. So the timer thread
//! checks the pool until no thread is missing.
//!
//! *Refused* threads are asked for again after 1 ms, and then each time after twice the pause before, up to 100 ms. If
//! a thread is refused again,
//!
//! - blocked workers are woken, and run the job that they wait for themselves where they may (`Task::claim_refused`);
//! - a queued task with a time limit that no thread could be had for during that time ends as timed out.
//!
//! *Capped* spare threads bound the threads of a pool whose jobs wait for another, busy pool: with one thread per job
//! all of them would wait at once. While jobs end, their workers return to the queue. If no job of the pool has ended
//! since the last check, more spare threads may start. If no pool of the process runs a job, as each may wait for one that
//! is queued behind it, their number doubles every 10 ms. Otherwise one more starts every 100 ms.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::Core;
use super::job::Job;
use super::registry;
use super::timer::{self, Expire};
use crate::pool::queue::state::{SpawnRetry, State, default_spares};
use crate::sys::mutex;
use crate::sys::reserve;

/// The first pause after a refusal.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause after a refusal.
const MAX_PAUSE: Duration = Duration::from_millis(100);
/// The pause between two checks at a pool whose spare threads are capped.
pub(super) const CAPPED_PAUSE: Duration = Duration::from_millis(10);
/// How long no job of a pool ends before it gets one more spare thread, while other pools run jobs.
const STALL_TIME: Duration = Duration::from_millis(100);

impl State {
    /// Records that a thread is needed and was not started. Returns whether a first check must be
    /// [requested](Core::retry_spawns_after).
    pub(super) fn defer_spawn(&mut self, is_refused: bool, jobs_finished: u64) -> bool {
        let is_first = self.spawn_retry.is_none();
        let first = || SpawnRetry { pause: FIRST_PAUSE, is_refused, jobs_finished, progress_at: Instant::now() };
        self.spawn_retry.get_or_insert_with(first).is_refused |= is_refused;
        is_first
    }

    /// How many threads may exist while no worker is blocked.
    pub(super) fn unblocked_threads(&self) -> usize {
        self.limit.max(self.rayon_threads)
    }

    /// How many threads may exist.
    pub(super) fn max_threads(&self) -> usize {
        self.unblocked_threads() + self.blocked.min(self.max_spares) + self.written_off
    }

    /// Allows one spare thread more than there are, or twice as many.
    fn raise_max_spares(&mut self, doubles: bool) {
        let spares = self.threads.saturating_sub(self.unblocked_threads() + self.written_off);
        let more = if doubles { spares.max(1) } else { 1 };
        self.max_spares = (spares + more).max(self.max_spares);
    }
}

/// How often a check has found a pool whose threads the operating system refuses.
static REFUSALS: AtomicU64 = AtomicU64::new(0);

/// A counter. When it changes, each blocked worker should try to run the job that it waits for.
#[inline]
pub(crate) fn refusals() -> u64 {
    REFUSALS.load(Ordering::Acquire)
}

/// A pool's entry in the timer: checks for missing threads.
pub(super) struct RetryTimer {
    core: Weak<Core>,
    /// Queued jobs with a time limit, by address. Only the timer thread uses it.
    limited_jobs: Mutex<HashMap<usize, SeenJob>>,
}

/// A job, and when a check first found it in the queue.
type SeenJob = (Arc<dyn Job>, Instant);

impl RetryTimer {
    pub(super) fn new(core: &Weak<Core>) -> Arc<Self> {
        Arc::new(Self { core: Weak::clone(core), limited_jobs: Mutex::default() })
    }

    /// Ends queued jobs that have waited for a thread for as long as they may run.
    fn time_out_queued_jobs(&self, mut queued: Vec<(Arc<dyn Job>, Duration)>) {
        let now = Instant::now();
        let lock = || mutex::lock(&self.limited_jobs);
        let before = std::mem::take(&mut *lock());
        let address = |job: &Arc<dyn Job>| Arc::as_ptr(job).addr();
        let since = |job: &Arc<dyn Job>| before.get(&address(job)).map_or(now, |(_, since)| *since);
        let seen = queued.iter().map(|(job, _)| (address(job), (Arc::clone(job), since(job)))).collect();
        queued.retain(|(job, limit)| now.duration_since(since(job)) >= *limit);
        drop(before);
        let before = std::mem::replace(&mut *lock(), seen);
        drop(before);
        for (job, _) in queued {
            job.time_out_queued();
        }
    }
}

impl Expire for RetryTimer {
    fn expire(&self, _: Duration) {
        if let Some(core) = self.core.upgrade() {
            core.retry_spawns();
        }
    }
}

impl Core {
    /// Has the timer thread check the pool after a pause. Called without the queue's lock.
    pub(super) fn retry_spawns_after(&self, pause: Duration) {
        let timer = Arc::downgrade(&self.retry_timer);
        timer::after(pause, timer);
    }

    /// Whether the operating system refuses a thread that the pool needs.
    pub(crate) fn has_refused_spawn(&self) -> bool {
        self.queue.lock().spawn_retry.as_ref().is_some_and(|retry| retry.is_refused)
    }

    /// Tries to start missing threads. Requests the next check if one is missing still.
    fn retry_spawns(self: &Arc<Self>) {
        if self.queue.dead_tasks() > 0 {
            // Dead tasks need no thread.
            self.queue.sweep();
        }
        let no_job_runs = registry::all().iter().all(|core| core.queue.lock().running == 0);
        let mut state = self.queue.lock();
        let jobs_finished = self.queue.jobs_finished(&state);
        let Some(retry) = &mut state.spawn_retry else { return };
        retry.is_refused = false;
        let has_progress = std::mem::replace(&mut retry.jobs_finished, jobs_finished) != jobs_finished;
        let is_stalled = !has_progress && (no_job_runs || retry.progress_at.elapsed() >= STALL_TIME);
        if has_progress || is_stalled {
            retry.progress_at = Instant::now();
        }
        if is_stalled {
            state.raise_max_spares(no_job_runs);
        }
        self.wake_workers(state);
        let (is_refused, pause) = self.update_spawn_retry(self.queue.lock());
        if is_refused {
            announce_refusal();
        }
        // While jobs end, each queued job will have its turn.
        let limited = if is_refused && !has_progress { self.limited_jobs() } else { Vec::new() };
        self.retry_timer.time_out_queued_jobs(limited);
        if let Some(pause) = pause {
            self.retry_spawns_after(pause);
        }
    }

    /// Returns whether the last start was refused, and the pause until the next check, if there must be one.
    fn update_spawn_retry(&self, mut state: MutexGuard<'_, State>) -> (bool, Option<Duration>) {
        let is_missing = self.queue.missing_workers(&state) > 0;
        let Some(retry) = &mut state.spawn_retry else { return (false, None) };
        if !is_missing {
            state.spawn_retry = None;
            state.max_spares = default_spares(state.limit);
            return (false, None);
        }
        if !retry.is_refused {
            retry.pause = FIRST_PAUSE;
            return (false, Some(CAPPED_PAUSE));
        }
        let pause = retry.pause;
        retry.pause = (2 * pause).min(MAX_PAUSE);
        (true, Some(pause))
    }

    /// The queued jobs with a time limit.
    fn limited_jobs(&self) -> Vec<(Arc<dyn Job>, Duration)> {
        let mut limited = Vec::new();
        self.queue.for_each_list(&mut limited, |limited, jobs| {
            limited.extend(jobs.iter().filter_map(|job| Some((Arc::clone(job), job.time_limit()?))));
        });
        limited
    }
}

/// Wakes the blocked workers of all pools: each may wait for a job of the pool that is refused a thread.
fn announce_refusal() {
    REFUSALS.fetch_add(1, Ordering::AcqRel);
    for core in registry::all() {
        let mut wakers = Vec::new();
        let state = reserve::lock_with_buffer(|| core.queue.lock(), |state| state.blocked_wakers.len(), &mut wakers);
        wakers.extend(state.blocked_wakers.iter().cloned());
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}
