//! The books of a pool: its jobs, who runs one, who is on the way, and who sleeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;

use super::sleepers::{Called, Sleepers};
use crate::pool::job::Job;
use crate::pool::spawn_retry::{self, Deferred};
use crate::sys::clock::Moment;
use crate::sys::cpu;

/// Who called a sleeping worker last, and when.
#[derive(Clone, Copy)]
pub(crate) struct Ring {
    /// The caller's core.
    pub(crate) from: Option<usize>,
    pub(crate) at: Moment,
}

impl Ring {
    fn now() -> Self {
        Self { from: cpu::current_core(), at: Moment::now() }
    }
}

/// What the cpu pool's porter does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Porter {
    /// It serves the queue, or is about to.
    Busy,
    /// It sleeps, and nobody has called it.
    Asleep,
}

/// The jobs, and who is where: what the queue's lock guards.
pub(crate) struct State {
    pub(crate) jobs: VecDeque<Arc<dyn Job>>,
    /// Copies of a map's job among them that nobody will enter, at most.
    pub(crate) stale: usize,
    /// Permits in all.
    pub(crate) limit: usize,
    /// Permits in use: workers that run a job and do not wait.
    pub(crate) running: usize,
    /// Workers inside a job that have given their permit back for a while.
    pub(crate) aside: usize,
    /// What wakes those workers.
    pub(crate) waiters: Vec<Waker>,
    /// Workers inside a job that has timed out; their permits are gone to others.
    pub(crate) lost: usize,
    /// Workers that have waited and need a permit again. They go before new jobs.
    pub(crate) returning: usize,
    /// How often a permit was given back while a worker needed one, or was overdrawn.
    pub(crate) given_back: u64,
    /// Threads that exist or are being started, rayon's apart.
    pub(crate) threads: usize,
    /// Threads among them that look for a job, and will see it without a bell.
    pub(crate) looking: usize,
    /// Threads among them that sleep until their bell rings.
    pub(crate) sleeping: Sleepers,
    /// Sleeping threads that were called and have not come yet.
    pub(crate) rung: usize,
    /// The last call of a sleeping thread.
    pub(crate) ring: Ring,
    /// Rayon's threads that serve the queue and look for more, and will see a job without a ticket.
    pub(crate) lingering: usize,
    /// Threads that are on their way to the queue.
    pub(crate) coming: usize,
    /// Threads that run the pool's start hook. They come when it has ended, whenever that is.
    pub(crate) hooked: usize,
    /// Rayon's tickets that nobody has used yet.
    pub(crate) tickets: usize,
    /// Rayon's threads that serve the queue, the porter apart.
    pub(crate) inside: usize,
    /// What the cpu pool's porter does.
    pub(crate) porter: Porter,
    /// How many threads may stand in for workers that wait.
    pub(crate) spares: usize,
    /// A start of a thread that is to be tried again.
    pub(crate) deferred: Option<Deferred>,
    /// How often a worker has come back for another job.
    pub(crate) retakes: u64,
    /// What `retakes` was when a thread was last called.
    pub(crate) called_at: u64,
    /// Whether a thread watches the queue for a standstill.
    pub(crate) watched: bool,
    /// Whether there is something to be given back since the threads rest.
    #[cfg(feature = "process")]
    pub(crate) untidy: bool,
    /// The number in the next thread's name.
    pub(crate) next_index: usize,
    pub(crate) closed: bool,
    /// Threads that `threads` does not count, as each runs one job and ends: see `extra.rs`.
    pub(crate) extra: usize,
    /// Plain threads, to be joined at the end.
    pub(crate) handles: Vec<JoinHandle<()>>,
    /// The cpu pool's threads, until it closes.
    pub(crate) rayon: Option<Arc<rayon::ThreadPool>>,
}

impl State {
    pub(crate) fn new(limit: usize) -> Self {
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
            spares: spawn_retry::spares(limit),
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
        self.running + self.returning < self.limit
    }

    /// Calls sleeping threads, `wanted` at most, and no more than [`CHAIN`](super::sleepers::CHAIN).
    #[inline]
    pub(crate) fn call(&mut self, wanted: usize) -> Called {
        let called = self.sleeping.call(wanted);
        if called.len() > 0 {
            self.rung += called.len();
            self.ring = Ring::now();
        }
        called
    }

    /// Calls all that sleep, and wakes them.
    pub(crate) fn call_all(&mut self) {
        self.rung += self.sleeping.call_all();
    }

    /// Calls the porter if it sleeps; whether it does. Its bell must ring then, once the lock is free.
    #[inline]
    pub(crate) fn call_porter(&mut self) -> bool {
        let sleeps = self.porter == Porter::Asleep;
        if sleeps {
            self.porter = Porter::Busy;
            self.coming += 1;
            self.ring = Ring::now();
        }
        sleeps
    }

    pub(crate) fn busy(&self) -> usize {
        self.running
    }

    /// Whether nothing is left to do, and nobody is at it, but for so many.
    pub(crate) fn is_done_but(&self, own: usize) -> bool {
        self.jobs.is_empty() && self.running + self.returning + self.aside <= own
    }
}
