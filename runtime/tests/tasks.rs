//! Tasks: joining, waiting, callbacks, cancelling, several tasks at once, and scopes.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use fanfold::{JoinTimeout, Pool, TaskError, Until};
use fanfold::{as_completed, cancelled, first, join_all, parallel, scope, wait};

/// Longer than any machine needs; no test waits this long.
const LONG: Duration = Duration::from_secs(60);
/// Shorter than any task that waits for the test.
const SHORT: Duration = Duration::from_millis(1);

fn io_pool(threads: usize) -> Pool {
    Pool::io("test").threads(threads).build().expect("threads start")
}

/// A task that runs until the sender is used or dropped.
fn blocked_task(pool: &Pool) -> (mpsc::Sender<()>, fanfold::Task<u32>) {
    let (release, released) = mpsc::channel();
    let (started, starts) = mpsc::channel();
    let task = pool.submit(move || {
        started.send(()).ok();
        released.recv().ok();
        7
    });
    starts.recv().expect("it starts");
    (release, task)
}

#[test]
fn join_timeout_returns_the_task_when_time_runs_out() {
    let pool = io_pool(1);
    let (release, task) = blocked_task(&pool);
    assert!(!task.wait(SHORT));
    let error = task.join_timeout(SHORT).expect_err("it is held");
    let message = error.to_string();
    assert!(message.starts_with("`tasks::blocked_task") && message.ends_with("` was not done in time, and goes on"));
    let JoinTimeout::TimedOut(task) = error else { panic!("{error}") };
    let task = task.join_timeout(SHORT).expect_err("it is held").into_task().expect("time ran out");
    release.send(()).expect("it is held");
    assert!(task.wait(LONG));
    assert_eq!(task.join_timeout(LONG).expect("it is done"), 7);
    let failed = pool.submit(|| panic!("no")).join_timeout(LONG).expect_err("it panics");
    assert!(failed.to_string().ends_with("no"), "{failed}");
    assert!(matches!(failed, JoinTimeout::Failed(TaskError::Panicked { .. })), "the task is over");
}

#[test]
fn tasks_are_keys_of_a_map() {
    let pool = io_pool(1);
    let (release, task) = blocked_task(&pool);
    let (other, same) = (pool.submit(|| 8), task.id());
    assert_eq!(task, task);
    assert_ne!(task, other);
    let mut names = HashMap::from([(task, "held"), (other, "other")]);
    assert_eq!(names.len(), 2);
    let held = names.extract_if(|task, _| task.id() == same).next().expect("it is a key");
    assert_eq!(held.1, "held");
    release.send(()).expect("it is held");
    assert_eq!(held.0.join().expect("no panic"), 7);
}

#[test]
fn task_errors_become_io_errors_of_their_kind() {
    let timed_out = TaskError::TimedOut { after: SHORT };
    let message = timed_out.to_string();
    let error = io::Error::from(timed_out);
    assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::TimedOut, message));
    assert!(matches!(error.downcast(), Ok(TaskError::TimedOut { after: SHORT })));
    assert_eq!(io::Error::from(TaskError::Cancelled).kind(), io::ErrorKind::Other);
}

#[test]
fn a_panic_error_has_message_function_and_location() {
    #[parallel(kind = "io")]
    fn divide(a: u32, b: u32) -> u32 {
        a / b
    }
    let error = divide::submit(1, 0).join().expect_err("it panics");
    let TaskError::Panicked { message, function, location, .. } = error else { panic!("{error:?}") };
    assert_eq!(message, "attempt to divide by zero");
    assert!(function.ends_with("::divide"), "{function}");
    let location = location.expect("no other hook was set");
    assert!(location.contains("tasks.rs:"), "{location}");
}

#[test]
fn callbacks_run_before_joins_return_and_may_panic() {
    let pool = io_pool(1);
    let (release, task) = blocked_task(&pool);
    let called = Arc::new(AtomicBool::new(false));
    let is_called = Arc::clone(&called);
    task.on_done(|_| panic!("panic in a callback"));
    task.on_done(move |outcome| is_called.store(outcome.is_ok(), Ordering::SeqCst));
    release.send(()).expect("it is held");
    assert!(task.wait(LONG));
    assert!(called.load(Ordering::SeqCst));
    let (sender, receiver) = mpsc::channel();
    task.on_done(move |outcome| sender.send(outcome.error().is_none()).expect("the test listens"));
    assert_eq!(receiver.try_recv(), Ok(true), "a callback of a finished task runs at once");
    assert_eq!(task.join().expect("no panic"), 7);

    let (sender, receiver) = mpsc::channel();
    let (_release, blocking) = blocked_task(&pool);
    let queued = pool.submit(|| ());
    queued.on_done(move |outcome| sender.send(matches!(outcome.error(), Some(TaskError::Cancelled))).expect("listens"));
    assert!(queued.cancel());
    assert_eq!(receiver.try_recv(), Ok(true), "the canceller calls back");
    drop(blocking);
}

