//! The queue of a pool: jobs in order, and the count of threads that serve it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Something a worker can run. A panic stays inside: `run` and `abandon` do not unwind.
pub(crate) trait Run: Send + Sync {
    /// Runs the job, unless another thread was first.
    fn run(&self);
    /// Tells whoever waits that the job will never run.
    fn abandon(&self);
}

/// Jobs in order. One lock: it is held for some ten nanoseconds at a time.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Rings for an idle worker when a job comes, and for all when the pool closes.
    pub(super) bell: Condvar,
    /// Rings when a worker leaves.
    pub(super) gone: Condvar,
}

pub(super) struct State {
    pub(super) jobs: VecDeque<Arc<dyn Run>>,
    /// Threads that run or are about to.
    pub(super) threads: usize,
    /// Threads among them that wait for a job.
    pub(super) idle: usize,
    /// Rings that no waiting thread has answered yet.
    pub(super) rung: usize,
    /// The number in the next thread's name.
    pub(super) next_index: usize,
    pub(super) closed: bool,
    /// A crew's threads, to be joined at the end.
    pub(super) handles: Vec<JoinHandle<()>>,
    /// The cpu pool's threads, until it closes.
    pub(super) rayon: Option<Arc<rayon::ThreadPool>>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                threads: 0,
                idle: 0,
                rung: 0,
                next_index: 0,
                closed: false,
                handles: Vec::new(),
                rayon: None,
            }),
            bell: Condvar::new(),
            gone: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job `copies` times, and gives the locked state for what else there is to do; gives the job back
    /// if the pool is closed.
    pub(super) fn add(&self, job: Arc<dyn Run>, copies: usize) -> Result<MutexGuard<'_, State>, Arc<dyn Run>> {
        let mut state = self.lock();
        if state.closed {
            return Err(job);
        }
        state.jobs.extend(std::iter::repeat_n(job, copies));
        Ok(state)
    }

    /// The next job, if there is one now.
    pub(super) fn next(&self) -> Option<Arc<dyn Run>> {
        self.lock().jobs.pop_front()
    }

    /// Waits until the last thread has left.
    pub(super) fn wait_until_empty(&self, mut state: MutexGuard<'_, State>) {
        while state.threads > 0 {
            state = self.gone.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
