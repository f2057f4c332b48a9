//! Waits, calls and pools while the operating system refuses new threads. Each test is a process of its own: this
//! program runs itself with a thread limit.
#![cfg(target_os = "linux")]

#[cfg(feature = "tokio")]
use std::panic::catch_unwind;
use std::process::Command;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use fanfold::{Pool, Task, TaskError, Until, as_completed, first, join_all, parallel, wait};

/// Set in the process that runs the body of a test.
const IN_CHILD: &str = "FANFOLD_TEST_REFUSED";

/// Runs `body` in a process of its own, which `SIGALRM` ends if it hangs.
fn in_a_process(test: &str, body: impl FnOnce()) {
    if std::env::var_os(IN_CHILD).is_some() {
        // SAFETY: `alarm` takes a number; the signal's default action ends this process.
        unsafe { libc::alarm(60) };
        return body();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let ended = Command::new(program).args([test, "--exact", "--nocapture"]).env(IN_CHILD, "yes").output();
    let ended = ended.expect("this program starts again");
    let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && stdout.contains("1 passed"), "{}: {stdout}\n{stderr}", ended.status);
    // The timer thread must survive: it handles time limits and retried starts of threads.
    assert!(!stderr.contains("thread 'fanfold-timer'"), "{stderr}");
}

fn set_limit(limit: libc::rlim_t) {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is valid for the write and the read.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NPROC, &raw mut now), 0);
        now.rlim_cur = limit.min(now.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &raw const now), 0);
    }
}

/// Makes every later attempt of this process to start a thread fail.
fn refuse_threads() {
    // The limit does not apply to root, and counts the threads of a user: this user id has no others.
    let user = 1_000_000 + std::process::id();
    // SAFETY: `geteuid` and `setuid` take only numbers.
    unsafe { assert!(libc::geteuid() != 0 || libc::setuid(user) == 0) };
    set_limit(1);
    std::thread::Builder::new().spawn(|| ()).expect_err("a thread is refused");
}

fn allow_threads() {
    set_limit(libc::RLIM_INFINITY);
}

/// Keeps all threads of the pool but one busy until what it returns is dropped. The first task may start a second
/// thread, if the first one has not come to the queue yet.
fn leave_one_thread(pool: &Pool) -> Vec<mpsc::Sender<()>> {
    let (started, starts) = mpsc::channel();
    let busy: Vec<_> = (1..pool.stats().threads)
        .map(|_| {
            let (release, released) = mpsc::channel();
            let started = started.clone();
            drop(pool.submit(move || {
                started.send(()).expect("the test listens");
                released.recv().is_err()
            }));
            release
        })
        .collect();
    busy.iter().for_each(|_| starts.recv().expect("it runs"));
    busy
}

/// The pool, after its first thread has started.
fn started(pool: &Pool) -> &Pool {
    pool.submit(|| ()).join().expect("no panic");
    pool
}

fn nested_scopes(depth: u32) -> u32 {
    if depth == 0 {
        return 1;
    }
    let leaves = AtomicU32::new(0);
    fanfold::scope(|s| {
        for _ in 0..2 {
            s.submit_on(&ONE, || leaves.fetch_add(nested_scopes(depth - 1), Ordering::SeqCst));
        }
    });
    leaves.into_inner()
}

static ONE: Pool = Pool::io("one").threads(1);
static EIGHT: Pool = Pool::io("eight").threads(8);

#[parallel(kind = "io", pool = EIGHT, timeout = "300ms")]
fn limited(_: u32) -> Result<(), TaskError> {
    Ok(())
}

#[test]
fn a_call_from_a_worker_of_its_pool_times_out() {
    in_a_process("a_call_from_a_worker_of_its_pool_times_out", || {
        started(&EIGHT);
        refuse_threads();
        let _others = leave_one_thread(&EIGHT);
        let called = EIGHT.submit(|| limited(1)).join().expect("no panic");
        assert!(matches!(called, Err(TaskError::TimedOut { .. })), "{called:?}");
        let mapped = EIGHT.submit(|| limited::map(0..3).collect::<Vec<_>>()).join().expect("no panic");
        assert!(mapped.iter().all(|one| matches!(one, Err(TaskError::TimedOut { .. }))), "{mapped:?}");
        let submitted = EIGHT.submit(|| limited::submit(1).join()).join().expect("no panic");
        assert!(matches!(submitted, Err(TaskError::TimedOut { .. })), "{submitted:?}");
        assert!(limited(1).is_ok(), "its thread is free again");
    });
}

