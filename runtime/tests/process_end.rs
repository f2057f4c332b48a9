//! The end of processes and threads: exit handlers, destructors of thread-locals, and forked children. Every call there
//! works or panics with the reason; nothing hangs, and nothing aborts.
#![cfg(unix)]

use std::cell::RefCell;
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use fanfold::{Pending, Pool, Task, TaskError, Until, as_completed, parallel, scope, wait};
use futures_core::Stream;

/// Reaching this limit means that the test hangs.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Runs `work` in a process of its own and gives its exit status. The child is this program, running `test` only.
fn status_of(test: &str, work: impl FnOnce()) -> std::process::ExitStatus {
    const INSIDE: &str = "FANFOLD_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        work();
        return std::process::ExitStatus::from_raw(0);
    }
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program);
    child.args([test, "--exact", "--nocapture"]).env(INSIDE, "1").env("FANFOLD_CPU_THREADS", "2").stdin(Stdio::null());
    let mut child = child.spawn().expect("the program starts");
    let begun = Instant::now();
    loop {
        match child.try_wait().expect("it can be waited for") {
            Some(status) => return status,
            None if begun.elapsed() < TIME_LIMIT => std::thread::sleep(Duration::from_millis(2)),
            None => {
                child.kill().expect("it can be killed");
                child.wait().expect("it can be waited for");
                panic!("{test} hangs");
            }
        }
    }
}

fn in_child(test: &str, work: impl FnOnce()) {
    let status = status_of(test, work);
    assert!(status.success(), "{test}: {status}");
}

#[parallel(kind = "cpu")]
fn double(n: u32) -> u32 {
    n * 2
}

#[parallel(kind = "io")]
fn half(n: u32) -> u32 {
    n / 2
}

#[parallel(kind = "io", timeout = "20ms")]
fn never() -> Result<(), TaskError> {
    while !fanfold::cancelled() {
        std::thread::yield_now();
    }
    Ok(())
}

fn four() -> u32 {
    4
}

#[parallel(kind = "io", init = four)]
fn stateful(#[worker] state: &mut u32, n: u32) -> u32 {
    *state + n
}

/// Uses every kind of call that needs a pool.
fn use_everything() {
    static OWN: Pool = Pool::io("own").threads(2);
    assert_eq!(double(2), 4);
    assert_eq!(half::submit(8).join().expect("it runs"), 4);
    assert_eq!(stateful(1), 5);
    assert_eq!(double::map(0..1_000).chunk_size(10).collect::<Vec<_>>().len(), 1_000);
    assert_eq!(OWN.map(0..100, |n: u32| n).unordered().into_iter().count(), 100);
    let mut numbers = [3, 1, 2];
    scope(|s| drop(s.submit_on(&OWN, || numbers.sort_unstable())));
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(as_completed((0..4).map(half::submit)).count(), 4);
    assert!(matches!(never(), Err(TaskError::TimedOut { .. })));
    let pool = Pool::io("built").threads(2).build().expect("two threads");
    assert!(pool.submit(|| panic!("on purpose")).join().is_err());
    assert_eq!(OWN.stats().limit, 2);
}

mod destructors {
    use super::*;

    /// Calls [`use_everything`] in its destructor.
    struct UsesPoolsOnDrop(mpsc::Sender<bool>);

    impl Drop for UsesPoolsOnDrop {
        fn drop(&mut self) {
            let used = catch_unwind(use_everything);
            let _ = self.0.send(used.is_ok());
        }
    }

    thread_local! {
        static DROPPED_LAST: RefCell<Option<UsesPoolsOnDrop>> = const { RefCell::new(None) };
        static DROPPED_FIRST: RefCell<Option<UsesPoolsOnDrop>> = const { RefCell::new(None) };
    }

    /// Sets a value that is dropped after Fanfold's thread-locals, and one that is dropped before them.
    fn set_thread_locals(sender: &mpsc::Sender<bool>) {
        DROPPED_LAST.set(Some(UsesPoolsOnDrop(sender.clone())));
        use_everything();
        DROPPED_FIRST.set(Some(UsesPoolsOnDrop(sender.clone())));
    }

