//! One thread that ends tasks whose time is up. It starts with the first time-out and sleeps until the next one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::panics;

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
struct Queue {
    entries: BinaryHeap<Reverse<Entry>>,
    /// With so many entries those of what has ended in time are thrown out.
    crowded: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { entries: BinaryHeap::new(), crowded: LEAST });
static BELL: Condvar = Condvar::new();
static START: Once = Once::new();

/// Fewer entries are no crowd.
const LEAST: usize = 1 << 10;

impl Queue {
    fn add(&mut self, entry: Entry) {
        // A long limit must not keep the entries of a million short calls. Half of them at least are new each time, so
        // that this costs each a few nanoseconds.
        if self.entries.len() >= self.crowded {
            self.entries.retain(|Reverse(entry)| entry.what.strong_count() > 0);
            self.crowded = (2 * self.entries.len()).max(LEAST);
        }
        self.entries.push(Reverse(entry));
    }
}

/// Calls `what` once `limit` is over, if it still exists then.
pub(crate) fn after(limit: Duration, what: Weak<dyn Expire>) {
    // Refused once, it may be had later.
    START.call_once_force(|_| {
        // Without the thread nothing would ever time out, and nothing could say so but a panic.
        let spawned = std::thread::Builder::new().name("fanfold-timer".into()).spawn(run);
        if let Err(error) = spawned {
            panic!("the operating system refused the thread that `timeout` needs ({error}): close other threads");
        }
    });
    let Some(at) = Instant::now().checked_add(limit) else {
        return; // Longer than the clock can count.
    };
    let mut queue = lock();
    let first = queue.entries.peek().is_none_or(|Reverse(entry)| at < entry.at);
    queue.add(Entry { at, limit, what });
    if first {
        BELL.notify_one();
    }
}

fn lock() -> MutexGuard<'static, Queue> {
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
            Some(_) => {
                let due = queue.entries.pop();
                drop(queue);
                if let Some(Reverse(entry)) = due
                    && let Some(what) = entry.what.upgrade()
                {
                    panics::contain(|| what.expire(entry.limit));
                    // It may be the last of a result, whose destructor may panic.
                    panics::discard(what);
                }
                lock()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_has_ended_in_time_is_not_kept_until_its_time_is_up() {
        struct Nothing;
        impl Expire for Nothing {
            fn expire(&self, _: Duration) {}
        }
        let mut queue = Queue { entries: BinaryHeap::new(), crowded: LEAST };
        let (limit, alive) = (Duration::from_hours(1), Arc::new(Nothing));
        let at = Instant::now() + limit;
        queue.add(Entry { at, limit, what: Arc::downgrade(&alive) as Weak<dyn Expire> });
        for _ in 0..100_000 {
            let over = Arc::new(Nothing);
            queue.add(Entry { at, limit, what: Arc::downgrade(&over) as Weak<dyn Expire> });
        }
        assert!(queue.entries.len() <= LEAST + 1, "{} entries", queue.entries.len());
        assert!(queue.entries.iter().any(|Reverse(entry)| entry.what.strong_count() > 0), "the living one stays");
    }
}
