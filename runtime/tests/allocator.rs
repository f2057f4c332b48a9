//! A program whose global allocator calls Fanfold, on allocations and on deallocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fanfold::{Pending, Pool, Task, TaskError, Until, as_completed, first, join_all, parallel, wait};

/// Asks a pool for its numbers at every call, and has another pool run a task at every 16th.
struct Asks;

#[global_allocator]
static ALLOCATOR: Asks = Asks;

static ASKS: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static TASKS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread is in a call already.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

static POOL: Pool = Pool::io("asked").threads(3);
static CPU: Pool = Pool::cpu("computes").threads(2);
/// It starts no more threads once it has started: the standard library allocates while it starts one, which would then wait
/// for itself.
static HELPS: Pool = Pool::io("helps").threads(1);

fn ask() {
    if !ASKS.load(Ordering::Relaxed) || INSIDE.replace(true) {
        return;
    }
    assert!(POOL.stats().limit == 3 && CPU.stats().limit == 2);
    if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(16)
        && HELPS.submit(|| 7).join().is_ok_and(|seven| seven == 7)
    {
        TASKS.fetch_add(1, Ordering::Relaxed);
    }
    INSIDE.set(false);
}

// SAFETY: the memory is that of the system's allocator. What is done beside that does not unwind in this program.
unsafe impl GlobalAlloc for Asks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ask();
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) };
        ask();
    }
}

/// Runs `body` in another process, which is ended if it hangs: other tests' threads would be slowed down.
fn in_a_process(test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "FANFOLD_TEST_ALLOCATOR";
    if std::env::var_os(INSIDE).is_some() {
        // SAFETY: the signal's default action ends this process.
        #[cfg(unix)]
        unsafe {
            libc::alarm(120)
        };
        for pool in [&POOL, &CPU, &HELPS] {
            pool.submit(|| ()).join().expect("no panic");
        }
        ASKS.store(true, Ordering::Relaxed);
        body();
        ASKS.store(false, Ordering::Relaxed);
        assert!(TASKS.load(Ordering::Relaxed) > 10, "the allocator has run tasks");
        return;
    }
    let program = std::env::current_exe().expect("this program has a path");
    let ended = Command::new(program).args([test, "--exact", "--nocapture"]).env(INSIDE, "yes").output();
    let ended = ended.expect("it can be started again");
    let (told, warned) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && told.contains("1 passed"), "{}: {told}\n{warned}", ended.status);
}

#[parallel(kind = "io", pool = POOL, timeout = "1h")]
fn limited(n: usize) -> Result<usize, TaskError> {
    Ok(n)
}

#[parallel(kind = "cpu", pool = CPU, init = Vec::new)]
fn counted(n: usize, #[worker] seen: &mut Vec<usize>) -> usize {
    seen.push(n);
    n
}

#[test]
fn queues_grow_and_shrink() {
    in_a_process("queues_grow_and_shrink", || {
        for pool in [&POOL, &CPU] {
            let (release, released) = std::sync::mpsc::channel::<()>();
            let held = pool.submit(move || released.recv().is_err());
            let tasks: Vec<_> = (0..5_000).map(|n| pool.submit(move || n)).collect();
            // Half of them are thrown out of the queue in one go.
            let cancelled = tasks.iter().skip(1_000).filter(|task| task.cancel()).count();
            drop(release);
            assert!(held.join().expect("no panic"));
            let ran = tasks.into_iter().filter_map(|task| task.join().ok()).count();
            assert_eq!(ran + cancelled, 5_000);
        }
    });
}

#[test]
fn tasks_with_time_limits_end() {
    in_a_process("tasks_with_time_limits_end", || {
        for _ in 0..3 {
            let tasks: Vec<_> = (0..1_500).map(limited::submit).collect();
            assert_eq!(join_all(tasks).expect("no panic").len(), 1_500);
        }
        let late = as_completed([POOL.submit(|| std::thread::sleep(Duration::from_millis(20)))]);
        assert!(late.timeout(Duration::from_millis(1)).all(|(_, outcome)| outcome.is_err()));
    });
}

#[test]
fn many_wait_for_one_task_and_one_for_many() {
    in_a_process("many_wait_for_one_task_and_one_for_many", || {
        for _ in 0..20 {
            let tasks: Vec<_> = (0..100_usize).map(|n| POOL.submit(move || n)).collect();
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| wait(&tasks, Until::All, Some(Duration::from_mins(1))));
                }
            });
            let called = std::sync::Arc::new(AtomicUsize::new(0));
            for task in &tasks {
                for _ in 0..3 {
                    let called = std::sync::Arc::clone(&called);
                    task.on_done(move |_| {
                        called.fetch_add(1, Ordering::Relaxed);
                    });
                }
            }
            assert_eq!(called.load(Ordering::Relaxed), 300);
            assert_eq!(as_completed(tasks).map(|(_, n)| n.expect("no panic")).sum::<usize>(), 4_950);
            assert!(first((0..9).map(|n| CPU.submit(move || n))).is_ok());
        }
    });
}

#[test]
fn nested_waits_scopes_and_maps_end() {
    in_a_process("nested_waits_scopes_and_maps_end", || {
        for _ in 0..20 {
            let nested: Vec<Task<usize>> =
                (0..8).map(|n| POOL.submit(move || CPU.submit(move || n).join().expect("no panic"))).collect();
            assert_eq!(join_all(nested).expect("no panic").into_iter().sum::<usize>(), 28);
            let scoped = POOL.submit(|| {
                let sum = AtomicUsize::new(0);
                fanfold::scope(|s| {
                    for n in 0..100 {
                        let sum = &sum;
                        s.submit_on(&CPU, move || sum.fetch_add(n, Ordering::Relaxed));
                    }
                });
                sum.into_inner()
            });
            assert_eq!(scoped.join().expect("no panic"), 4_950);
            let texts: Vec<String> = CPU.map(0..2_000_usize, |n| n.to_string()).chunk_size(10).collect();
            assert_eq!(texts.len(), 2_000);
            let unordered = POOL.map(0..50_usize, |n| n).unordered().into_iter().sum::<usize>();
            assert_eq!(unordered, 1_225);
            assert_eq!(counted::map(0..100).collect::<Vec<_>>().len(), 100);
        }
    });
}

#[test]
fn pools_start_and_end() {
    in_a_process("pools_start_and_end", || {
        for n in 0..60 {
            let pool = if n % 2 == 0 { Pool::io("short") } else { Pool::cpu("short") };
            let pool = pool.threads(1 + n % 4).build().expect("threads can be had");
            let tasks: Vec<_> = (0..30).map(|n| pool.submit(move || n)).collect();
            pool.shutdown(if n % 3 == 0 { Pending::Cancel } else { Pending::Run });
            let ended = tasks.into_iter().filter(|task| task.wait(Duration::from_mins(1))).count();
            assert_eq!(ended, 30);
        }
    });
}