    #[test]
    fn of_a_thread_may_use_pools() {
        in_child("destructors::of_a_thread_may_use_pools", || {
            let (sender, receiver) = mpsc::channel();
            std::thread::spawn(move || set_thread_locals(&sender)).join().expect("it ends");
            assert_eq!(receiver.iter().collect::<Vec<_>>(), [true, true]);
        });
    }

    #[test]
    fn of_workers_may_use_pools() {
        in_child("destructors::of_workers_may_use_pools", || {
            for pool in [Pool::io("ends").threads(1), Pool::cpu("ends").threads(1)] {
                let pool = pool.build().expect("one thread");
                let (sender, receiver) = mpsc::channel();
                pool.submit(move || set_thread_locals(&sender)).join().expect("it returns");
                drop(pool);
                assert_eq!(receiver.iter().collect::<Vec<_>>(), [true, true]);
            }
        });
    }

    #[test]
    fn that_own_a_pool_shut_it_down() {
        thread_local! {
            static POOL: RefCell<Option<Pool>> = const { RefCell::new(None) };
        }
        in_child("destructors::that_own_a_pool_shut_it_down", || {
            let (sender, receiver) = mpsc::channel();
            let owner = std::thread::spawn(move || {
                POOL.set(Some(Pool::io("owned").threads(2).build().expect("two threads")));
                use_everything();
                POOL.with_borrow(|pool| drop(pool.as_ref().map(|pool| pool.submit(move || sender.send(7)))));
            });
            owner.join().expect("it ends");
            assert_eq!(receiver.recv(), Ok(7), "what was queued has run");
        });
    }
}

mod exit_handlers {
    use super::*;

    /// Registers an exit handler that uses pools and shuts them down; a failure there is exit code 9.
    fn at_exit() {
        extern "C" fn handler() {
            let ended = catch_unwind(|| {
                use_everything();
                // Longer than any wait in this test, so that it does not run out.
                assert!(fanfold::shutdown(TIME_LIMIT * 2), "nothing is left to do");
            });
            if ended.is_err() {
                // SAFETY: ends the process.
                unsafe { libc::_exit(9) };
            }
        }
        // SAFETY: the handler does not unwind, because it catches panics.
        assert_eq!(unsafe { libc::atexit(handler) }, 0);
    }

    #[test]
    fn may_use_pools_after_main() {
        in_child("exit_handlers::may_use_pools_after_main", || {
            use_everything();
            at_exit();
        });
    }

    #[test]
    fn may_be_the_first_use_of_a_pool() {
        in_child("exit_handlers::may_be_the_first_use_of_a_pool", at_exit);
    }

    #[test]
    fn run_when_a_thread_exits_the_process() {
        let status = status_of("exit_handlers::run_when_a_thread_exits_the_process", || {
            at_exit();
            use_everything();
            std::process::exit(7);
        });
        assert_eq!(status.code(), Some(7), "{status}");
    }

    fn exit_on(pool: &'static Pool) {
        at_exit();
        use_everything();
        let begun = Instant::now();
        let others: Vec<_> = (0..20)
            .map(|_| {
                pool.submit(move || {
                    // Keeps working until well after the other task exits.
                    while begun.elapsed() < Duration::from_millis(200) {
                        std::hint::black_box(double(1));
                    }
                })
            })
            .collect();
        let exits = pool.submit(|| std::process::exit(7));
        drop(others);
        exits.join().expect("it does not return");
    }

    #[test]
    fn run_when_an_io_worker_exits_the_process() {
        static POOL: Pool = Pool::io("exits").threads(3);
        let status = status_of("exit_handlers::run_when_an_io_worker_exits_the_process", || exit_on(&POOL));
        assert_eq!(status.code(), Some(7), "{status}");
    }

    #[test]
    fn run_when_a_cpu_worker_exits_the_process() {
        static POOL: Pool = Pool::cpu("exits").threads(1);
        let status = status_of("exit_handlers::run_when_a_cpu_worker_exits_the_process", || exit_on(&POOL));
        assert_eq!(status.code(), Some(7), "{status}");
    }

    #[test]
    fn run_when_a_callback_exits_the_process() {
        let status = status_of("exit_handlers::run_when_a_callback_exits_the_process", || {
            at_exit();
            let task = half::submit(2);
            task.on_done(|_| std::process::exit(7));
            task.join().expect("the callback does not return");
        });
        assert_eq!(status.code(), Some(7), "{status}");
    }