#[test]
fn a_running_task_sees_that_it_is_cancelled() {
    assert!(!cancelled(), "a thread outside of tasks is never cancelled");
    let (started, starts) = mpsc::channel();
    let task = Pool::cpu_default().submit(move || {
        started.send(()).ok();
        while !cancelled() {
            thread::yield_now();
        }
        "stopped"
    });
    starts.recv().expect("it starts");
    assert!(!task.cancel(), "it runs already");
    assert_eq!(task.join().expect("it returns"), "stopped");
}

#[test]
fn task_ids_are_unique() {
    let ids: HashSet<_> = (0..100).map(|_| Pool::cpu_default().submit(|| ()).id()).collect();
    assert_eq!(ids.len(), 100);
}

#[test]
fn as_completed_gives_results_in_completion_order() {
    let pool = io_pool(3);
    let gates: Vec<_> = (0..3).map(|_| mpsc::channel::<()>()).collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
    let tasks: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(n, gate)| {
            pool.submit(move || {
                gate.recv().ok();
                n * 10
            })
        })
        .collect();
    let mut completed = as_completed(tasks);
    for n in [2, 0, 1] {
        senders[n].send(()).expect("it waits");
        let (index, result) = completed.next().expect("one more");
        assert_eq!((index, result.expect("no panic")), (n, n * 10));
    }
    assert!(completed.next().is_none());
}

#[test]
fn as_completed_times_out_on_pending_tasks() {
    let pool = io_pool(3);
    let (_release, slow) = blocked_task(&pool);
    let (_release_too, slow_too) = blocked_task(&pool);
    let quick = pool.submit(|| 1);
    assert!(quick.wait(LONG));
    let results: Vec<_> = as_completed([slow, quick, slow_too]).timeout(SHORT).collect();
    assert_eq!(results.len(), 3);
    assert!(matches!(results[0], (1, Ok(1))));
    for (place, index) in [(1, 0), (2, 2)] {
        assert_eq!(results[place].0, index);
        assert!(matches!(&results[place].1, Err(TaskError::TimedOut { after }) if *after == SHORT));
    }
}

#[test]
fn wait_returns_finished_and_pending_tasks() {
    let pool = io_pool(3);
    let (release, slow) = blocked_task(&pool);
    let quick = pool.submit(|| 1);
    let fails = pool.submit(|| panic!("no"));
    let tasks = [slow, quick, fails];
    let (done, _) = wait(&tasks, Until::First, None);
    assert!(!done.is_empty() && !done.contains(&0));
    let (done, pending) = wait(&tasks, Until::FirstError, None);
    assert!(done.contains(&2) && pending.contains(&0));
    let (done, pending) = wait(&tasks, Until::All, Some(SHORT));
    assert_eq!((done, pending), (vec![1, 2], vec![0]));
    release.send(()).expect("it is held");
    assert_eq!(wait(&tasks, Until::All, Some(LONG)), (vec![0, 1, 2], vec![]));
}

#[test]
fn join_all_returns_the_first_error_and_cancels_the_rest() {
    let pool = io_pool(2);
    assert_eq!(join_all((0..10).map(|n| pool.submit(move || n))).expect("no panic"), (0..10).collect::<Vec<_>>());
    assert!(join_all(Vec::<fanfold::Task<u8>>::new()).expect("nothing fails").is_empty());

    // One thread runs a task that ends only when it is cancelled; the task on the other thread fails.
    let ran = Arc::new(AtomicUsize::new(0));
    let mut tasks = vec![pool.submit(|| {
        while !cancelled() {
            thread::yield_now();
        }
    })];
    tasks.push(pool.submit(|| panic!("item 1")));
    let (release, gate) = blocked_task(&pool);
    for _ in 0..50 {
        let ran = Arc::clone(&ran);
        tasks.push(pool.submit(move || {
            ran.fetch_add(1, Ordering::Relaxed);
        }));
    }
    let error = join_all(tasks).expect_err("one panics");
    assert!(matches!(error, TaskError::Panicked { .. }));
    drop((release, gate));
    drop(pool);
    assert_eq!(ran.load(Ordering::Relaxed), 0, "tasks that had not started were cancelled");
}

