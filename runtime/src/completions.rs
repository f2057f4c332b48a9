//! Tasks in the order in which they end: each tells one queue its key, and one thread takes the keys out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Instant;

use crate::task::Task;
use crate::{block, park, workers};

/// The keys of tasks that have ended and were not taken yet.
pub(crate) struct Completions(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ended: VecDeque<usize>,
    /// Whoever waits for the next one.
    waiter: Option<Waker>,
    /// Whether a thread that waits must step aside for its async runtime.
    on_this_runtime: bool,
}

/// What a task wakes when it has ended.
struct Teller {
    key: usize,
    shared: Arc<Shared>,
}

impl Wake for Teller {
    fn wake(self: Arc<Self>) {
        let waiter = {
            let mut state = self.shared.lock();
            state.ended.push_back(self.key);
            state.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Completions {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default() }))
    }

    /// Has the task tell its key here when it has ended; at once if it has. Gives what the task is to wake.
    pub(crate) fn watch<T>(&self, key: usize, task: &Task<T>) -> Waker {
        let teller = Arc::new(Teller { key, shared: Arc::clone(&self.0) });
        if task.is_on_this_runtime() {
            self.0.lock().on_this_runtime = true;
        }
        let waker = Waker::from(teller);
        if !task.relay_when_done(waker.clone()) {
            waker.wake_by_ref();
        }
        waker
    }

    /// The next key, if there is one now.
    pub(crate) fn try_next(&self) -> Option<usize> {
        self.0.lock().ended.pop_front()
    }

    /// Whether no key is there now.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().ended.is_empty()
    }

    /// Waits for the next key, until the deadline at most.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Option<usize> {
        self.wake_on_next(&park::waker());
        let ended = || !self.is_empty();
        let steps_aside = self.0.lock().on_this_runtime;
        block::on(steps_aside, || match deadline {
            Some(deadline) => drop(workers::wait_until_deadline(ended, deadline)),
            None => workers::wait_until(ended),
        });
        self.try_next()
    }

    /// Has `waker` woken when a key is there.
    pub(crate) fn wake_on_next(&self, waker: &Waker) {
        self.0.lock().waiter = Some(waker.clone());
    }
}