    #[test]
    fn run_when_a_map_and_a_scope_exit_the_process() {
        /// The tasks that wait for the exiting item never end, so the handler does not drain the pools.
        extern "C" fn handler() {
            let ended = catch_unwind(|| {
                assert_eq!(double(2), 4);
                assert_eq!(half::submit(8).join().expect("it runs"), 4);
                fanfold::shutdown(Duration::from_millis(10));
            });
            if ended.is_err() {
                // SAFETY: ends the process.
                unsafe { libc::_exit(9) };
            }
        }
        let status = status_of("exit_handlers::run_when_a_map_and_a_scope_exit_the_process", || {
            // SAFETY: the handler does not unwind, because it catches panics.
            assert_eq!(unsafe { libc::atexit(handler) }, 0);
            scope(|s| {
                let map = s.submit(|| {
                    double::map(0..10_000).chunk_size(1).for_each(|n| {
                        if n == 10_000 {
                            std::process::exit(7);
                        }
                    });
                });
                map.join().expect("it does not return");
            });
        });
        assert_eq!(status.code(), Some(7), "{status}");
    }
}

mod forks {
    use super::*;

    /// Forks, runs `work` in the child, and gives the child's exit status. `SIGALRM` ends a child that hangs.
    pub(super) fn child(work: impl FnOnce()) -> std::process::ExitStatus {
        // SAFETY: the child runs only `work` and then `_exit`.
        match unsafe { libc::fork() } {
            -1 => panic!("it cannot fork"),
            0 => {
                // SAFETY: `alarm` takes a number.
                unsafe { libc::alarm(30) };
                let ended = catch_unwind(AssertUnwindSafe(work));
                // SAFETY: ends the child without running the parent's destructors.
                unsafe { libc::_exit(if ended.is_ok() { 0 } else { 9 }) }
            }
            pid => wait_for(pid),
        }
    }

    fn wait_for(pid: i32) -> std::process::ExitStatus {
        let mut status = 0;
        // SAFETY: `status` is valid for the write.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        std::process::ExitStatus::from_raw(status)
    }

    #[track_caller]
    fn child_succeeds(work: impl FnOnce()) {
        let status = child(work);
        assert!(status.success(), "{status}");
    }

    /// Whether `work` panics with the message about forks.
    fn panics_about_the_fork<T>(work: impl FnOnce() -> T) -> bool {
        let payload = catch_unwind(AssertUnwindSafe(work)).err();
        payload.and_then(|payload| payload.downcast::<&str>().ok()).is_some_and(|text| text.contains("was forked"))
    }

    /// A pool whose only thread is busy until the returned sender is dropped.
    fn busy(pool: Pool) -> (Pool, mpsc::Sender<()>, Vec<Task<()>>) {
        let pool = pool.threads(1).build().expect("one thread");
        let (release, released) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel();
        let running = pool.submit(move || {
            let _ = started.send(());
            let _ = released.recv();
        });
        starts.recv().expect("it starts");
        let queued = pool.submit(|| ());
        (pool, release, vec![running, queued])
    }

    #[test]
    fn that_drop_pools_end() {
        in_child("forks::that_drop_pools_end", || {
            for pool in [Pool::io("a"), Pool::cpu("b")] {
                let idle = Pool::io("idle").threads(1).build().expect("one thread");
                let idle_cpu = Pool::cpu("idle").threads(2).build().expect("two threads");
                let (pool, release, tasks) = busy(pool);
                let mut all = Some((pool, tasks, idle, idle_cpu));
                child_succeeds(|| drop(all.take()));
                child_succeeds(|| {
                    let unwound = catch_unwind(AssertUnwindSafe(|| {
                        let _all = all.take();
                        panic!("past the pools");
                    }));
                    assert!(unwound.is_err());
                });
                child_succeeds(|| {
                    let (pool, tasks, ..) = all.take().expect("they are there");
                    pool.shutdown(Pending::Run);
                    pool.shutdown(Pending::Cancel);
                    assert!(fanfold::shutdown(TIME_LIMIT));
                    assert!(!tasks[0].cancel() && tasks[1].cancel());
                    assert_eq!(pool.stats().limit, 1);
                    drop(format!("{pool:?} {tasks:?}"));
                });
                drop(release);
                let (pool, tasks, ..) = all.expect("the parent has them still");
                assert!(tasks.into_iter().all(|task| task.join().is_ok()));
                drop(pool);
            }
        });
    }

