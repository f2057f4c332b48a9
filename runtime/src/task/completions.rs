//! [`Completions`]: a queue that receives the keys of tasks in the order of completion, and one consumer of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use super::Task;
use super::slot::CompletionSink;
use crate::pool::runtime_wait::BlockedRuntime;
use crate::pool::{self, runtime_wait};
use crate::sys::{fork, mutex, park, reserve};

/// How many tasks are checked before one of several is claimed. Tasks start in about their order, so if these have not
/// started, most likely no later one runs either.
pub(crate) const CLAIM_LOOKAHEAD: usize = 16;

/// The keys of watched tasks that have ended and were not taken yet.
pub(crate) struct Completions {
    queue: Arc<CompletionQueue>,
    /// The fork count at its creation.
    forks: u32,
}

/// The queue, shared with the tasks.
struct CompletionQueue {
    state: Mutex<CompletionState>,
}

#[derive(Default)]
struct CompletionState {
    ended: VecDeque<usize>,
    /// The consumer, if it waits for more of them.
    waiter: Option<Waker>,
    /// The number of keys at which the waiter is woken; lowered to 1 once a task without a result has ended.
    wake_at: usize,
    /// What a thread blocks that waits for the watched tasks.
    blocked: BlockedRuntime,
    /// Whether a watched task belongs to the parent process, from before a fork.
    has_parent_task: bool,
}

impl CompletionSink for CompletionQueue {
    fn complete(&self, key: usize, failed: bool) {
        let waiter = {
            let mut state = reserve::lock_with_capacity(|| self.lock(), |state| &mut state.ended, 1);
            state.ended.push_back(key);
            if failed {
                state.wake_at = 1;
            }
            if state.has_enough() { state.waiter.take() } else { None }
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

impl CompletionState {
    fn has_enough(&self) -> bool {
        !self.ended.is_empty() && self.ended.len() >= self.wake_at
    }
}

impl CompletionQueue {
    fn lock(&self) -> MutexGuard<'_, CompletionState> {
        mutex::lock(&self.state)
    }
}

impl Completions {
    pub(crate) fn new() -> Self {
        Self { queue: Arc::new(CompletionQueue { state: Mutex::default() }), forks: fork::generation() }
    }

    /// Whether it is that of the parent, in a forked child: then a thread that does not exist here may hold its lock.
    pub(crate) fn is_from_parent(&self) -> bool {
        fork::is_child(self.forks)
    }

    /// Registers the queue with a task, which adds its key when it ends; at once if it has ended.
    pub(crate) fn watch<T>(&self, key: usize, task: &Task<T>) {
        if task.is_polled() {
            let before = std::mem::take(&mut self.queue.lock().blocked);
            let blocked = before.or(task.blocked());
            self.queue.lock().blocked = blocked;
        }
        if !task.add_sink(self.sink(), key) {
            self.queue.complete(key, task.has_failed());
        } else if task.is_from_parent() {
            self.queue.lock().has_parent_task = true;
        }
    }

    /// Removes the queue from a task that was watched with this key.
    pub(crate) fn unwatch<T>(&self, key: usize, task: &Task<T>) {
        task.remove_sink(&self.sink(), key);
    }

    fn sink(&self) -> Arc<dyn CompletionSink> {
        Arc::clone(&self.queue) as Arc<dyn CompletionSink>
    }

    /// Takes the next key, if there is one.
    pub(crate) fn try_next(&self) -> Option<usize> {
        self.queue.lock().ended.pop_front()
    }

    /// Forgets the tasks that are watched, whose keys go nowhere from now on, and wakes the consumer.
    pub(crate) fn forget_all(&mut self) {
        let before = std::mem::replace(self, Self::new());
        let waiter = before.queue.lock().waiter.take();
        waiter.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().ended.is_empty()
    }

    /// Waits for the next key, until `deadline` at most. The thread is woken once there are `enough` keys, or one of a
    /// task without a result, and not before.
    ///
    /// Without a deadline, `claim` is called whenever a pool is refused a thread. It runs a task here if it can, and
    /// returns whether it did.
    pub(crate) fn wait_next(
        &self,
        enough: usize,
        deadline: Option<Instant>,
        claim: impl Fn() -> bool,
    ) -> Option<usize> {
        let mut refusals = pool::refusals();
        loop {
            self.set_waker(&park::waker(), enough);
            self.check_fork();
            let ended = || self.queue.lock().has_enough();
            let blocked = self.queue.lock().blocked.clone();
            runtime_wait::wait(blocked, deadline, || match deadline {
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

    /// Panics in a forked child if the wait would be for tasks of its parent.
    #[track_caller]
    pub(crate) fn check_fork(&self) {
        let state = self.queue.lock();
        let waits = !state.has_enough() && (state.has_parent_task || self.is_from_parent());
        drop(state);
        if waits {
            fork::panic_in_child();
        }
    }

    /// Registers `waker` to be woken at the next key.
    pub(crate) fn wake_on_next(&self, waker: &Waker) {
        self.set_waker(waker, 1);
    }

    fn set_waker(&self, waker: &Waker, enough: usize) {
        // Cloning and dropping a waker runs user code, so neither happens under the lock.
        let waker = waker.clone();
        let mut state = self.queue.lock();
        // A key that is there already may be that of a task without a result.
        state.wake_at = if state.ended.is_empty() { enough } else { 1 };
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

    /// Counts how often it is woken.
    #[derive(Default)]
    struct WakeCount(AtomicUsize);

    impl Wake for WakeCount {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn end(completions: &Completions, key: usize, failed: bool) {
        completions.queue.complete(key, failed);
    }

    #[test]
    fn a_wait_for_several_tasks_is_woken_once() {
        let (completions, woken) = (Completions::new(), Arc::new(WakeCount::default()));
        completions.set_waker(&Waker::from(Arc::clone(&woken)), 3);
        for (key, count) in [(7, 0), (8, 0), (9, 1), (10, 1)] {
            end(&completions, key, false);
            assert_eq!(woken.0.load(Ordering::Relaxed), count);
        }
        assert_eq!((0..5).map_while(|_| completions.try_next()).collect::<Vec<_>>(), [7, 8, 9, 10]);
    }

    #[test]
    fn a_failed_task_wakes_the_wait_at_once() {
        let (completions, woken) = (Completions::new(), Arc::new(WakeCount::default()));
        completions.set_waker(&Waker::from(Arc::clone(&woken)), 3);
        end(&completions, 0, false);
        end(&completions, 1, true);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        // A failure from before the wait ends the wait, too.
        assert_eq!(completions.wait_next(3, None, || false), Some(0));
        assert_eq!(completions.wait_next(3, None, || false), Some(1));
    }
}
