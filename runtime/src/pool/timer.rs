//! The thread that ends tasks whose time is up, and looks after pools that want a thread they could not start
//! (`workers/deferred.rs`). It starts with the first pool, while threads can be had, and sleeps until the next entry.
//! What is called back then may wait for other tasks, so a second thread watches meanwhile.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::sys::unwind;
use crate::sys::{fork, reserve};

/// Something that ends when its time is up, unless it has ended before.
pub(crate) trait Expire: Send + Sync {
    /// Called once the limit, `after`, is over.
    fn expire(&self, after: Duration);
}

struct Entry {
    at: Instant,
    limit: Duration,
    what: Weak<dyn Expire>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// What is to end, the next one first.
pub(crate) struct Queue {
    entries: BinaryHeap<Reverse<Entry>>,
    /// With so many entries those of what has ended in time are thrown out.
    crowded: usize,
    /// Threads that wait for the next entry.
    watchers: usize,
    /// Threads that call back what is due, and wait for the next entry after that.
    ending: usize,
    /// The forks before they were started: a forked child has none of them.
    forks: u32,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue::new());
static BELL: Condvar = Condvar::new();

/// Fewer entries are no crowd.
const LEAST: usize = 1 << 10;

impl Queue {
    const fn new() -> Self {
        Self { entries: BinaryHeap::new(), crowded: LEAST, watchers: 0, ending: 0, forks: 0 }
    }

    /// In a forked child: takes out what its parent's tasks have left, which nobody runs here.
    fn forget_parent(&mut self, forks: u32) -> BinaryHeap<Reverse<Entry>> {
        if self.forks == forks {
            return BinaryHeap::new();
        }
        (self.forks, self.watchers, self.ending) = (forks, 0, 0);
        std::mem::take(&mut self.entries)
    }

    fn is_crowded(&self) -> bool {
        self.entries.len() >= self.crowded
    }

    /// Throws out what has ended in time. It is freed with `ended`, which has room for all entries.
    fn prune(&mut self, ended: &mut Vec<Weak<dyn Expire>>) {
        self.entries.retain(|Reverse(entry)| {
            let lives = entry.what.strong_count() > 0;
            if !lives {
                ended.push(Weak::clone(&entry.what));
            }
            lives
        });
        self.crowded = (2 * self.entries.len()).max(LEAST);
    }
}

/// Makes room for one more entry, if need be while the lock is free.
#[inline]
fn with_room<'a>(queue: MutexGuard<'a, Queue>, lock: impl Fn() -> MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
    if queue.entries.len() < queue.crowded.min(queue.entries.capacity()) {
        return queue;
    }
    // A long limit must not keep the entries of a million short calls. Half of them at least are new each time, so that
    // this costs each a few nanoseconds.
    let is_crowded = queue.is_crowded();
    drop(queue);
    if is_crowded {
        let mut ended = Vec::new();
        let mut queue = reserve::lock_with_buffer(&lock, |queue| queue.entries.len(), &mut ended);
        queue.prune(&mut ended);
        drop(queue);
        // Freed while the lock is free.
        drop(ended);
    }
    reserve::lock_with_capacity(lock, |queue| &mut queue.entries, 1)
}

/// Starts the thread if none watches. Refused once, it may be had later.
pub(crate) fn start() -> io::Result<()> {
    let forks = fork::generation();
    let mut queue = lock();
    let of_parent = queue.forget_parent(forks);
    let alone = queue.watchers == 0;
    queue.watchers += usize::from(alone);
    drop(queue);
    drop(of_parent);
    if alone { start_watcher() } else { Ok(()) }
}

