//! Tasks in the order in which they end: each tells one queue its key, and one thread takes the keys out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::Task;
use super::slot::Relay;
use crate::pool::block_in_place::BlockedRuntime;
use crate::pool::{self, block_in_place};
use crate::sys::{fork, park, reserve};

/// The keys of tasks that have ended and were not taken yet.
pub(crate) struct Completions {
    shared: Arc<Shared>,
    /// The forks before it was made.
    forks: u32,
}

struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ended: VecDeque<usize>,
    /// Whoever waits for more of them.
    waiter: Option<Waker>,
    /// How many there must be for it to be woken: fewer if one of them has no result.
    enough: usize,
    /// What a thread blocks that waits for the tasks.
    blocked: BlockedRuntime,
    /// Whether one of the tasks was left to the parent by a fork before it was watched.
    left_to_parent: bool,
}

impl Relay for Shared {
    fn ended(&self, key: usize, failed: bool) {
        let waiter = {
            let mut state = reserve::lock_with_capacity(|| self.lock(), |state| &mut state.ended, 1);
            state.ended.push_back(key);
            if failed {
                state.enough = 1;
            }
            if state.has_enough() { state.waiter.take() } else { None }
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

impl State {
    fn has_enough(&self) -> bool {
        !self.ended.is_empty() && self.ended.len() >= self.enough
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Completions {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default() }), forks: fork::generation() }
    }

    /// Has the task tell its key here when it has ended; at once if it has.
    pub(crate) fn watch<T>(&self, key: usize, task: &Task<T>) {
        if task.is_polled() {
            let before = std::mem::take(&mut self.shared.lock().blocked);
            let blocked = before.or(task.blocked());
            self.shared.lock().blocked = blocked;
        }
        if !task.relay_when_done(self.relay(), key) {
            self.shared.ended(key, task.has_failed());
        } else if task.is_left_to_parent() {
            self.shared.lock().left_to_parent = true;
        }
    }

    /// Has the task tell its key here no more.
    pub(crate) fn unwatch<T>(&self, key: usize, task: &Task<T>) {
        task.forget(&self.relay(), key);
    }

    fn relay(&self) -> Arc<dyn Relay> {
        Arc::clone(&self.shared) as Arc<dyn Relay>
    }

    /// The next key, if there is one now.
    pub(crate) fn try_next(&self) -> Option<usize> {
        self.shared.lock().ended.pop_front()
    }

    /// Whether no key is there now.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.lock().ended.is_empty()
    }

    /// Waits for the next key, until the deadline at most: it comes as soon as there are `enough` of them, or one of a
    /// task without a result. Until then the thread that waits is not woken.
    ///
    /// Without a deadline, `claim` is asked to run a task here that is refused a thread; whether it has.
    pub(crate) fn next_of(&self, enough: usize, deadline: Option<Instant>, claim: impl Fn() -> bool) -> Option<usize> {
        let mut refusals = pool::refusals();
        loop {
            self.wake_on(&park::waker(), enough);
            self.check_fork();
            let ended = || self.shared.lock().has_enough();
            let blocked = self.shared.lock().blocked.clone();
            block_in_place::wait(blocked, deadline, || match deadline {
                Some(deadline) => drop(pool::wait_until_deadline(ended, deadline)),
                None => pool::wait_until(|| ended() || pool::refusals() != refusals),
            });
            if deadline.is_some() || ended() {
                return self.try_next();
            }
            refusals = pool::refusals();
            if claim()
                && let next @ Some(_) = self.try_next()
            {
                return next;
            }
        }
    }

    /// Panics in a forked child if it would wait for its parent's tasks.
    #[track_caller]
    pub(crate) fn check_fork(&self) {
        let state = self.shared.lock();
        let waits = !state.has_enough() && (state.left_to_parent || fork::is_child(self.forks));
        drop(state);
        if waits {
            fork::panic_in_child();
        }
    }

    /// Has `waker` woken when a key is there.
    pub(crate) fn wake_on_next(&self, waker: &Waker) {
        self.wake_on(waker, 1);
    }

    fn wake_on(&self, waker: &Waker, enough: usize) {
        // A waker is the user's code where it is cloned and dropped: not under the lock.
        let waker = waker.clone();
        let mut state = self.shared.lock();
        // What came before may be without a result.
        state.enough = if state.ended.is_empty() { enough } else { 1 };
        let before = state.waiter.replace(waker);
        drop(state);
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn end(completions: &Completions, key: usize, failed: bool) {
        completions.shared.ended(key, failed);
    }

    #[test]
    fn who_waits_for_several_is_woken_once() {
        let (completions, woken) = (Completions::new(), Arc::new(Woken::default()));
        completions.wake_on(&Waker::from(Arc::clone(&woken)), 3);
        for (key, count) in [(7, 0), (8, 0), (9, 1), (10, 1)] {
            end(&completions, key, false);
            assert_eq!(woken.0.load(Ordering::Relaxed), count);
        }
        assert_eq!((0..5).map_while(|_| completions.try_next()).collect::<Vec<_>>(), [7, 8, 9, 10]);
    }

    #[test]
    fn a_failure_is_told_at_once() {
        let (completions, woken) = (Completions::new(), Arc::new(Woken::default()));
        completions.wake_on(&Waker::from(Arc::clone(&woken)), 3);
        end(&completions, 0, false);
        end(&completions, 1, true);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        // One that came before somebody waits must not be waited past.
        assert_eq!(completions.next_of(3, None, || false), Some(0));
        assert_eq!(completions.next_of(3, None, || false), Some(1));
    }
}
