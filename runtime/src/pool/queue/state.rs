//! The books of a pool: its jobs, who runs one, who is on the way, and who sleeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;

use super::sleepers::{PendingWakes, Sleepers};
use crate::pool::job::Job;
use crate::pool::spawn_retry::{self, SpawnRetry};
use crate::sys::clock::Moment;
use crate::sys::cpu;

/// Who called a sleeping worker last, and when.
#[derive(Clone, Copy)]
pub(crate) struct LastWake {
    /// The caller's core.
    pub(crate) from_cpu: Option<usize>,
    pub(crate) at: Moment,
}

impl LastWake {
    fn now() -> Self {
        Self { from_cpu: cpu::core(), at: Moment::now() }
    }
}

/// What the cpu pool's resident does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResidentState {
    /// It serves the queue, or is about to.
    Active,
    /// It sleeps, and nobody has called it.
    Parked,
}

/// The jobs, and who is where: what the queue's lock guards.
pub(crate) struct State {
    pub(crate) jobs: VecDeque<Arc<dyn Job>>,
    /// Copies of a map's job among them that nobody will enter, at most.
    pub(crate) closed_copies: usize,
    /// Permits in all.
    pub(crate) limit: usize,
    /// Permits in use: workers that run a job and do not wait.
    pub(crate) running: usize,
    /// Workers inside a job that have given their permit back for a while.
    pub(crate) blocked: usize,
    /// What wakes those workers.
    pub(crate) blocked_wakers: Vec<Waker>,
    /// Workers inside a job that has timed out; their permits are gone to others.
    pub(crate) written_off: usize,
    /// Workers that have waited and need a permit again. They go before new jobs.
    pub(crate) reacquiring: usize,
    /// How often a permit was given back while a worker needed one, or was overdrawn.
    pub(crate) handoffs: u64,
    /// Threads that exist or are being started, rayon's apart.
    pub(crate) threads: usize,
    /// Threads among them that look for a job, and will see it without a sleeper.
    pub(crate) spinning: usize,
    /// Threads among them that sleep until their sleeper rings.
    pub(crate) sleepers: Sleepers,
    /// Sleeping threads that were called and have not come yet.
    pub(crate) woken: usize,
    /// The last call of a sleeping thread.
    pub(crate) last_wake: LastWake,
    /// Rayon's threads that serve the queue and look for more, and will see a job without a ticket.
    pub(crate) rayon_spinning: usize,
    /// Threads that are on their way to the queue.
    pub(crate) starting: usize,
    /// Threads that run the pool's start hook. They come when it has ended, whenever that is.
    pub(crate) in_start_hook: usize,
    /// Rayon's tickets that nobody has used yet.
    pub(crate) injected: usize,
    /// Rayon's threads that serve the queue, the resident apart.
    pub(crate) rayon_serving: usize,
    /// What the cpu pool's resident does.
    pub(crate) resident: ResidentState,
    /// How many threads may stand in for workers that wait.
    pub(crate) max_spares: usize,
    /// A start of a thread that is to be tried again.
    pub(crate) spawn_retry: Option<SpawnRetry>,
    /// How often a worker has come back for another job.
    pub(crate) jobs_finished: u64,
    /// What `jobs_finished` was when a thread was last called.
    pub(crate) jobs_finished_at_wake: u64,
    /// Whether a thread watches the queue for a standstill.
    pub(crate) has_watcher: bool,
    /// Whether there is something to be given back since the threads rest.
    #[cfg(feature = "process")]
    pub(crate) needs_cleanup: bool,
    /// The number in the next thread's name.
    pub(crate) next_thread_index: usize,
    pub(crate) closed: bool,
    /// Threads that `threads` does not count, as each runs one job and ends: see `extra.rs`.
    pub(crate) overflow_threads: usize,
    /// Plain threads, to be joined at the end.
    pub(crate) handles: Vec<JoinHandle<()>>,
    /// The cpu pool's threads, until it closes.
    pub(crate) rayon: Option<Arc<rayon::ThreadPool>>,
}

impl State {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            jobs: VecDeque::new(),
            closed_copies: 0,
            limit,
            running: 0,
            blocked: 0,
            blocked_wakers: Vec::new(),
            written_off: 0,
            reacquiring: 0,
            handoffs: 0,
            threads: 0,
            spinning: 0,
            sleepers: Sleepers::default(),
            woken: 0,
            last_wake: LastWake::now(),
            rayon_spinning: 0,
            starting: 0,
            in_start_hook: 0,
            injected: 0,
            rayon_serving: 0,
            resident: ResidentState::Active,
            max_spares: spawn_retry::default_spares(limit),
            spawn_retry: None,
            jobs_finished: 0,
            jobs_finished_at_wake: 0,
            has_watcher: false,
            #[cfg(feature = "process")]
            needs_cleanup: false,
            next_thread_index: 0,
            closed: false,
            overflow_threads: 0,
            handles: Vec::new(),
            rayon: None,
        }
    }

    /// Takes a permit without a job.
    pub(crate) fn try_permit(&mut self) -> bool {
        let free = self.has_permit();
        self.running += usize::from(free);
        free
    }

    /// Whether there is a job, and a permit to run it.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        !self.jobs.is_empty() && self.has_permit()
    }

    #[inline]
    pub(crate) fn has_permit(&self) -> bool {
        self.running + self.reacquiring < self.limit
    }

    /// Calls sleeping threads, `wanted` at most, and no more than [`WAKE_FANOUT`](super::sleepers::WAKE_FANOUT).
    #[inline]
    pub(crate) fn begin_wake(&mut self, wanted: usize) -> PendingWakes {
        let called = self.sleepers.begin_wake(wanted);
        if called.len() > 0 {
            self.woken += called.len();
            self.last_wake = LastWake::now();
        }
        called
    }

    /// Calls all that sleep, and wakes them.
    pub(crate) fn wake_all(&mut self) {
        self.woken += self.sleepers.wake_all();
    }

    /// Calls the resident if it sleeps; whether it does. Its sleeper must last_wake then, once the lock is free.
    #[inline]
    pub(crate) fn begin_wake_resident(&mut self) -> bool {
        let sleeps = self.resident == ResidentState::Parked;
        if sleeps {
            self.resident = ResidentState::Active;
            self.woken += 1;
            self.last_wake = LastWake::now();
        }
        sleeps
    }

    pub(crate) fn busy(&self) -> usize {
        self.running
    }

    /// Whether nothing is left to do, and nobody is at it, but for so many.
    pub(crate) fn is_done_except(&self, own: usize) -> bool {
        self.jobs.is_empty() && self.running + self.reacquiring + self.blocked <= own
    }
}
