//! The timer thread: it ends tasks whose time limit is over, and calls pools that retry a refused thread start
//! (`spawn_retry.rs`).
//!
//! It starts with the first pool, while threads can be had, and sleeps until the next entry is due. A callback may wait
//! for other tasks, so a second thread watches the entries while the first one runs a callback.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::sys::unwind;
use crate::sys::{fork, mutex, reserve, thread};

/// Called back by the timer thread when its time limit is over, if it still exists.
pub(crate) trait Expire: Send + Sync {
    /// Called once `limit` is over.
    fn expire(&self, limit: Duration);
}

struct TimerEntry {
    at: Instant,
    limit: Duration,
    target: Weak<dyn Expire>,
}

impl PartialEq for TimerEntry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for TimerEntry {}
impl PartialOrd for TimerEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for TimerEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// The entries, and the threads that serve them.
pub(super) struct TimerQueue {
    /// The entry that is due next comes first.
    entries: BinaryHeap<Reverse<TimerEntry>>,
    /// The length at which entries are removed whose target has ended in time.
    prune_at: usize,
    /// Threads that wait for the next entry.
    watchers: usize,
    /// Threads that run a callback, and wait for the next entry after that.
    in_callback: usize,
    /// [`fork::count`] when these threads were started: a forked child has none of them.
    forks: u32,
}

static QUEUE: Mutex<TimerQueue> = Mutex::new(TimerQueue::new());
/// Notified when an entry is added that is due before all others.
static EARLIER_ENTRY: Condvar = Condvar::new();

/// Shorter queues are not pruned.
const MIN_PRUNE: usize = 1 << 10;

impl TimerQueue {
    const fn new() -> Self {
        Self { entries: BinaryHeap::new(), prune_at: MIN_PRUNE, watchers: 0, in_callback: 0, forks: 0 }
    }

    /// In a forked child: takes the entries of its parent's tasks out, which do not run here.
    fn forget_parent(&mut self, forks: u32) -> BinaryHeap<Reverse<TimerEntry>> {
        if self.forks == forks {
            return BinaryHeap::new();
        }
        (self.forks, self.watchers, self.in_callback) = (forks, 0, 0);
        std::mem::take(&mut self.entries)
    }

    fn must_be_pruned(&self) -> bool {
        self.entries.len() >= self.prune_at
    }

    /// Removes entries whose target has ended. Their memory is freed with `ended`, which has room for all entries.
    fn prune(&mut self, ended: &mut Vec<Weak<dyn Expire>>) {
        self.entries.retain(|Reverse(entry)| {
            let is_live = entry.target.strong_count() > 0;
            if !is_live {
                ended.push(Weak::clone(&entry.target));
            }
            is_live
        });
        self.prune_at = (2 * self.entries.len()).max(MIN_PRUNE);
    }
}

/// Makes room for one more entry. The lock is free while memory is allocated.
#[inline]
fn with_room<'a>(
    queue: MutexGuard<'a, TimerQueue>,
    lock: impl Fn() -> MutexGuard<'a, TimerQueue>,
) -> MutexGuard<'a, TimerQueue> {
    if queue.entries.len() < queue.prune_at.min(queue.entries.capacity()) {
        return queue;
    }
    // A long limit must not keep the entries of a million short calls. At least half of the entries are new each time,
    // so pruning costs each a few nanoseconds.
    let must_be_pruned = queue.must_be_pruned();
    drop(queue);
    if must_be_pruned {
        let mut ended = Vec::new();
        let mut queue = reserve::lock_with_buffer(&lock, |queue| queue.entries.len(), &mut ended);
        queue.prune(&mut ended);
        drop(queue);
        // Freed while the lock is free.
        drop(ended);
    }
    reserve::lock_with_capacity(lock, |queue| &mut queue.entries, 1)
}

/// Starts the timer thread if there is none.
///
/// # Errors
///
/// If the operating system refuses the thread. A later call may succeed.
pub(super) fn start() -> io::Result<()> {
    let forks = fork::generation();
    let mut queue = lock();
    let of_parent = queue.forget_parent(forks);
    let is_missing = queue.watchers == 0;
    queue.watchers += usize::from(is_missing);
    drop(queue);
    drop(of_parent);
    if is_missing { start_watcher() } else { Ok(()) }
}

/// Calls `target` once `limit` is over, if it still exists then.
///
/// # Panics
///
/// If there is no timer thread and the operating system refuses one: without it nothing would ever time out. If the one
/// timer thread is in a callback, the entry waits for the end of that callback.
pub(crate) fn after(limit: Duration, target: Weak<dyn Expire>) {
    // A longer limit than the clock can count is never over.
    if let Some(at) = Instant::now().checked_add(limit) {
        after_until(limit, at, target);
    }
}

