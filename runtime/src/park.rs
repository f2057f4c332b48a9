//! How a thread waits: it looks for a moment, then sleeps until it is woken.
//!
//! Each thread has a parker of its own, apart from `std::thread::park`, whose token belongs to the user.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use crate::clock::Moment;
use crate::config;

/// How long a waiting thread looks before it sleeps. About what a hot worker takes for an empty task;
/// looking longer keeps the other side's core from its work.
pub(crate) const LOOK: Duration = Duration::from_micros(2);
/// Who has not waited for so long finds the other side asleep, most likely. A kernel that wakes it on this very core
/// lets it begin when this thread sleeps.
const COLD_NS: u64 = 1_000_000;

const EMPTY: u32 = 0;
const WOKEN: u32 = 1;
const ASLEEP: u32 = 2;

/// Where a thread sleeps: `wake` before or during `sleep` ends it.
struct Parker {
    state: AtomicU32,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Parker {
    /// Sleeps until it is woken, or until the deadline.
    fn sleep(&self, deadline: Option<Instant>) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.compare_exchange(EMPTY, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            while self.state.load(Ordering::Acquire) == ASLEEP {
                let Some(deadline) = deadline else {
                    guard = self.bell.wait(guard).unwrap_or_else(PoisonError::into_inner);
                    continue;
                };
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                guard = self.bell.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        // Not a mere store: it may take a `WOKEN` away that came this moment, and whoever sent it must be seen to have
        // made true what this thread looks for next.
        self.state.swap(EMPTY, Ordering::AcqRel);
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP {
            // The sleeper holds the lock until it waits, so the bell cannot ring before.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_one();
        }
    }
}

thread_local! {
    static PARKER: Bed = Bed::new();
    /// For destructors of thread-locals that wait when the other one is gone. It has none itself, and is leaked.
    static LAST: ManuallyDrop<Bed> = ManuallyDrop::new(Bed::new());
}

/// A thread's parker, and the waker that wakes it.
struct Bed {
    parker: Arc<Parker>,
    waker: Waker,
}

impl Bed {
    fn new() -> Self {
        let parker = Arc::new(Parker { state: AtomicU32::new(EMPTY), lock: Mutex::new(()), bell: Condvar::new() });
        let waker = Waker::from(Arc::clone(&parker));
        Self { parker, waker }
    }

    /// This thread's.
    fn with<T>(look: impl Fn(&Self) -> T) -> T {
        PARKER.try_with(&look).unwrap_or_else(|_| LAST.with(|bed| look(bed)))
    }
}

/// The waker of this thread's [`wait_until`].
pub(crate) fn waker() -> Waker {
    Bed::with(|bed| bed.waker.clone())
}

/// Threads that look at this moment. With more than there are cores, they would keep the others from their work.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

/// Threads that sleep until what they wait for is done.
static SLEEPERS: AtomicUsize = AtomicUsize::new(0);

/// Whether more threads wait than could look: with as many jobs ahead of what this one waits for, it does not look.
pub(crate) fn is_crowded() -> bool {
    SLEEPERS.load(Ordering::Relaxed) >= config::cores()
}

thread_local! {
    /// When this thread last looked, in ticks.
    static LOOKED: Cell<u64> = const { Cell::new(0) };
}

/// Looks for up to [`LOOK`] whether `done` holds, unless this thread has not waited for long.
pub(crate) fn look(done: impl Fn() -> bool) -> bool {
    if done() {
        return true;
    }
    let now = Moment::now();
    let before = LOOKED.replace(now.ticks());
    if now.since(Moment::from_ticks(before)) > COLD_NS {
        return false;
    }
    look_up_to(LOOK, done)
}

/// Looks for up to `time` whether `done` holds; only once if enough other threads look already.
pub(crate) fn look_up_to(time: Duration, done: impl Fn() -> bool) -> bool {
    let others = LOOKING.fetch_add(1, Ordering::Relaxed);
    // With many who wait for a core, no longer than anybody.
    let time = if is_crowded() { time.min(LOOK) } else { time };
    let seen = others < config::cores() && look_for(time, done);
    LOOKING.fetch_sub(1, Ordering::Relaxed);
    seen
}

/// Looks for up to `time` whether `done` holds.
pub(crate) fn look_for(time: Duration, done: impl Fn() -> bool) -> bool {
    let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let start = Moment::now();
    loop {
        // A pause is some 50 cycles and up: looking after many of them would make most waits that much longer.
        for _ in 0..8 {
            for _ in 0..2 {
                std::hint::spin_loop();
            }
            if done() {
                return true;
            }
        }
        if Moment::now().since(start) >= time {
            return false;
        }
    }
}

/// Sleeps until this thread is woken, or until the deadline.
fn sleep(deadline: Option<Instant>) {
    SLEEPERS.fetch_add(1, Ordering::Relaxed);
    Bed::with(|bed| bed.parker.sleep(deadline));
    SLEEPERS.fetch_sub(1, Ordering::Relaxed);
}

/// Sleeps until `done` holds. Whoever makes it hold must then wake this thread's [`waker`].
pub(crate) fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        sleep(None);
    }
}

/// As [`wait_until`], until the deadline at most; whether `done` holds.
pub(crate) fn wait_until_deadline(done: impl Fn() -> bool, deadline: Instant) -> bool {
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Some(deadline));
    }
}
