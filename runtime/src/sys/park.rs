//! Waiting: a thread spins for 2 us, then parks until it is woken.
//!
//! If more threads wait than there are cores (oversubscription), spinning only takes cores from the threads that are
//! waited for. Parking costs two system calls for each wait: one to park, one to be woken. Yielding costs one, if the
//! wait is over when the scheduler returns to this thread. So a thread yields once before it parks, provided that its
//! last wait has shown that waits end fast under oversubscription ([`YIELD_NS`]).
//!
//! Each thread has its own parker: the token of `std::thread::park` belongs to the user.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use crossbeam_utils::sync::{Parker, Unparker};

use super::clock::Moment;
use super::cpu;

/// The time that a waiting thread spins before it parks: about what a hot worker takes for an empty task. A longer spin
/// keeps the core that the waker may need.
pub(crate) const SPIN: Duration = Duration::from_micros(2);
/// The time that a helper without work spins for the next share of a map, or for the next part of a job that it may
/// steal: maps often follow one another, and waking a thread takes longer than many maps.
pub(crate) const HELPER_SPIN: Duration = Duration::from_micros(50);

/// Yield only if waits end at least every 10 us. With longer jobs a thread that yields is queued behind threads that
/// compute, and resumes late.
const YIELD_NS: u64 = 10_000;

/// Wakes one thread.
struct ThreadWaker(Unparker);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static PARKER: ThreadParker = ThreadParker::new();
    /// For destructors of thread-locals that wait after `PARKER` was destroyed. It is leaked, so it has no destructor.
    static LAST_PARKER: ManuallyDrop<ThreadParker> = ManuallyDrop::new(ThreadParker::new());
}

/// A thread's parker, and the waker that wakes it.
struct ThreadParker {
    parker: Parker,
    waker: Waker,
}

impl ThreadParker {
    fn new() -> Self {
        let parker = Parker::new();
        let waker = Waker::from(Arc::new(ThreadWaker(parker.unparker().clone())));
        Self { parker, waker }
    }

    /// Runs `run` with this thread's parker.
    #[inline]
    fn with<T>(run: impl Fn(&Self) -> T) -> T {
        PARKER.try_with(&run).unwrap_or_else(|_| LAST_PARKER.with(|parker| run(parker)))
    }
}

/// The waker of this thread's [`wait_until`].
#[inline]
pub(crate) fn waker() -> Waker {
    ThreadParker::with(|parker| parker.waker.clone())
}

/// The number of threads that spin now. More than there are cores would keep other threads from their work.
static SPINNING: AtomicUsize = AtomicUsize::new(0);

/// The number of waits that have begun. The difference between two readings of a thread tells how many other threads
/// wait as often as it does. Threads in one long wait do not count.
static WAITS: AtomicUsize = AtomicUsize::new(0);

/// A wait that has ended.
#[derive(Clone, Copy)]
struct WaitRecord {
    /// In ticks, as `ended`.
    began: u64,
    ended: u64,
    /// The number of other waits that began meanwhile.
    others: usize,
}

impl WaitRecord {
    /// The time between two ends of waits, in nanoseconds: the wait's duration divided by the number of waits.
    fn ns_per_wait(self) -> u64 {
        Moment::from_ticks(self.ended).since(Moment::from_ticks(self.began)) / (self.others as u64 + 1)
    }
}

thread_local! {
    /// The start of this thread's last wait, in ticks.
    static WAIT_BEGAN: Cell<u64> = const { Cell::new(0) };
    /// The value of [`WAITS`] that this thread read last.
    static WAITS_SEEN: Cell<usize> = const { Cell::new(0) };
    /// The number of waits of other threads between its last two readings.
    static OTHER_WAITS: Cell<usize> = const { Cell::new(0) };
    /// Its last wait that parked or yielded.
    static LAST_WAIT: Cell<WaitRecord> = const { Cell::new(WaitRecord { began: 0, ended: u64::MAX, others: 0 }) };
}