#[test]
fn a_refused_thread_is_requested_again() {
    in_a_process("a_refused_thread_is_requested_again", || {
        let pool = Pool::io("again").threads(2).build().expect("threads start");
        refuse_threads();
        // A wait that the pool does not know of, so it does not start another thread for it.
        let (sender, receiver) = mpsc::channel();
        let waits = pool.submit(move || receiver.recv().is_ok());
        let sends = pool.submit(move || sender.send(()).is_ok());
        assert!(!sends.wait(Duration::from_millis(50)), "it has no thread");
        allow_threads();
        assert!(waits.join().expect("no panic") && sends.join().expect("no panic"));
    });
}

static CPU: Pool = Pool::cpu("two").threads(2);
static HOOKED: Pool = Pool::io("hooked").threads(1).on_start(|| ());

#[parallel(kind = "io", pool = ONE)]
fn outer() -> u32 {
    inner() + 1
}

#[parallel(kind = "cpu", pool = CPU)]
fn inner() -> u32 {
    back() + 1
}

#[parallel(kind = "io", pool = ONE)]
fn back() -> u32 {
    1
}

#[test]
fn a_direct_call_runs_on_the_worker_that_waits_for_it() {
    in_a_process("a_direct_call_runs_on_the_worker_that_waits_for_it", || {
        started(&ONE);
        started(&CPU);
        refuse_threads();
        assert_eq!(outer::submit().join().expect("no panic"), 3, "`back` has no thread of its own");
        assert_eq!(outer(), 3);
    });
}

#[test]
fn tasks_left_to_their_pool_run_once_threads_are_available_again() {
    #[parallel(kind = "cpu", pool = CPU)]
    fn calls_hooked() -> u32 {
        hooked() + 1
    }
    #[parallel(kind = "io", pool = HOOKED)]
    fn hooked() -> u32 {
        1
    }
    in_a_process("tasks_left_to_their_pool_run_once_threads_are_available_again", || {
        started(&HOOKED);
        started(&CPU);
        refuse_threads();
        let called = HOOKED.submit(|| calls_hooked() + 1);
        assert!(!called.wait(Duration::from_millis(50)), "only threads of its pool run it");
        allow_threads();
        assert_eq!(called.join().expect("no panic"), 3);
    });
}

#[test]
fn a_waiting_worker_runs_its_tasks_when_no_other_thread_can() {
    in_a_process("a_waiting_worker_runs_its_tasks_when_no_other_thread_can", || {
        started(&ONE);
        refuse_threads();
        let nested = |work: fn() -> u32| ONE.submit(work).join().expect("no panic");
        assert_eq!(nested(|| ONE.submit(|| 7).join().expect("no panic")), 7);
        assert_eq!(nested(|| u32::from(ONE.submit(|| 7).wait(Duration::MAX))), 1);
        assert_eq!(nested(|| first((1..4).map(|n| ONE.submit(move || n))).expect("no panic")), 1);
        assert_eq!(nested(|| join_all((1..4).map(|n| ONE.submit(move || n))).expect("no panic").iter().sum()), 6);
        assert_eq!(
            nested(|| as_completed((1..4).map(|n| ONE.submit(move || n))).map(|(_, n)| n.expect("no panic")).sum()),
            6
        );
        assert_eq!(nested(|| ONE.map(1..4_u32, |n| n).unordered().into_iter().sum()), 6);
        assert_eq!(nested(|| nested_scopes(5)), 32);
        let waited = |until| {
            let task = ONE.submit(move || {
                let tasks: Vec<_> = (1..4).map(|n| ONE.submit(move || n)).collect();
                wait(&tasks, until, None).0.len()
            });
            task.join().expect("no panic")
        };
        assert_eq!((waited(Until::All), waited(Until::FirstError)), (3, 3));
        assert!(waited(Until::First) >= 1);
    });
}

