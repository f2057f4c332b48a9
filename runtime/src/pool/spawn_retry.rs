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
pub(super) const SHORTEST: Duration = Duration::from_millis(1);
/// The longest one.
const LONGEST: Duration = Duration::from_millis(100);
/// Between two looks at a pool whose starts are held back.
pub(super) const STANDSTILL: Duration = Duration::from_millis(10);
/// How long no job of a pool ends before it has one thread more, though other jobs run.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a pool knows of a start that is deferred.
pub(super) struct Deferred {
    /// Until the next look.
    pause: Duration,
    /// Whether the operating system refused the last start.
    refused: bool,
    /// The queue's count of retakes at the last look.
    retakes: u64,
    /// When a look saw that count change, or had one thread more start.
    moved: Instant,
}

/// How many threads of a pool may stand in for workers that wait, before more of them are held back: as many as the pool
/// has permits, and 64 at least.
pub(super) fn spares(limit: usize) -> usize {
    limit.max(64)
}

impl State {
    /// Defers the start of a thread. Whether the first look must be [arranged](Core::look_later).
    pub(super) fn defer(&mut self, refused: bool) -> bool {
        let is_first = self.deferred.is_none();
        let retakes = self.retakes;
        let first = || Deferred { pause: SHORTEST, refused, retakes, moved: Instant::now() };
        self.deferred.get_or_insert_with(first).refused |= refused;
        is_first
    }

    /// How many threads may exist.
    pub(super) fn most_threads(&self, limit: usize) -> usize {
        limit + self.aside.min(self.spares) + self.lost
    }

    /// Allows one thread more than there are.
    fn allow_one_more(&mut self) {
        self.spares = (self.threads + 1).saturating_sub(self.limit + self.lost).max(self.spares);
    }
}

/// Looks that found a pool without a thread that the operating system refuses.
static REFUSALS: AtomicU64 = AtomicU64::new(0);

/// A number that changes when a worker that waits should try to run what it waits for.
#[inline]
pub(crate) fn refusals() -> u64 {
    REFUSALS.load(Ordering::Acquire)
}

/// The timer thread's way to a pool.
pub(super) struct Looks {
    core: Weak<Core>,
    /// Queued jobs with a time limit, by address, and when a look found each first. Only the timer thread uses it.
    limited: Mutex<HashMap<usize, Seen>>,
}

/// A job, and when a look found it first.
type Seen = (Arc<dyn Job>, Instant);

impl Looks {
    pub(super) fn new(core: &Weak<Core>) -> Arc<Self> {
        Arc::new(Self { core: Weak::clone(core), limited: Mutex::default() })
    }

    /// Ends queued jobs that have waited for a thread as long as they may run.
    fn end_late_jobs(&self, mut queued: Vec<(Arc<dyn Job>, Duration)>) {
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
            job.end_late();
        }
    }
}

impl Expire for Looks {
    fn expire(&self, _: Duration) {
        if let Some(core) = self.core.upgrade() {
            core.look_after_threads();
        }
    }
}

impl Core {
    /// Has the timer thread look at the pool after a while; without the queue's lock.
    pub(super) fn look_later(&self, pause: Duration) {
        let looks = Arc::downgrade(&self.looks);
        timer::after(pause, looks);
    }

    /// Whether the operating system refuses a thread that the pool wants.
    pub(crate) fn is_refused_threads(&self) -> bool {
        self.queue.lock().deferred.as_ref().is_some_and(|deferred| deferred.refused)
    }

    /// Tries a deferred start again; arranges the next look if a thread is missing still.
    fn look_after_threads(self: &Arc<Self>) {
        if self.queue.dead() > 0 {
            // They need no thread.
            self.queue.sweep();
        }
        let nothing_runs = registry::all().iter().all(|core| core.queue.lock().running == 0);
        let mut state = self.queue.lock();
        let retakes = state.retakes;
        let Some(deferred) = &mut state.deferred else { return };
        deferred.refused = false;
        let moves = std::mem::replace(&mut deferred.retakes, retakes) != retakes;
        let stands = !moves && (nothing_runs || deferred.moved.elapsed() >= PATIENCE);
        if moves || stands {
            deferred.moved = Instant::now();
        }
        if stands {
            state.allow_one_more();
        }
        self.rouse(state);
        let (refused, pause) = self.settle(self.queue.lock());
        if refused {
            tell_of_refusal();
        }
        // While jobs end, the turn of each will come.
        let limited = if refused && !moves { self.limited_jobs() } else { Vec::new() };
        self.looks.end_late_jobs(limited);
        if let Some(pause) = pause {
            self.look_later(pause);
        }
    }

    /// Whether the last start was refused, and the pause until the next look, if there must be one.
    fn settle(&self, mut state: MutexGuard<'_, State>) -> (bool, Option<Duration>) {
        let is_missing = self.queue.wanted(&state) > 0;
        let Some(deferred) = &mut state.deferred else { return (false, None) };
        if !is_missing {
            state.deferred = None;
            state.spares = spares(state.limit);
            return (false, None);
        }
        if !deferred.refused {
            deferred.pause = SHORTEST;
            return (false, Some(STANDSTILL));
        }
        let pause = deferred.pause;
        deferred.pause = (2 * pause).min(LONGEST);
        (true, Some(pause))
    }

    /// Queued jobs with a time limit.
    fn limited_jobs(&self) -> Vec<(Arc<dyn Job>, Duration)> {
        let mut limited = Vec::new();
        let state = reserve::lock_with_buffer(|| self.queue.lock(), |state| state.jobs.len(), &mut limited);
        limited.extend(state.jobs.iter().filter_map(|job| Some((Arc::clone(job), job.time_limit()?))));
        drop(state);
        limited
    }
}

/// Wakes the workers that wait, of all pools, as each may wait for a job of the one that is refused a thread.
fn tell_of_refusal() {
    REFUSALS.fetch_add(1, Ordering::AcqRel);
    for core in registry::all() {
        let mut waiting = Vec::new();
        let state = reserve::lock_with_buffer(|| core.queue.lock(), |state| state.waiters.len(), &mut waiting);
        waiting.extend(state.waiters.iter().cloned());
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}
