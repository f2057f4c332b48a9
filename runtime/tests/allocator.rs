//! Pools and tasks used from inside a global allocator, on every allocation and deallocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fanfold::{Pending, Pool, Task, TaskError, Until, as_completed, first, join_all, parallel, wait};

/// Reads a pool's statistics on every call, and has another pool run a task on every 16th.
struct CallsPools;

#[global_allocator]
static ALLOCATOR: CallsPools = CallsPools;

static IS_ENABLED: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static TASKS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread is already inside [`call_pools`].
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

static POOL: Pool = Pool::io("stats").threads(3);
static CPU: Pool = Pool::cpu("compute").threads(2);
/// Has one thread, so it starts no other after its first task: the standard library allocates while it starts a thread,
/// and that allocation would wait for the thread.
static HELPER: Pool = Pool::io("helper").threads(1);

fn call_pools() {
    if !IS_ENABLED.load(Ordering::Relaxed) || INSIDE.replace(true) {
        return;
    }
    assert!(POOL.stats().limit == 3 && CPU.stats().limit == 2);
    if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(16)
        && HELPER.submit(|| 7).join().is_ok_and(|seven| seven == 7)
    {
        TASKS.fetch_add(1, Ordering::Relaxed);
    }
    INSIDE.set(false);
}

// SAFETY: the system allocator provides all memory, and `call_pools` does not unwind in this program.
unsafe impl GlobalAlloc for CallsPools {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        call_pools();
        // SAFETY: the caller upholds the contract of `GlobalAlloc::alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `GlobalAlloc::dealloc`; the block came from `System`.
        unsafe { System.dealloc(block, layout) };
        call_pools();
    }
}

/// Runs `body` in a process of its own, which `SIGALRM` ends if it hangs. The other tests keep their speed.
fn in_a_process(test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "FANFOLD_TEST_ALLOCATOR";
    if std::env::var_os(INSIDE).is_some() {
        // SAFETY: `alarm` takes a number; the signal's default action ends this process.
        #[cfg(unix)]
        unsafe {
            libc::alarm(120)
        };
        for pool in [&POOL, &CPU, &HELPER] {
            pool.submit(|| ()).join().expect("no panic");
        }
        IS_ENABLED.store(true, Ordering::Relaxed);
        body();
        IS_ENABLED.store(false, Ordering::Relaxed);
        assert!(TASKS.load(Ordering::Relaxed) > 10, "the allocator has run tasks");
        return;
    }
    let program = std::env::current_exe().expect("this program has a path");
    let ended = Command::new(program).args([test, "--exact", "--nocapture"]).env(INSIDE, "yes").output();
    let ended = ended.expect("this program starts again");
    let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && stdout.contains("1 passed"), "{}: {stdout}\n{stderr}", ended.status);
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
            let blocker = pool.submit(move || released.recv().is_err());
            let tasks: Vec<_> = (0..5_000).map(|n| pool.submit(move || n)).collect();
            // Cancels four fifths of the queue in one go.
            let cancelled = tasks.iter().skip(1_000).filter(|task| task.cancel()).count();
            drop(release);
            assert!(blocker.join().expect("no panic"));
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
        let slow = as_completed([POOL.submit(|| std::thread::sleep(Duration::from_millis(20)))]);
        assert!(slow.timeout(Duration::from_millis(1)).all(|(_, outcome)| outcome.is_err()));
    });
}

#[test]
fn many_threads_wait_for_one_task_and_one_thread_for_many() {
    in_a_process("many_threads_wait_for_one_task_and_one_thread_for_many", || {
        for _ in 0..20 {
            let tasks: Vec<_> = (0..100_usize).map(|n| POOL.submit(move || n)).collect();
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| wait(&tasks, Until::All, Some(Duration::from_secs(60))));
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
        for _ in 0..60 {
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
            let pool = pool.threads(1 + n % 4).build().expect("threads start");
            let tasks: Vec<_> = (0..30).map(|n| pool.submit(move || n)).collect();
            pool.shutdown(if n % 3 == 0 { Pending::Cancel } else { Pending::Run });
            let ended = tasks.into_iter().filter(|task| task.wait(Duration::from_secs(60))).count();
            assert_eq!(ended, 30);
        }
    });
}