    #[test]
    fn that_exit_run_exit_handlers() {
        let status = status_of("forks::that_exit_run_exit_handlers", || {
            extern "C" fn handler() {
                fanfold::shutdown(TIME_LIMIT * 2);
                Pool::io_default().shutdown(Pending::Run);
            }
            // SAFETY: the handler does not unwind, because it catches panics.
            assert_eq!(unsafe { libc::atexit(handler) }, 0);
            use_everything();
            let (_pool, _release, _tasks) = busy(Pool::io("a"));
            let status = child(|| std::process::exit(7));
            assert_eq!(status.code(), Some(7), "{status}");
        });
        assert!(status.success(), "{status}");
    }

    #[test]
    fn that_wait_for_the_parents_tasks_panic() {
        in_child("forks::that_wait_for_the_parents_tasks_panic", || {
            let (pool, release, mut tasks) = busy(Pool::io("a"));
            let mut queued = tasks.pop();
            let mut running = tasks.pop();
            let done = half::submit(8);
            assert!(done.wait(TIME_LIMIT));
            let (mut done, mut ended) = (Some(done), Some(half::submit(6)));
            assert!(ended.as_ref().is_some_and(|task| task.wait(TIME_LIMIT)));
            child_succeeds(|| {
                assert_eq!(done.take().map(Task::join).expect("it is there").expect("it has ended"), 4);
                let mut ended = as_completed(ended.take());
                assert!(matches!(ended.next(), Some((0, Ok(3)))));
                let running = running.take().expect("it is there");
                assert!(panics_about_the_fork(|| wait(std::slice::from_ref(&running), Until::All, None)));
                assert!(panics_about_the_fork(|| wait(std::slice::from_ref(&running), Until::All, Some(TIME_LIMIT))));
                assert!(panics_about_the_fork(|| running.wait(TIME_LIMIT)));
                let mut polled = pin!(queued.take().expect("it is there"));
                let mut context = Context::from_waker(Waker::noop());
                assert!(panics_about_the_fork(|| polled.as_mut().poll(&mut context)));
                let mut stream = pin!(as_completed([running]).stream());
                assert!(panics_about_the_fork(|| stream.as_mut().poll_next(&mut context)));
                assert!(panics_about_the_fork(|| pool.submit(|| ())));
                assert!(panics_about_the_fork(|| pool.map(0..100_000, |n| n).chunk_size(1).collect::<Vec<i32>>()));
                assert!(panics_about_the_fork(|| scope(|s| s.submit_on(&pool, || ()).join())));
                // Pools that are built in the child have threads and a timer.
                let own = Pool::io("own").threads(2).build().expect("two threads");
                assert_eq!(own.submit(|| 7).join().expect("it runs"), 7);
                let timed_out = own.map([1], |_| {
                    while !fanfold::cancelled() {
                        std::thread::yield_now();
                    }
                });
                let timed_out: Vec<_> = timed_out.timeout(Duration::from_millis(1)).collect();
                assert!(matches!(timed_out[..], [Err(TaskError::TimedOut { .. })]));
            });
            drop(release);
        });
    }