/// Begins a wait.
#[inline]
fn begin_wait() {
    set_other_waits(WAITS.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
    WAIT_BEGAN.set(Moment::now().ticks());
}

/// Counts the waits of other threads, for a worker that does not begin a wait itself.
#[inline]
pub(crate) fn count_other_waits() {
    set_other_waits(WAITS.load(Ordering::Relaxed));
}

/// Stores the number of waits since the last reading, less one: this thread's own wait, or that of the thread it works
/// for. The first reading counts all waits since the start, which does no harm: without a last wait a thread does not
/// yield.
#[inline]
fn set_other_waits(waits: usize) {
    OTHER_WAITS.set(waits.wrapping_sub(WAITS_SEEN.replace(waits)).saturating_sub(1));
}

/// Whether at least as many other threads wait as there are cores.
#[inline]
pub(crate) fn is_oversubscribed() -> bool {
    OTHER_WAITS.get() >= cpu::cores()
}

/// Records the end of a wait.
#[inline]
fn end_wait() {
    let others = WAITS.load(Ordering::Relaxed).wrapping_sub(WAITS_SEEN.get());
    LAST_WAIT.set(WaitRecord { began: WAIT_BEGAN.get(), ended: Moment::now().ticks(), others });
}

/// Yields once, if the cores are oversubscribed and waits end fast. Returns whether `done` holds then.
fn yield_once(done: impl Fn() -> bool) -> bool {
    if !is_oversubscribed() || LAST_WAIT.get().ns_per_wait() > YIELD_NS {
        return false;
    }
    std::thread::yield_now();
    let seen = done();
    if seen {
        end_wait();
    }
    seen
}

/// Begins a wait, and spins for up to [`SPIN`]. Returns whether `done` holds.
#[inline]
pub(crate) fn spin(done: impl Fn() -> bool) -> bool {
    if done() {
        return true;
    }
    begin_wait();
    spin_up_to(SPIN, done)
}

/// As [`spin`]; a thread among many that wait yields once, too.
#[inline]
pub(crate) fn spin_or_yield(done: impl Fn() -> bool) -> bool {
    spin(&done) || yield_once(done)
}

/// Spins for up to `time`, but not at all if as many threads spin already as there are cores. Returns whether `done`
/// was seen to hold.
pub(crate) fn spin_up_to(time: Duration, done: impl Fn() -> bool) -> bool {
    let others = SPINNING.fetch_add(1, Ordering::Relaxed);
    // Under oversubscription no thread spins longer than the shortest time.
    let time = if is_oversubscribed() { time.min(SPIN) } else { time };
    let seen = others < cpu::cores() && spin_for(time, done);
    SPINNING.fetch_sub(1, Ordering::Relaxed);
    seen
}

/// Spins for up to `time`. Returns whether `done` was seen to hold.
pub(crate) fn spin_for(time: Duration, done: impl Fn() -> bool) -> bool {
    let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let start = Moment::now();
    loop {
        // A pause instruction takes 50 cycles or more, so `done` is checked after every second one.
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

/// Parks this thread until it is woken, or until the deadline.
#[inline]
fn park(deadline: Option<Instant>) {
    // A forked copy of a worker process has no other threads, so nothing would ever wake this one.
    #[cfg(feature = "process")]
    super::owner::exit_if_forked_worker();
    ThreadParker::with(|parker| match deadline {
        None => parker.parker.park(),
        Some(deadline) => parker.parker.park_deadline(deadline),
    });
    end_wait();
}

/// Parks until `done` holds. The thread that makes it hold must then wake this thread's [`waker`].
pub(crate) fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        park(None);
    }
}

/// As [`wait_until`], until the deadline at most. Returns whether `done` holds.
pub(crate) fn wait_until_deadline(done: impl Fn() -> bool, deadline: Instant) -> bool {
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        park(Some(deadline));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yields_only_if_waits_end_fast_under_oversubscription() {
        let cores = cpu::cores();
        OTHER_WAITS.set(cores);
        assert!(!yield_once(|| panic!("this thread has never waited")));
        LAST_WAIT.set(WaitRecord { began: 7, ended: 7, others: 0 });
        assert!(yield_once(|| true), "its last wait was short");
        LAST_WAIT.set(WaitRecord { began: 7, ended: u64::MAX, others: cores });
        assert!(!yield_once(|| panic!("its last wait took long")));
        LAST_WAIT.set(WaitRecord { began: 7, ended: 7, others: 0 });
        OTHER_WAITS.set(cores - 1);
        assert!(!yield_once(|| panic!("fewer threads wait than there are cores")));
    }
}
