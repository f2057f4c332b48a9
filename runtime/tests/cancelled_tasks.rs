//! Cancelled and finished tasks leave a busy pool's queue at once: they free their memory and are not counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use fanfold::{Pool, Task, join_all};

/// Counts the bytes in use.
struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call is forwarded to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `GlobalAlloc::alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `GlobalAlloc::dealloc`; the block came from `System`.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs the tests of this file one at a time: they count the bytes of the whole process.
fn exclusive() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mebibytes() -> isize {
    BYTES.load(Ordering::Relaxed) >> 20
}

/// A pool whose one thread is busy until the returned sender is dropped.
fn busy(name: &'static str) -> (Pool, mpsc::Sender<()>) {
    let pool = Pool::io(name).threads(1).build().expect("threads start");
    let (release, released) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel();
    drop(pool.submit(move || {
        started.send(()).expect("the test listens");
        released.recv().is_err()
    }));
    starts.recv().expect("it runs");
    (pool, release)
}

const MANY: usize = if cfg!(miri) { 3_000 } else { 300_000 };

#[test]
fn cancelled_tasks_leave_the_queue() {
    let _alone = exclusive();
    let (pool, release) = busy("cancels");
    let before = mebibytes();
    let tasks: Vec<_> = (0..MANY).map(|n| pool.submit(move || n)).collect();
    assert_eq!(pool.stats().queued, MANY);
    assert!(tasks.iter().all(Task::cancel));
    drop(tasks);
    assert_eq!((pool.stats().queued, pool.stats().cancelled), (0, MANY as u64));
    assert!(mebibytes() - before <= 2, "{} MiB are kept", mebibytes() - before);
    drop(release);
    drop(pool);
}

#[test]
fn tasks_that_are_not_cancelled_run_in_submission_order() {
    let _alone = exclusive();
    let (pool, release) = busy("lives");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..9_000)
        .map(|n| {
            let seen = Arc::clone(&seen);
            pool.submit(move || seen.lock().expect("not poisoned").push(n))
        })
        .collect();
    for (n, task) in tasks.iter().enumerate() {
        assert!(n % 3 == 0 || task.cancel());
    }
    assert_eq!(pool.stats().queued, 3_000);
    drop(release);
    drop(tasks);
    drop(pool);
    assert_eq!(*seen.lock().expect("not poisoned"), (0..9_000).step_by(3).collect::<Vec<_>>());
}

#[test]
fn tasks_run_by_the_thread_that_joins_them_leave_the_queue() {
    static IO: Pool = Pool::io("joins").threads(1);
    static CPU: Pool = Pool::cpu("computes").threads(1);
    let _alone = exclusive();
    for pool in [&IO, &CPU] {
        let worker = pool.submit(|| {
            let before = mebibytes();
            for n in 0..MANY / 3 {
                // In the order of submission, so that the second task lies behind the first.
                let tasks = [pool.submit(move || n), pool.submit(move || n + 1)];
                assert_eq!(join_all(tasks).expect("no panic"), [n, n + 1]);
                assert_eq!(pool.submit(move || n).join().expect("no panic"), n);
            }
            (pool.stats().queued, mebibytes() - before)
        });
        let (queued, mebibytes_kept) = worker.join().expect("no panic");
        assert!(queued == 0 && mebibytes_kept <= 2, "{queued} queued, {mebibytes_kept} MiB are kept");
    }
}

#[test]
fn tasks_that_a_cpu_worker_cancels_leave_its_deque() {
    static ONE: Pool = Pool::cpu("revokes").threads(1);
    let _alone = exclusive();
    let worker = ONE.submit(|| {
        let before = mebibytes();
        let tasks: Vec<_> = (0..MANY).map(|n| ONE.submit(move || n)).collect();
        let queued = ONE.stats().queued;
        // The last one stays, so that the others cannot leave from the end.
        assert!(tasks[..MANY - 1].iter().all(Task::cancel));
        drop(tasks);
        (queued, ONE.stats().queued, mebibytes() - before)
    });
    let (queued, left, mebibytes_kept) = worker.join().expect("no panic");
    assert_eq!((queued, left), (MANY, 1));
    assert!(mebibytes_kept <= 2, "{mebibytes_kept} MiB are kept");
}

#[test]
fn helper_jobs_of_finished_maps_leave_the_queue() {
    let _alone = exclusive();
    let pool: &'static Pool = Box::leak(Box::new(Pool::io("maps").threads(4).build().expect("threads start")));
    // Three of the four threads are busy. The free one serves the maps, whose helper jobs are queued between others.
    let release: Vec<_> = (0..3)
        .map(|_| {
            let (release, released) = mpsc::channel::<()>();
            drop(pool.submit(move || released.recv().is_err()));
            release
        })
        .collect();
    while pool.stats().busy < 3 || pool.stats().queued > 0 {
        std::thread::yield_now();
    }
    let maps = || (0..MANY / 100).all(|_| pool.map(0..8_u32, |n| n).chunk_size(1).collect::<Vec<_>>().len() == 8);
    let before = mebibytes();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(maps)).collect();
        assert!(threads.into_iter().all(|thread| thread.join().expect("no panic")));
    });
    assert!(pool.stats().queued <= 2_048, "{} are queued", pool.stats().queued);
    assert!(mebibytes() - before <= 2, "{} MiB are kept", mebibytes() - before);
    drop(release);
}

#[test]
fn the_queue_count_stays_exact() {
    let _alone = exclusive();
    let pool = Pool::io("counts").threads(3).build().expect("threads start");
    let runs = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..MANY / 100 {
                    let tasks: Vec<_> = (0..8).map(|n| pool.submit(move || n)).collect();
                    let cancelled = tasks.iter().rev().filter(|task| task.cancel()).count();
                    runs.fetch_add(8 - cancelled, Ordering::Relaxed);
                }
            });
        }
    });
    join_all((0..3).map(|_| pool.submit(|| ()))).expect("no panic");
    let stats = pool.stats();
    assert_eq!((stats.queued, stats.done), (0, runs.load(Ordering::Relaxed) as u64 + 3));
    let (held, release) = busy("other");
    let queued: Vec<_> = (0..9).map(|n| held.submit(move || n)).collect();
    assert!(queued[4].cancel());
    assert_eq!(held.stats().queued, 8);
    drop(release);
    drop(held);
}