/// Calls `what` once `limit` is over, if it still exists then.
///
/// # Panics
///
/// If no pool has started and the thread is refused: without it nothing would ever time out. Where the thread is there,
/// and is calling back, the entry waits for its return.
pub(crate) fn after(limit: Duration, what: Weak<dyn Expire>) {
    let forks = fork::generation();
    let Some(at) = Instant::now().checked_add(limit) else {
        return; // Longer than the clock can count.
    };
    let mut queue = lock();
    let of_parent = queue.forget_parent(forks);
    let mut queue = with_room(queue, lock);
    let first = queue.entries.peek().is_none_or(|Reverse(entry)| at < entry.at);
    queue.entries.push(Reverse(Entry { at, limit, what }));
    let alone = queue.watchers == 0;
    queue.watchers += usize::from(alone);
    drop(queue);
    drop(of_parent);
    if alone {
        // Without any thread nothing would ever time out, and nothing could say so but a panic. The lock is free: the
        // panic hook may ask for a time limit.
        if let Err(error) = start_watcher()
            && !is_served()
        {
            panic!("the operating system refused the thread that `timeout` needs ({error}): close other threads");
        }
    } else if first {
        BELL.notify_one();
    }
}

/// Starts a thread that was counted as a watcher. Refused once, it may be had later.
fn start_watcher() -> io::Result<()> {
    let spawned = std::thread::Builder::new().name("fanfold-timer".into()).spawn(run);
    if spawned.is_err() {
        lock().watchers -= 1;
    }
    spawned.map(drop)
}

/// Whether a thread waits for the next entry, or will.
fn is_served() -> bool {
    let queue = lock();
    queue.watchers + queue.ending > 0
}

pub(crate) fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run() {
    let mut queue = lock();
    loop {
        let now = Instant::now();
        queue = match queue.entries.peek() {
            None => BELL.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(Reverse(entry)) if entry.at > now => {
                let left = entry.at - now;
                BELL.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
            }
            Some(_) => match queue.entries.pop().map(|Reverse(entry)| (entry.what.upgrade(), entry)) {
                Some((Some(what), entry)) => {
                    end(queue, what, entry.limit);
                    let mut queue = lock();
                    // A callback that forks returns in the child too, where the count has begun anew.
                    queue.ending = queue.ending.saturating_sub(1);
                    // One watches, and one is there to take its place.
                    if queue.watchers >= 2 {
                        return;
                    }
                    queue.watchers += 1;
                    queue
                }
                // The entry may be the last of what has ended: it is freed while the lock is free.
                ended => {
                    drop(queue);
                    drop(ended);
                    lock()
                }
            },
        };
    }
}

/// Ends what is due, while another thread watches: callbacks may wait for what has a time limit too.
fn end(mut queue: MutexGuard<'static, Queue>, what: Arc<dyn Expire>, limit: Duration) {
    queue.watchers -= 1;
    queue.ending += 1;
    let alone = queue.watchers == 0;
    queue.watchers += usize::from(alone);
    drop(queue);
    if alone {
        // If it is refused, time limits wait for the callbacks of this one.
        let _ = start_watcher();
    }
    unwind::contain(|| what.expire(limit));
    // It may be the last of a result, whose destructor may panic.
    unwind::discard(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_in_time_is_not_kept_until_its_time_is_up() {
        struct Nothing;
        impl Expire for Nothing {
            fn expire(&self, _: Duration) {}
        }
        let queue = Mutex::new(Queue::new());
        let add = |entry| {
            let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
            with_room(lock(), lock).entries.push(Reverse(entry));
        };
        let (limit, alive) = (Duration::from_hours(1), Arc::new(Nothing));
        let at = Instant::now() + limit;
        add(Entry { at, limit, what: Arc::downgrade(&alive) as Weak<dyn Expire> });
        for _ in 0..100_000 {
            let over = Arc::new(Nothing);
            add(Entry { at, limit, what: Arc::downgrade(&over) as Weak<dyn Expire> });
        }
        let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        assert!(queue.entries.len() <= LEAST + 1, "{} entries", queue.entries.len());
        assert!(queue.entries.iter().any(|Reverse(entry)| entry.what.strong_count() > 0), "the living one stays");
    }
}
