//! Memory held by queued tasks and running maps, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use fanfold::{Pending, Pool, Until, parallel, wait};

/// Counts the live bytes and their peak.
struct CountingAllocator;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded to the system allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `GlobalAlloc::alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `GlobalAlloc::dealloc`; the block came from `System`.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The peak of live bytes while `work` runs, above those before it.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    (PEAK.load(Ordering::Relaxed).saturating_sub(before), result)
}

#[parallel(kind = "cpu")]
fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

const MILLION: usize = 1_000_000;

/// One test, because the allocator counts for all threads.
#[test]
fn a_million_tasks_and_a_million_items_need_little_memory() {
    let pool = Pool::io("one").threads(1).build().unwrap();
    let (release, released) = mpsc::channel::<()>();
    let blocker = pool.submit(move || released.recv().is_err());
    let mut tasks = Vec::with_capacity(MILLION);
    let (bytes, ()) = peak(|| tasks.extend((0..MILLION).map(|_| pool.submit(|| ()))));
    assert!(pool.stats().queued >= MILLION, "they are queued after the first one");
    assert!(bytes / MILLION < 200 - size_of_val(&tasks[0]), "{} bytes a task", bytes / MILLION);
    drop(tasks);
    drop(release);
    assert!(blocker.join().unwrap());
    pool.shutdown(Pending::Cancel);

    let (bytes, sum) = peak(|| square::map(0_u64..).into_iter().take(MILLION).fold(0, u64::wrapping_add));
    assert_eq!(sum, (0..MILLION as u64).fold(0_u64, |sum, n| sum.wrapping_add(n.wrapping_mul(n))));
    assert!(bytes < 10_000_000, "{bytes} bytes for an endless map");
    let (bytes, _) = peak(|| square::map(std::iter::repeat(3)).unordered().into_iter().take(MILLION).count());
    assert!(bytes < 10_000_000, "{bytes} bytes for an endless unordered map");

    // Polling a task again and again leaves nothing behind.
    let (release, released) = mpsc::channel::<()>();
    let task = [Pool::io_default().submit(move || released.recv().is_err())];
    let (bytes, ()) = peak(|| (0..100_000).for_each(|_| drop(wait(&task, Until::First, Some(Duration::ZERO)))));
    assert!(bytes < 10_000, "{bytes} bytes for looking at a task 100,000 times");
    drop(release);
}
