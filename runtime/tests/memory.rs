//! What queued tasks and running maps hold in memory, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use fanfold::{Pending, Pool, Until, parallel, wait};

/// Counts live bytes, and the most there were.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most live bytes while `work` ran, above those before it.
fn most<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let result = work();
    (MOST.load(Ordering::Relaxed).saturating_sub(before), result)
}

#[parallel(kind = "cpu")]
fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

const MILLION: usize = 1_000_000;

/// In one test: the allocator counts for all threads.
#[test]
fn a_million_tasks_and_a_million_items_stay_small() {
    let pool = Pool::io("one").threads(1).build().unwrap();
    let (release, released) = mpsc::channel::<()>();
    let blocker = pool.submit(move || released.recv().is_err());
    let mut tasks = Vec::with_capacity(MILLION);
    let (bytes, ()) = most(|| tasks.extend((0..MILLION).map(|_| pool.submit(|| ()))));
    assert!(pool.stats().queued >= MILLION, "they wait behind the first one");
    assert!(bytes / MILLION < 200 - size_of_val(&tasks[0]), "{} bytes a task", bytes / MILLION);
    drop(tasks);
    drop(release);
    assert!(blocker.join().unwrap());
    pool.shutdown(Pending::Cancel);

    let (bytes, sum) = most(|| square::map(0_u64..).into_iter().take(MILLION).fold(0, u64::wrapping_add));
    assert_eq!(sum, (0..MILLION as u64).fold(0_u64, |sum, n| sum.wrapping_add(n.wrapping_mul(n))));
    assert!(bytes < 10_000_000, "{bytes} bytes for an endless map");
    let (bytes, _) = most(|| square::map(std::iter::repeat(3)).unordered().into_iter().take(MILLION).count());
    assert!(bytes < 10_000_000, "{bytes} bytes for an endless unordered map");

    // Who asks again and again whether tasks are done leaves nothing with them.
    let (release, released) = mpsc::channel::<()>();
    let task = [Pool::io_default().submit(move || released.recv().is_err())];
    let (bytes, ()) = most(|| (0..100_000).for_each(|_| drop(wait(&task, Until::First, Some(Duration::ZERO)))));
    assert!(bytes < 10_000, "{bytes} bytes for looking at a task 100,000 times");
    drop(release);
}
