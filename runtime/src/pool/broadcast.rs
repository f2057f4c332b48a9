//! [`Pool::broadcast`]: a closure that each worker thread of a pool runs once.
//!
//! Broadcasts are numbered. Each thread remembers the last one that it has run, and compares it with the pool's number
//! between two jobs. So a broadcast waits for running jobs to end, but never for a thread that waits inside of a job:
//! that job may wait for the one that broadcasts. Such a thread is *away*; it runs the closure when it is back.

use std::any::{Any, type_name};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::current_worker::{self, blocking_section, worker_index};
use super::{Core, Pool, config};
use crate::error::panics;
use crate::sys::{mutex, reserve, unwind};

/// How often the caller looks whether a thread is away by now. All other threads wake it.
const POLL: Duration = Duration::from_millis(5);

/// A thread of a pool, as its broadcasts see it.
pub(crate) struct Member {
    /// The number of the last broadcast that it has begun.
    begun: AtomicU64,
    /// Those that it runs now: a closure may broadcast itself.
    running: Mutex<Vec<u64>>,
    /// Whether it waits inside of a job, or was written off with one that has timed out.
    is_away: AtomicBool,
}

impl Member {
    pub(super) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Release);
    }
}

/// A broadcast that some thread has not run yet.
pub(crate) struct OpenBroadcast {
    number: u64,
    work: Arc<dyn Fn() + Send + Sync>,
}

/// The results of the threads that have run a broadcast, each with the thread's index.
type Results<T> = Mutex<Vec<(Option<usize>, Result<T, Box<dyn Any + Send>>)>>;

thread_local! {
    /// The number of the last broadcast that this thread has run.
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

impl Pool {
    /// Runs a closure once on each thread of this pool, and returns the results, ordered by the threads'
    /// [`worker_index`]: to set up or to collect what threads keep in thread-locals.
    ///
    /// A thread runs it between two tasks, and the caller waits until all have, so for running tasks to end. A thread
    /// that waits in the middle of a task, such as in [`Task::join`](crate::Task::join) or for the rest of a map, or whose
    /// task has timed out, is not waited for: it runs the closure before its next task, and its result is not returned. So a worker may call this,
    /// too, on its own pool and on others, and several threads may at once: no call waits for another one. On a worker
    /// of this pool the closure runs at once, in the middle of its task.
    ///
    /// Threads that start later do not run it: use [`on_start`](Self::on_start) for those. An io pool has the threads
    /// that it needed so far, and a cpu pool at least those that it was built with. With `FANFOLD_SERIAL=1` and in
    /// [`serial`](crate::serial) the closure runs once, on this thread.
    ///
    /// # Panics
    ///
    /// With the payload of the first closure that panicked, in the order of the results, when all have ended; if the
    /// pool is closed; and as [`submit`](Self::submit).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// # fn main() -> Result<(), fanfold::BuildError> {
    /// let pool = Pool::cpu("few").threads(2).build()?;
    /// assert_eq!(pool.broadcast(fanfold::worker_index), [Some(0), Some(1)]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "spawn_broadcast")]
    #[track_caller]
    pub fn broadcast<T, F>(&self, work: F) -> Vec<T>
    where
        T: Send + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        let core = self.core().with_threads("closures");
        if config::serial() {
            return vec![work()];
        }
        core.check_fork();
        panics::before_handing_over();
        let results: Arc<Results<T>> = Arc::default();
        let kept = Arc::clone(&results);
        let work = Arc::new(move || {
            let result = catch_unwind(AssertUnwindSafe(&work));
            let kept_result = (worker_index(), result);
            // The vector may grow under this lock, which no other code takes.
            mutex::lock(&kept).push(kept_result);
        });
        let Some(number) = core.post_broadcast(work) else {
            panic!(
                "`{}` cannot run: its pool was closed: call it before the {core:?} is shut down, or on another pool",
                type_name::<F>()
            );
        };
        if core.is_own_worker() {
            core.run_broadcasts();
        }
        blocking_section(|| core.wait_for_broadcast(number));
        let mut results = std::mem::take(&mut *mutex::lock(&results));
        results.sort_by_key(|(index, _)| *index);
        let mut values = Vec::with_capacity(results.len());
        let mut panicked = None;
        for (_, result) in results {
            match result {
                Ok(value) => values.push(value),
                Err(payload) if panicked.is_none() => panicked = Some(payload),
                Err(payload) => unwind::discard(payload),
            }
        }
        match panicked {
            Some(payload) => {
                unwind::discard(values);
                panics::resume(payload)
            }
            None => values,
        }
    }
}

impl Core {
    /// Whether this thread, one of the pool's own, has a broadcast to run.
    #[inline]
    pub(super) fn has_broadcast(&self) -> bool {
        self.queue.broadcasts.load(Ordering::Relaxed) != SEEN.get()
    }

