//! How a thread waits: it looks for a moment, then sleeps until it is woken.
//!
//! Where more threads wait than there are cores, looking only keeps a core from those who are awaited, and sleeping costs
//! two calls of the system for each wait: one to sleep, one to be woken. Giving way costs one, if the wait is over when
//! this thread's turn comes again. So a thread whose last wait showed that such a crowd is served briskly gives way
//! once before it sleeps.
//!
//! Each thread has a parker of its own, apart from `std::thread::park`, whose token belongs to the user.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::clock::Moment;
use super::cpu;

/// How long a waiting thread looks before it sleeps. About what a hot worker takes for an empty task;
/// looking longer keeps the other side's core from its work.
pub(crate) const LOOK: Duration = Duration::from_micros(2);
/// Who has not waited for so long finds the other side asleep, most likely. A kernel that wakes it on this very core
/// lets it begin when this thread sleeps.
pub(crate) const COLD_NS: u64 = 1_000_000;

/// A crowd is served briskly if one of it has what it waits for every so many nanoseconds, or sooner. With longer jobs a
/// thread that gives way would get in line behind whoever computes, and be late for its result.
const BRISK_NS: u64 = 10_000;

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
    #[inline]
    fn sleep(&self, deadline: Option<Instant>) {
        // The threads that would wake this one are missing in a copy of a worker: the wait would keep the copy for ever.
        #[cfg(feature = "process")]
        super::owner::end_copy_of_worker();
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
    #[inline]
    fn with<T>(look: impl Fn(&Self) -> T) -> T {
        PARKER.try_with(&look).unwrap_or_else(|_| LAST.with(|bed| look(bed)))
    }
}

/// The waker of this thread's [`wait_until`].
#[inline]
pub(crate) fn waker() -> Waker {
    Bed::with(|bed| bed.waker.clone())
}

/// Threads that look at this moment. With more than there are cores, they would keep the others from their work.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

/// Waits that have begun. How many did since a thread last asked tells it how large the crowd is that it is one of:
/// those who wait for something long are none of it.
static WAITS: AtomicUsize = AtomicUsize::new(0);

/// A wait that has ended. What it means is worked out when somebody asks.
#[derive(Clone, Copy)]
struct Wait {
    /// In ticks.
    began: u64,
    ended: u64,
    /// How many others began meanwhile.
    others: usize,
}

impl Wait {
    /// What it took, shared out among all that waited, in nanoseconds.
    fn pace(self) -> u64 {
        Moment::from_ticks(self.ended).since(Moment::from_ticks(self.began)) / (self.others as u64 + 1)
    }
}

thread_local! {
    /// When this thread began to wait, in ticks.
    static BEGAN: Cell<u64> = const { Cell::new(0) };
    /// What [`WAITS`] was when it last asked.
    static SEEN: Cell<usize> = const { Cell::new(0) };
    /// How many waits of others had begun then since it asked before.
    static OTHERS: Cell<usize> = const { Cell::new(0) };
    /// The last time that it slept or gave way.
    static LAST_WAIT: Cell<Wait> = const { Cell::new(Wait { began: 0, ended: u64::MAX, others: 0 }) };
}

/// A wait begins; whether looking is of use: this thread has not waited for long otherwise.
#[inline]
pub(crate) fn begin() -> bool {
    count_others(WAITS.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
    let now = Moment::now();
    let before = BEGAN.replace(now.ticks());
    now.since(Moment::from_ticks(before)) <= COLD_NS
}

/// Sees how large a crowd waits for this thread, which waits for nobody itself.
#[inline]
pub(crate) fn see_crowd() {
    count_others(WAITS.load(Ordering::Relaxed));
}

/// Of the waits since this thread last asked, one is its own, or of the one that it works for. Who asks for the first
/// time counts all there ever were, but knows nothing of how they are served, and so does not give way.
#[inline]
fn count_others(waits: usize) {
    OTHERS.set(waits.wrapping_sub(SEEN.replace(waits)).saturating_sub(1));
}

/// Whether this thread has seen more threads wait than there are cores.
#[inline]
pub(crate) fn is_crowded() -> bool {
    OTHERS.get() >= cpu::cores()
}

/// A wait has ended.
#[inline]
fn end() {
    let others = WAITS.load(Ordering::Relaxed).wrapping_sub(SEEN.get());
    LAST_WAIT.set(Wait { began: BEGAN.get(), ended: Moment::now().ticks(), others });
}

/// Lets other threads go first, once, if there is a crowd of waiting threads and it is served briskly; whether `done`
/// holds then.
pub(crate) fn give_way(done: impl Fn() -> bool) -> bool {
    if !is_crowded() || LAST_WAIT.get().pace() > BRISK_NS {
        return false;
    }
    std::thread::yield_now();
    let seen = done();
    if seen {
        end();
    }
    seen
}

/// Looks for up to [`LOOK`] whether `done` holds, unless this thread has not waited for long.
pub(crate) fn look(done: impl Fn() -> bool) -> bool {
    done() || (begin() && look_up_to(LOOK, done))
}

/// Looks for up to `time` whether `done` holds; only once if enough other threads look already.
pub(crate) fn look_up_to(time: Duration, done: impl Fn() -> bool) -> bool {
    let others = LOOKING.fetch_add(1, Ordering::Relaxed);
    // With many who wait for a core, no longer than anybody.
    let time = if is_crowded() { time.min(LOOK) } else { time };
    let seen = others < cpu::cores() && look_for(time, done);
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
#[inline]
fn sleep(deadline: Option<Instant>) {
    Bed::with(|bed| bed.parker.sleep(deadline));
    end();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_seen_a_brisk_crowd_gives_way() {
        let crowd = cpu::cores();
        OTHERS.set(crowd);
        assert!(!give_way(|| panic!("this thread has never waited")));
        LAST_WAIT.set(Wait { began: 7, ended: 7, others: 0 });
        assert!(give_way(|| true), "its last wait was short");
        LAST_WAIT.set(Wait { began: 7, ended: u64::MAX, others: crowd });
        assert!(!give_way(|| panic!("its last wait took long")));
        LAST_WAIT.set(Wait { began: 7, ended: 7, others: 0 });
        OTHERS.set(crowd - 1);
        assert!(!give_way(|| panic!("there is no crowd")));
    }
}