#[test]
fn worker_state_does_not_prevent_the_waiting_worker_from_running_it() {
    fn start() -> u32 {
        7
    }
    #[parallel(kind = "io", pool = ONE, init = start)]
    fn stateful(#[worker] state: &mut u32) -> u32 {
        *state
    }
    in_a_process("worker_state_does_not_prevent_the_waiting_worker_from_running_it", || {
        started(&ONE);
        refuse_threads();
        assert_eq!(ONE.submit(|| stateful::submit().join().expect("no panic")).join().expect("no panic"), 7);
    });
}

#[test]
fn a_waiting_worker_is_woken_when_no_other_thread_can_run_its_task() {
    static OTHER: Pool = Pool::io("other").threads(1);
    in_a_process("a_waiting_worker_is_woken_when_no_other_thread_can_run_its_task", || {
        started(&ONE);
        started(&OTHER);
        refuse_threads();
        // The other pool's worker is busy when this worker begins to wait for `queued`, and waits itself only later.
        let (tasks, task) = mpsc::channel::<Task<u32>>();
        let busy = OTHER.submit(move || u32::from(task.recv().expect("it is given").wait(Duration::MAX)));
        let queued = OTHER.submit(|| 1);
        let waits = ONE.submit(move || queued.join().expect("no panic") + 1);
        while ONE.stats().busy > 0 || ONE.stats().queued > 0 {
            std::thread::yield_now();
        }
        tasks.send(ONE.submit(|| 1)).expect("it waits");
        assert_eq!((waits.join().expect("no panic"), busy.join().expect("no panic")), (2, 1));
    });
}

#[test]
fn a_static_pool_without_its_first_thread_panics_and_works_later() {
    static REFUSED: Pool = Pool::io("refused").threads(2);
    in_a_process("a_static_pool_without_its_first_thread_panics_and_works_later", || {
        refuse_threads();
        for pool in [&REFUSED, Pool::cpu_default()] {
            let payload = std::panic::catch_unwind(|| drop(pool.submit(|| ()))).expect_err("it has no thread");
            let message = payload.downcast_ref::<String>().expect("a text");
            assert!(message.contains("refused") && message.contains("refused_threads.rs"), "{message}");
        }
        assert!(Pool::io("owned").build().is_err());
        allow_threads();
        for pool in [&REFUSED, Pool::cpu_default()] {
            assert_eq!(pool.submit(|| 7).join().expect("no panic"), 7);
        }
    });
}

#[test]
fn tasks_cancelled_while_threads_are_refused_do_not_run() {
    in_a_process("tasks_cancelled_while_threads_are_refused_do_not_run", || {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let pool = Pool::io("cancels").threads(2).build().expect("threads start");
        refuse_threads();
        let (release, released) = mpsc::channel::<()>();
        let blocker = pool.submit(move || released.recv().is_err());
        let queued: Vec<_> = (0..9).map(|_| pool.submit(|| RUNS.fetch_add(1, Ordering::SeqCst))).collect();
        assert!(!queued[0].wait(Duration::from_millis(20)));
        assert!(queued.iter().all(Task::cancel));
        drop(release);
        assert!(blocker.join().expect("no panic"));
        drop(pool);
        assert_eq!(RUNS.load(Ordering::SeqCst), 0);
    });
}

#[cfg(feature = "tokio")]
#[parallel(kind = "io")]
async fn doubled(n: u32) -> u32 {
    2 * n
}

/// The threads of this process.
#[cfg(feature = "tokio")]
fn thread_count() -> libc::rlim_t {
    let tasks = std::fs::read_dir("/proc/self/task").expect("there is `/proc`");
    libc::rlim_t::try_from(tasks.count()).expect("a small number")
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_runtime_that_gets_one_thread_works() {
    in_a_process("an_async_runtime_that_gets_one_thread_works", || {
        started(Pool::io_default());
        refuse_threads();
        let refused = catch_unwind(|| doubled::submit(1).join()).expect_err("no thread can be started");
        let text = refused.downcast::<String>().expect("a text");
        assert!(text.contains("refused the async runtime's threads"), "{text}");
        // The runtime wants one for each core.
        set_limit(thread_count() + 1);
        match catch_unwind(|| doubled::submit(2).join()) {
            Ok(result) => assert_eq!(result.expect("it returns"), 4),
            // The user has other threads, which count as well.
            Err(_) => allow_threads(),
        }
        assert_eq!(doubled::submit(3).join().expect("it returns"), 6);
    });
}