#[test]
fn first_returns_the_first_result_and_cancels_the_others() {
    let pool = io_pool(3);
    let (sender, receiver) = mpsc::channel();
    let (started, starts) = mpsc::channel();
    let slow = pool.submit(move || {
        started.send(()).ok();
        while !cancelled() {
            thread::yield_now();
        }
        sender.send(()).ok();
        "slow"
    });
    let fails = pool.submit(|| panic!("no"));
    let quick = pool.submit(move || starts.recv().map_or("alone", |()| "quick"));
    assert_eq!(first([slow, fails, quick]).expect("one returns"), "quick");
    receiver.recv().expect("the slow one sees it");
    let error = first((0..2).map(|_| pool.submit(|| -> u8 { panic!("none") }))).expect_err("none returns");
    assert!(matches!(error, TaskError::Panicked { .. }));
}

#[test]
fn scoped_tasks_may_borrow_and_are_waited_for() {
    let mut numbers = vec![3, 1, 2];
    let total = AtomicUsize::new(0);
    let length = scope(|s| {
        let sorting = s.submit(|| {
            numbers.sort_unstable();
            numbers.len()
        });
        for n in 0..100 {
            let total = &total;
            let _ = s.submit(move || total.fetch_add(n, Ordering::Relaxed));
        }
        sorting.join().expect("no panic")
    });
    assert_eq!((length, numbers), (3, vec![1, 2, 3]));
    assert_eq!(total.into_inner(), 4_950);
}

#[test]
fn a_scope_that_panics_waits_for_its_tasks() {
    let ended = AtomicBool::new(false);
    let (release, released) = mpsc::channel::<()>();
    let panicked = thread::scope(|threads| {
        let ended = &ended;
        let scoped = threads.spawn(move || {
            scope(|s| {
                let _ = s.submit(move || {
                    released.recv().ok();
                    ended.store(true, Ordering::SeqCst);
                });
                panic!("the scope's own");
            })
        });
        release.send(()).expect("the task waits");
        scoped.join()
    });
    let payload = panicked.expect_err("it panics");
    assert_eq!(payload.downcast_ref(), Some(&"the scope's own"));
    assert!(ended.load(Ordering::SeqCst));
}

#[test]
fn a_panic_of_a_scoped_task_is_reported_once() {
    scope(|s| {
        let error = s.submit(|| panic!("joined")).join().expect_err("it panics");
        assert!(error.to_string().contains("joined"), "{error}");
    });
    let payload = std::panic::catch_unwind(|| scope(|s| drop(s.submit(|| panic!("not joined")))));
    let payload = payload.expect_err("the scope panics");
    assert_eq!(
        payload.downcast_ref(),
        Some(&"a task of the scope panicked and was not joined: join it to get its panic as an error")
    );
}

#[test]
fn a_cancelled_scoped_task_drops_its_borrows() {
    let pool = io_pool(1);
    let (release, gate) = blocked_task(&pool);
    let borrowed = Mutex::new(());
    scope(|s| {
        let guard = borrowed.lock().expect("no panic");
        let task = s.submit_on(&pool, {
            let borrowed = &borrowed;
            move || drop(borrowed.lock())
        });
        assert!(task.cancel());
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        drop(guard);
    });
    drop((release, gate));
}

#[test]
fn tasks_can_be_polled_by_hand_with_changing_wakers() {
    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    use std::future::Future;
    let pool = io_pool(1);
    let (release, task) = blocked_task(&pool);
    let mut task = std::pin::pin!(task);
    let wakers: Vec<Arc<Count>> = (0..3).map(|_| Arc::new(Count(AtomicUsize::new(0)))).collect();
    for count in &wakers {
        let waker = std::task::Waker::from(Arc::clone(count));
        for _ in 0..2 {
            assert!(task.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        }
    }
    for earlier in &wakers[..2] {
        assert_eq!(Arc::strong_count(earlier), 1, "dropped when another waker replaced it");
    }
    release.send(()).expect("it is held");
    let done = pool.submit(|| ());
    assert!(done.wait(LONG), "the one thread is past the first task");
    let woken: Vec<usize> = wakers.iter().map(|count| count.0.load(Ordering::SeqCst)).collect();
    assert_eq!(woken, [0, 0, 1], "the last one, once");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(task.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(7))));
}

#[test]
fn a_task_that_joins_itself_panics() {
    for pool in [Pool::cpu("itself").threads(1), Pool::io("itself").threads(1)] {
        let pool = pool.build().expect("a thread starts");
        let (give, given) = std::sync::mpsc::channel::<fanfold::Task<String>>();
        let (tell, told) = std::sync::mpsc::channel();
        give.send(pool.submit(move || {
            let itself = given.recv().expect("the test sends it");
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| itself.join()));
            let payload = ended.expect_err("it would wait for ever");
            let message = payload.downcast_ref::<&str>().copied().unwrap_or_default().to_string();
            tell.send(message.clone()).expect("the test listens");
            message
        }))
        .expect("the task listens");
        let message = told.recv().expect("it says so");
        assert!(message.contains("a task waits for its own end"), "{message}");
    }
}
