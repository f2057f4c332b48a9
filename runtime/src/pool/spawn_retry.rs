//! Starts of threads that a pool wants and did not get, and that are tried again.
//!
//! A pool wants a thread when there is a job and a permit, and no thread to take it. Such a start is *deferred* when the
//! operating system refuses the thread, or when the pool has [many](spares) that stand in for workers that wait.
//! Then nobody may be left to try again: the workers wait, for that very job perhaps. So the timer thread looks at the
//! pool until no thread is missing.
//!
//! *Refused* starts are tried again after 1 ms and then after twice the pause before, up to 100 ms. If that is refused
//! too,
//!
//! - workers that wait wake, and run what they wait for themselves where they may (`Task::claim_refused`);
//! - a queued task with a time limit that no thread came for during that time ends as timed out.
//!
//! *Held back* starts bound the threads of a pool whose jobs wait for another, busy pool: one thread a job would have
//! them all wait at once. While jobs end, those that have waited come to the queue. When no job of the pool has ended
//! since the last look, one more thread starts: every 10 ms if no pool of the process runs anything, as each job may wait
//! for one that is queued behind it, and every 100 ms else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::Core;
use super::job::Job;
use super::registry;
use super::timer::{self, Expire};
use crate::pool::queue::state::State;
use crate::sys::reserve;

/// The first pause after a refusal.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest one.
const MAX_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at a pool whose starts are held back.
pub(super) const CAPPED_PAUSE: Duration = Duration::from_millis(10);
/// How long no job of a pool ends before it has one thread more, though other jobs run.
const STALL_TIME: Duration = Duration::from_millis(100);

/// What a pool knows of a start that is deferred.
pub(super) struct SpawnRetry {
    /// Until the next look.
    pause: Duration,
    /// Whether the operating system refused the last start.
    refused: bool,
    /// The queue's count of jobs_finished at the last look.
    jobs_finished: u64,
    /// When a look saw that count change, or had one thread more start.
    progress_at: Instant,
}

/// How many threads of a pool may stand in for workers that wait, before more of them are held back: as many as the pool
/// has permits, and 64 at least.
pub(super) fn default_spares(limit: usize) -> usize {
    limit.max(64)
}

impl State {
    /// Defers the start of a thread. Whether the first look must be [arranged](Core::retry_spawns_after).
    pub(super) fn defer_spawn(&mut self, refused: bool) -> bool {
        let is_first = self.spawn_retry.is_none();
        let jobs_finished = self.jobs_finished;
        let first = || SpawnRetry { pause: FIRST_PAUSE, refused, jobs_finished, progress_at: Instant::now() };
        self.spawn_retry.get_or_insert_with(first).refused |= refused;
        is_first
    }

    /// How many threads may exist.
    pub(super) fn max_threads(&self, limit: usize) -> usize {
        limit + self.blocked.min(self.max_spares) + self.written_off
    }

    /// Allows one thread more than there are.
    fn raise_thread_limit(&mut self) {
        self.max_spares = (self.threads + 1).saturating_sub(self.limit + self.written_off).max(self.max_spares);
    }
}

/// RetryTimer that found a pool without a thread that the operating system refuses.
static REFUSALS: AtomicU64 = AtomicU64::new(0);

/// A number that changes when a worker that waits should try to run what it waits for.
#[inline]
pub(crate) fn refusals() -> u64 {
    REFUSALS.load(Ordering::Acquire)
}

/// The timer thread's way to a pool.
pub(super) struct RetryTimer {
    core: Weak<Core>,
    /// Queued jobs with a time limit, by address, and when a look found each first. Only the timer thread uses it.
    limited: Mutex<HashMap<usize, Seen>>,
}

/// A job, and when a look found it first.
type Seen = (Arc<dyn Job>, Instant);

impl RetryTimer {
    pub(super) fn new(core: &Weak<Core>) -> Arc<Self> {
        Arc::new(Self { core: Weak::clone(core), limited: Mutex::default() })
    }

