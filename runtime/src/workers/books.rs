//! The books of a pool: its jobs, who runs one, who is on the way, and who sleeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;

use super::deferred::{self, Deferred};
use super::job::Run;
use super::sleepers::{Called, Sleepers};
use crate::clock::Moment;
use crate::place;

/// Who called a sleeping worker last, and when.
#[derive(Clone, Copy)]
pub(super) struct Ring {
    /// The caller's core.
    pub(super) from: Option<usize>,
    pub(super) at: Moment,
}

impl Ring {
    fn now() -> Self {
        Self { from: place::core(), at: Moment::now() }
    }
}

/// What the cpu pool's porter does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Porter {
    /// It serves the queue, or is about to.
    Busy,
    /// It sleeps, and nobody has called it.
    Asleep,
}

/// The jobs, and who is where: what the queue's lock guards.
pub(super) struct State {
    pub(super) jobs: VecDeque<Arc<dyn Run>>,
    /// Copies of a map's job among them that nobody will enter, at most.
    pub(super) stale: usize,
    /// Permits in all.
    pub(super) limit: usize,
    /// Permits in use: workers that run a job and do not wait.
    pub(super) running: usize,
    /// Workers inside a job that have given their permit back for a while.
    pub(super) aside: usize,
    /// What wakes those workers.
    pub(super) waiters: Vec<Waker>,
    /// Workers inside a job that has timed out; their permits are gone to others.
    pub(super) lost: usize,
    /// Workers that have waited and need a permit again. They go before new jobs.
    pub(super) returning: usize,
    /// How often a permit was given back while a worker needed one, or was overdrawn.
    pub(super) given_back: u64,
    /// Threads that exist or are being started, rayon's apart.
    pub(super) threads: usize,
    /// Threads among them that look for a job, and will see it without a bell.
    pub(super) looking: usize,
    /// Threads among them that sleep until their bell rings.
    pub(super) sleeping: Sleepers,
    /// Sleeping threads that were called and have not come yet.
    pub(super) rung: usize,
    /// The last call of a sleeping thread.
    pub(super) ring: Ring,
    /// Rayon's threads that serve the queue and look for more, and will see a job without a ticket.
    pub(super) lingering: usize,
    /// Threads that are on their way to the queue.
    pub(super) coming: usize,
    /// Threads that run the pool's start hook. They come when it has ended, whenever that is.
    pub(super) hooked: usize,
    /// Rayon's tickets that nobody has used yet.
    pub(super) tickets: usize,
    /// Rayon's threads that serve the queue, the porter apart.
    pub(super) inside: usize,
    /// What the cpu pool's porter does.
    pub(super) porter: Porter,
    /// How many threads may stand in for workers that wait.
    pub(super) spares: usize,
    /// A start of a thread that is to be tried again.
    pub(super) deferred: Option<Deferred>,
    /// How often a worker has come back for another job.
    pub(super) retakes: u64,
    /// What `retakes` was when a thread was last called.
    pub(super) called_at: u64,
    /// Whether a thread watches the queue for a standstill.
    pub(super) watched: bool,
    /// Whether there is something to be given back since the threads rest.
    #[cfg(feature = "process")]
    pub(super) untidy: bool,
    /// The number in the next thread's name.
    pub(super) next_index: usize,
    pub(super) closed: bool,
    /// Threads that `threads` does not count, as each runs one job and ends: see `extra.rs`.
    pub(super) extra: usize,
    /// Plain threads, to be joined at the end.
    pub(super) handles: Vec<JoinHandle<()>>,
    /// The cpu pool's threads, until it closes.
    pub(super) rayon: Option<Arc<rayon::ThreadPool>>,
}

impl State {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            jobs: VecDeque::new(),
            stale: 0,
            limit,
            running: 0,
            aside: 0,
            waiters: Vec::new(),
            lost: 0,
            returning: 0,
            given_back: 0,
            threads: 0,
            looking: 0,
            sleeping: Sleepers::default(),
            rung: 0,
            ring: Ring::now(),
            lingering: 0,
            coming: 0,
            hooked: 0,
            tickets: 0,
            inside: 0,
            porter: Porter::Busy,
            spares: deferred::spares(limit),
            deferred: None,
            retakes: 0,
            called_at: 0,
            watched: false,
            #[cfg(feature = "process")]
            untidy: false,
            next_index: 0,
            closed: false,
            extra: 0,
            handles: Vec::new(),
            rayon: None,
        }
    }

    /// Takes a permit without a job.
    pub(super) fn try_permit(&mut self) -> bool {
        let free = self.has_permit();
        self.running += usize::from(free);
        free
    }

    /// Whether there is a job, and a permit to run it.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        !self.jobs.is_empty() && self.has_permit()
    }

    #[inline]
    pub(super) fn has_permit(&self) -> bool {
        self.running + self.returning < self.limit
    }

    /// Calls sleeping threads, `wanted` at most, and no more than [`CHAIN`](super::sleepers::CHAIN).
    #[inline]
    pub(super) fn call(&mut self, wanted: usize) -> Called {
        let called = self.sleeping.call(wanted);
        if called.len() > 0 {
            self.rung += called.len();
            self.ring = Ring::now();
        }
        called
    }

    /// Calls all that sleep, and wakes them.
    pub(super) fn call_all(&mut self) {
        self.rung += self.sleeping.call_all();
    }

    /// Calls the porter if it sleeps; whether it does. Its bell must ring then, once the lock is free.
    #[inline]
    pub(super) fn call_porter(&mut self) -> bool {
        let sleeps = self.porter == Porter::Asleep;
        if sleeps {
            self.porter = Porter::Busy;
            self.coming += 1;
            self.ring = Ring::now();
        }
        sleeps
    }

    pub(super) fn busy(&self) -> usize {
        self.running
    }

    /// Whether nothing is left to do, and nobody is at it, but for so many.
    pub(super) fn is_done_but(&self, own: usize) -> bool {
        self.jobs.is_empty() && self.running + self.returning + self.aside <= own
    }
}