/// As [`after`], where the limit is over at this time.
///
/// # Panics
///
/// As [`after`].
pub(crate) fn after_until(limit: Duration, at: Instant, target: Weak<dyn Expire>) {
    let forks = fork::generation();
    let mut queue = lock();
    let of_parent = queue.forget_parent(forks);
    let mut queue = with_room(queue, lock);
    let is_first = queue.entries.peek().is_none_or(|Reverse(entry)| at < entry.at);
    queue.entries.push(Reverse(TimerEntry { at, limit, target }));
    let is_missing = queue.watchers == 0;
    queue.watchers += usize::from(is_missing);
    drop(queue);
    drop(of_parent);
    if is_missing {
        // Only a panic can report this: there is no thread that could end the task. The lock is free: the panic hook
        // may add an entry.
        if let Err(error) = start_watcher()
            && !is_served()
        {
            panic!("the operating system refused the thread that `timeout` needs ({error}): close other threads");
        }
    } else if is_first {
        EARLIER_ENTRY.notify_one();
    }
}

/// Starts a thread that is already counted as a watcher.
fn start_watcher() -> io::Result<()> {
    let spawned = thread::spawn("fanfold-timer".to_owned(), None, run);
    if spawned.is_err() {
        lock().watchers -= 1;
    }
    spawned.map(drop)
}

/// Whether a thread waits for the next entry, or will after its callback.
fn is_served() -> bool {
    let queue = lock();
    queue.watchers + queue.in_callback > 0
}

pub(super) fn lock() -> MutexGuard<'static, TimerQueue> {
    mutex::lock(&QUEUE)
}

/// The main function of a timer thread.
fn run() {
    let mut queue = lock();
    loop {
        let now = Instant::now();
        queue = match queue.entries.peek() {
            None => mutex::wait(&EARLIER_ENTRY, queue),
            Some(Reverse(entry)) if entry.at > now => {
                let left = entry.at - now;
                mutex::wait_timeout(&EARLIER_ENTRY, queue, left).0
            }
            Some(_) => match queue.entries.pop().map(|Reverse(entry)| (entry.target.upgrade(), entry)) {
                Some((Some(target), entry)) => {
                    call_back(queue, target, entry.limit);
                    let mut queue = lock();
                    // Saturating: a callback that forks returns in the child too, where the count has begun anew.
                    queue.in_callback = queue.in_callback.saturating_sub(1);
                    // Two threads are enough: one watches, the other takes its place during a callback.
                    if queue.watchers >= 2 {
                        return;
                    }
                    queue.watchers += 1;
                    queue
                }
                // The entry may be the last reference to the memory of its target. It is freed while the lock is free.
                ended => {
                    drop(queue);
                    drop(ended);
                    lock()
                }
            },
        };
    }
}

/// Runs the callback of an entry that is due, while another thread watches: the callback may wait for a task that has a
/// time limit itself.
fn call_back(mut queue: MutexGuard<'_, TimerQueue>, target: Arc<dyn Expire>, limit: Duration) {
    queue.watchers -= 1;
    queue.in_callback += 1;
    let is_missing = queue.watchers == 0;
    queue.watchers += usize::from(is_missing);
    drop(queue);
    if is_missing {
        // If the thread is refused, further entries wait for the end of this callback.
        let _ = start_watcher();
    }
    unwind::contain(|| target.expire(limit));
    // This may be the last reference to a task's result, whose destructor may panic.
    unwind::discard(target);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_ended_targets_are_pruned_before_they_are_due() {
        struct Target;
        impl Expire for Target {
            fn expire(&self, _: Duration) {}
        }
        let queue = Mutex::new(TimerQueue::new());
        let add = |entry| {
            let lock = || mutex::lock(&queue);
            with_room(lock(), lock).entries.push(Reverse(entry));
        };
        let (limit, live) = (Duration::from_secs(3_600), Arc::new(Target));
        let at = Instant::now() + limit;
        add(TimerEntry { at, limit, target: Arc::downgrade(&live) as Weak<dyn Expire> });
        for _ in 0..100_000 {
            let ended = Arc::new(Target);
            add(TimerEntry { at, limit, target: Arc::downgrade(&ended) as Weak<dyn Expire> });
        }
        let queue = queue.into_inner().expect("no thread panics with the lock");
        assert!(queue.entries.len() <= MIN_PRUNE + 1, "{} entries", queue.entries.len());
        assert!(queue.entries.iter().any(|Reverse(entry)| entry.target.strong_count() > 0), "the live one stays");
    }
}
