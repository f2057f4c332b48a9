//! One thread that ends tasks whose time is up. It starts with the first time-out and sleeps until the next one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

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

static QUEUE: Mutex<BinaryHeap<Reverse<Entry>>> = Mutex::new(BinaryHeap::new());
static BELL: Condvar = Condvar::new();
static START: Once = Once::new();

/// Calls `what` once `limit` is over, if it still exists then.
pub(crate) fn after(limit: Duration, what: Weak<dyn Expire>) {
    START.call_once(|| {
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
    let first = queue.peek().is_none_or(|Reverse(entry)| at < entry.at);
    queue.push(Reverse(Entry { at, limit, what }));
    if first {
        BELL.notify_one();
    }
}

fn lock() -> MutexGuard<'static, BinaryHeap<Reverse<Entry>>> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run() {
    let mut queue = lock();
    loop {
        let now = Instant::now();
        queue = match queue.peek() {
            None => BELL.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(Reverse(entry)) if entry.at > now => {
                let left = entry.at - now;
                BELL.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
            }
            Some(_) => {
                let due = queue.pop();
                drop(queue);
                if let Some(Reverse(entry)) = due
                    && let Some(what) = entry.what.upgrade()
                {
                    what.expire(entry.limit);
                }
                lock()
            }
        };
    }
}