    #[test]
    fn inside_scopes_and_iterated_maps_panic() {
        in_child("forks::inside_scopes_and_iterated_maps_panic", || {
            let (pool, release, tasks) = busy(Pool::io("a"));
            // In a scope's closure.
            let mut status = None;
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                scope(|s| {
                    drop(s.submit_on(&pool, || ()));
                    // SAFETY: the child runs the rest of the scope and then `_exit`.
                    let pid = unsafe { libc::fork() };
                    if pid > 0 {
                        drop(release);
                        status = Some(wait_for(pid));
                    }
                });
            }));
            if let Some(status) = status {
                assert!(unwound.is_ok() && status.success(), "{status}");
            } else {
                let text = unwound.err().and_then(|payload| payload.downcast::<&str>().ok());
                let is_reported = text.is_some_and(|text| text.contains("was forked"));
                // SAFETY: ends the child without running the parent's destructors.
                unsafe { libc::_exit(i32::from(!is_reported)) };
            }
            assert!(tasks.into_iter().all(|task| task.join().is_ok()));
            // In the middle of an iterated map.
            let mut results = half::map(0..1_000).into_iter();
            assert_eq!(results.next(), Some(0));
            let mut unordered = half::map(0..1_000).unordered().into_iter();
            assert!(unordered.next().is_some());
            let set: fanfold::TaskSet<u32> = (0..1_000).map(half::submit).collect();
            // Workers end tasks at this moment, and may hold the locks of whoever waits for these.
            child_succeeds(|| {
                assert!(panics_about_the_fork(|| results.by_ref().count()));
                assert!(panics_about_the_fork(|| unordered.by_ref().count()));
                drop((results, unordered, set));
            });
        });
    }

    /// Forks on a worker; `how` selects what the child does: return, panic, exit, or `_exit`.
    fn fork_here(how: u8) -> Option<std::process::ExitStatus> {
        // SAFETY: the child returns from the pool's function or panics, both of which end it, or exits.
        let pid = unsafe { libc::fork() };
        if pid > 0 {
            return Some(wait_for(pid));
        }
        // SAFETY: `alarm` takes a number.
        unsafe { libc::alarm(30) };
        match how {
            0 => None,
            1 => panic!("on purpose"),
            2 => {
                assert!(panics_about_the_fork(|| double(1)));
                std::process::exit(5)
            }
            // SAFETY: ends the child without running the parent's destructors.
            _ => unsafe { libc::_exit(6) },
        }
    }

    #[parallel(kind = "io")]
    fn fork_on_io(how: u8) -> Option<i32> {
        fork_here(how).and_then(|status| status.code())
    }

    #[parallel(kind = "cpu")]
    fn fork_on_cpu(how: u8) -> Option<i32> {
        fork_here(how).and_then(|status| status.code())
    }

    #[test]
    fn on_workers_end_in_the_child() {
        static CALLED: AtomicBool = AtomicBool::new(false);
        in_child("forks::on_workers_end_in_the_child", || {
            let codes = [Some(101), Some(101), Some(5), Some(6)];
            let parent = std::process::id();
            for (how, code) in (0..).zip(codes) {
                assert_eq!(fork_on_io(how), code, "{how}");
                assert_eq!(fork_on_cpu(how), code, "{how}");
                let task = fork_on_io::submit(how);
                task.on_done(move |_| {
                    // The callback must not run in the child.
                    if std::process::id() != parent {
                        // SAFETY: ends the child without running the parent's destructors.
                        unsafe { libc::_exit(8) };
                    }
                    CALLED.store(true, Ordering::Relaxed);
                });
                assert_eq!(task.join().expect("it returns"), code, "{how}");
                assert_eq!(fork_on_cpu::submit(how).join().expect("it returns"), code, "{how}");
                let codes: Vec<_> = fork_on_io::map([how; 4]).collect();
                assert_eq!(codes, [code; 4], "{how}");
                let nested = Pool::io_default().submit(move || fork_on_io::submit(how).join());
                assert_eq!(nested.join().expect("it returns").expect("it returns"), code, "{how}");
            }
            assert!(CALLED.load(Ordering::Relaxed));
            use_everything();
        });
    }

    #[cfg(feature = "process")]
    mod processes {
        use super::*;

        fanfold::process_tests!();

        #[parallel(kind = "process")]
        fn triple(n: u32) -> u32 {
            n * 3
        }

        #[test]
        fn a_child_that_drops_a_process_pool_does_not_end_its_workers() {
            in_child("forks::processes::a_child_that_drops_a_process_pool_does_not_end_its_workers", || {
                let pool = Pool::process("p").threads(1).build().expect("one process");
                let triples = || triple::map([1, 2]).on(&pool).collect::<Vec<_>>();
                assert_eq!(triples(), [3, 6]);
                let mut dropped = Some(&pool);
                child_succeeds(|| {
                    let pool = dropped.take().expect("it is there");
                    // SAFETY: the value is the child's own copy, and the child ends without dropping it again.
                    drop(unsafe { std::ptr::read(pool) });
                    std::process::exit(0);
                });
                assert_eq!(triples(), [3, 6]);
            });
        }
    }
}