    /// Makes this thread, which the pool has started, one that runs later broadcasts.
    pub(super) fn add_member(&self) -> Arc<Member> {
        let member =
            Arc::new(Member { begun: AtomicU64::new(0), running: Mutex::default(), is_away: AtomicBool::new(false) });
        let mut state = reserve::lock_with_capacity(|| self.queue.lock(), |state| &mut state.members, 1);
        let number = self.queue.broadcasts.load(Ordering::Relaxed);
        SEEN.set(number);
        member.begun.store(number, Ordering::Relaxed);
        state.members.push(Arc::clone(&member));
        member
    }

    /// This thread ends.
    pub(super) fn remove_member(&self, member: &Arc<Member>) {
        let mut state = self.queue.lock();
        let place = state.members.iter().position(|other| Arc::ptr_eq(other, member));
        let removed = place.map(|place| state.members.swap_remove(place));
        drop(state);
        drop(removed);
        self.queue.broadcast_progress.notify_all();
    }

    /// Numbers a broadcast, and wakes idle threads for it; `None` if the pool is closed.
    fn post_broadcast(self: &Arc<Self>, work: Arc<dyn Fn() + Send + Sync>) -> Option<u64> {
        let mut state = loop {
            let state = reserve::lock_with_capacity(|| self.queue.lock(), |state| &mut state.broadcasts, 1);
            if state.closed {
                return None;
            }
            // The threads of a cpu pool start with it, and some may not have come so far.
            if state.members.len() >= self.rayon_threads {
                break state;
            }
            drop(mutex::wait_timeout(&self.queue.broadcast_progress, state, POLL));
        };
        let number = self.queue.broadcasts.load(Ordering::Relaxed) + 1;
        self.queue.broadcasts.store(number, Ordering::Relaxed);
        state.broadcasts.push(OpenBroadcast { number, work });
        state.wake_all();
        let wakes_resident = state.begin_wake_resident();
        let rayon = state.rayon.clone();
        drop(state);
        if wakes_resident {
            self.queue.resident.notify_one();
        }
        if let Some(rayon) = rayon {
            let core = Arc::downgrade(self);
            rayon.spawn_broadcast(move |_| {
                if let Some(core) = core.upgrade() {
                    core.run_broadcasts();
                }
            });
        }
        Some(number)
    }

    /// Runs the broadcasts that this thread, one of the pool's own, has not run.
    #[cold]
    pub(super) fn run_broadcasts(&self) {
        let Some(member) = current_worker::member() else { return };
        while self.has_broadcast() {
            let seen = SEEN.get();
            let state = self.queue.lock();
            let next = state.broadcasts.iter().find(|open| open.number > seen);
            let next = next.map(|open| (open.number, Arc::clone(&open.work)));
            drop(state);
            let Some((number, work)) = next else { break };
            // Before it runs: the closure may broadcast, too.
            SEEN.set(number);
            reserve::lock_with_capacity(|| mutex::lock(&member.running), |running| running, 1).push(number);
            member.begun.store(number, Ordering::Release);
            work();
            unwind::discard(work);
            mutex::lock(&member.running).retain(|other| *other != number);
            self.drop_ended_broadcasts();
        }
    }

    /// Drops the broadcasts that all threads have begun.
    fn drop_ended_broadcasts(&self) {
        let mut ended = Vec::new();
        let mut state = reserve::lock_with_buffer(|| self.queue.lock(), |state| state.broadcasts.len(), &mut ended);
        let least = state.members.iter().map(|member| member.begun.load(Ordering::Acquire)).min().unwrap_or(u64::MAX);
        ended.extend(state.broadcasts.extract_if(.., |open| open.number <= least));
        drop(state);
        self.queue.broadcast_progress.notify_all();
        // The closures are code of the program.
        ended.into_iter().for_each(unwind::discard);
    }

    /// Waits until each thread has run the broadcast, or is away.
    fn wait_for_broadcast(&self, number: u64) {
        let is_awaited = |member: &Arc<Member>| {
            if member.begun.load(Ordering::Acquire) < number {
                return !member.is_away.load(Ordering::Acquire);
            }
            // Also if it waits inside of the closure.
            mutex::lock(&member.running).contains(&number)
        };
        // Also where a closure broadcasts, outside of jobs: two such threads must not wait for each other.
        let own = current_worker::member().filter(|_| self.is_own_worker());
        let was_away = own.as_ref().map(|own| own.is_away.swap(true, Ordering::AcqRel));
        let mut state = self.queue.lock();
        while state.members.iter().any(is_awaited) {
            state = mutex::wait_timeout(&self.queue.broadcast_progress, state, POLL).0;
        }
        drop(state);
        if let (Some(own), Some(was_away)) = (own, was_away) {
            own.set_away(was_away);
        }
    }
}