    /// Ends queued jobs that have waited for a thread as long as they may run.
    fn time_out_queued_jobs(&self, mut queued: Vec<(Arc<dyn Job>, Duration)>) {
        let now = Instant::now();
        let lock = || self.limited.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *lock());
        let address = |job: &Arc<dyn Job>| Arc::as_ptr(job).addr();
        let since = |job: &Arc<dyn Job>| before.get(&address(job)).map_or(now, |(_, since)| *since);
        let known = queued.iter().map(|(job, _)| (address(job), (Arc::clone(job), since(job)))).collect();
        queued.retain(|(job, limit)| now.duration_since(since(job)) >= *limit);
        drop(before);
        let before = std::mem::replace(&mut *lock(), known);
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
    /// Has the timer thread look at the pool after a while; without the queue's lock.
    pub(super) fn retry_spawns_after(&self, pause: Duration) {
        let looks = Arc::downgrade(&self.retry_timer);
        timer::after(pause, looks);
    }

    /// Whether the operating system refuses a thread that the pool wants.
    pub(crate) fn has_refused_spawn(&self) -> bool {
        self.queue.lock().spawn_retry.as_ref().is_some_and(|deferred| deferred.refused)
    }

    /// Tries a deferred start again; arranges the next look if a thread is missing still.
    fn retry_spawns(self: &Arc<Self>) {
        if self.queue.dead_tasks() > 0 {
            // They need no thread.
            self.queue.sweep();
        }
        let nothing_runs = registry::all().iter().all(|core| core.queue.lock().running == 0);
        let mut state = self.queue.lock();
        let jobs_finished = state.jobs_finished;
        let Some(deferred) = &mut state.spawn_retry else { return };
        deferred.refused = false;
        let has_progress = std::mem::replace(&mut deferred.jobs_finished, jobs_finished) != jobs_finished;
        let is_stalled = !has_progress && (nothing_runs || deferred.progress_at.elapsed() >= STALL_TIME);
        if has_progress || is_stalled {
            deferred.progress_at = Instant::now();
        }
        if is_stalled {
            state.raise_thread_limit();
        }
        self.wake_workers(state);
        let (refused, pause) = self.update_spawn_retry(self.queue.lock());
        if refused {
            announce_refusal();
        }
        // While jobs end, the turn of each will come.
        let limited = if refused && !has_progress { self.limited_jobs() } else { Vec::new() };
        self.retry_timer.time_out_queued_jobs(limited);
        if let Some(pause) = pause {
            self.retry_spawns_after(pause);
        }
    }

    /// Whether the last start was refused, and the pause until the next look, if there must be one.
    fn update_spawn_retry(&self, mut state: MutexGuard<'_, State>) -> (bool, Option<Duration>) {
        let is_missing = self.queue.missing_workers(&state) > 0;
        let Some(deferred) = &mut state.spawn_retry else { return (false, None) };
        if !is_missing {
            state.spawn_retry = None;
            state.max_spares = default_spares(state.limit);
            return (false, None);
        }
        if !deferred.refused {
            deferred.pause = FIRST_PAUSE;
            return (false, Some(CAPPED_PAUSE));
        }
        let pause = deferred.pause;
        deferred.pause = (2 * pause).min(MAX_PAUSE);
        (true, Some(pause))
    }

    /// Queued jobs with a time limit.
    fn limited_jobs(&self) -> Vec<(Arc<dyn Job>, Duration)> {
        let mut limited = Vec::new();
        let state = reserve::lock_to_copy(|| self.queue.lock(), |state| state.jobs.len(), &mut limited);
        limited.extend(state.jobs.iter().filter_map(|job| Some((Arc::clone(job), job.time_limit()?))));
        drop(state);
        limited
    }
}

/// Wakes the workers that wait, of all pools, as each may wait for a job of the one that is refused a thread.
fn announce_refusal() {
    REFUSALS.fetch_add(1, Ordering::AcqRel);
    for core in registry::all() {
        let mut waiting = Vec::new();
        let state = reserve::lock_to_copy(|| core.queue.lock(), |state| state.blocked_wakers.len(), &mut waiting);
        waiting.extend(state.blocked_wakers.iter().cloned());
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}
