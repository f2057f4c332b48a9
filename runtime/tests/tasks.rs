//! Tasks: joining, waiting, callbacks, cancelling; several at once; scopes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use fanfold::{Pool, TaskError, Until, as_completed, cancelled, first, join_all, parallel, scope, wait};

/// Long enough for any machine; no test waits it out.
const LONG: Duration = Duration::from_mins(1);
/// Too short for anything that waits for the test.
const SHORT: Duration = Duration::from_millis(1);

fn io(threads: usize) -> Pool {
    Pool::io("test").threads(threads).build().expect("threads can be had")
}

/// A task that runs until the sender is used or dropped.
fn held(pool: &Pool) -> (mpsc::Sender<()>, fanfold::Task<u32>) {
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
fn a_join_with_a_limit_gives_the_task_back() {
    let pool = io(1);
    let (release, task) = held(&pool);
    assert!(!task.wait(SHORT));
    let late = task.join_timeout(SHORT).expect_err("it is held");
    assert!(matches!(late.error(), TaskError::TimedOut { .. }));
    assert_eq!(late.to_string(), "the task was not done within 1ms");
    let task = late.into_task().expect("time ran out");
    release.send(()).expect("it is held");
    assert!(task.wait(LONG));
    assert_eq!(task.join_timeout(LONG).expect("it is done"), 7);
    let failed = pool.submit(|| panic!("no")).join_timeout(LONG).expect_err("it panics");
    assert!(matches!(failed.error(), TaskError::Panicked { .. }));
    assert!(failed.into_task().is_none(), "the task is over");
}

#[test]
fn a_panic_says_its_message_function_and_place() {
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
fn callbacks_run_before_joiners_go_on_and_cannot_hurt_them() {
    let pool = io(1);
    let (release, task) = held(&pool);
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    task.on_done(|_| panic!("a callback's own affair"));
    task.on_done(move |outcome| tell.store(outcome.is_ok(), Ordering::SeqCst));
    release.send(()).expect("it is held");
    assert!(task.wait(LONG));
    assert!(told.load(Ordering::SeqCst));
    let (tell, told) = mpsc::channel();
    task.on_done(move |outcome| tell.send(outcome.error().is_none()).expect("the test listens"));
    assert_eq!(told.try_recv(), Ok(true), "a late callback runs at once");
    assert_eq!(task.join().expect("no panic"), 7);

    let (tell, told) = mpsc::channel();
    let (_release, blocking) = held(&pool);
    let queued = pool.submit(|| ());
    queued.on_done(move |outcome| tell.send(matches!(outcome.error(), Some(TaskError::Cancelled))).expect("listens"));
    assert!(queued.cancel());
    assert_eq!(told.try_recv(), Ok(true), "the canceller calls back");
    drop(blocking);
}

#[test]
fn a_running_task_sees_that_it_is_cancelled() {
    assert!(!cancelled(), "nobody cancels a thread outside of tasks");
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
fn task_numbers_differ() {
    let ids: HashSet<_> = (0..100).map(|_| Pool::cpu_default().submit(|| ()).id()).collect();
    assert_eq!(ids.len(), 100);
}

#[test]
fn results_come_as_tasks_end() {
    let pool = io(3);
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
fn as_completed_gives_up_on_what_is_pending() {
    let pool = io(3);
    let (_release, slow) = held(&pool);
    let (_release_too, slow_too) = held(&pool);
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
fn waiting_for_some_says_which_are_done() {
    let pool = io(3);
    let (release, slow) = held(&pool);
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
fn joining_all_stops_at_the_first_error() {
    let pool = io(2);
    assert_eq!(join_all((0..10).map(|n| pool.submit(move || n))).expect("no panic"), (0..10).collect::<Vec<_>>());
    assert!(join_all(Vec::<fanfold::Task<u8>>::new()).expect("nothing fails").is_empty());

    // One thread is held by a task that ends only when it is cancelled, the other one's task fails.
    let ran = Arc::new(AtomicUsize::new(0));
    let mut tasks = vec![pool.submit(|| {
        while !cancelled() {
            thread::yield_now();
        }
    })];
    tasks.push(pool.submit(|| panic!("item 1")));
    let (release, gate) = held(&pool);
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
    assert_eq!(ran.load(Ordering::Relaxed), 0, "what nobody had started was cancelled");
}

#[test]
fn the_first_to_return_wins_and_the_others_are_told() {
    let pool = io(3);
    let (told, tells) = mpsc::channel();
    let (started, starts) = mpsc::channel();
    let slow = pool.submit(move || {
        started.send(()).ok();
        while !cancelled() {
            thread::yield_now();
        }
        told.send(()).ok();
        "slow"
    });
    let fails = pool.submit(|| panic!("no"));
    let quick = pool.submit(move || starts.recv().map_or("alone", |()| "quick"));
    assert_eq!(first([slow, fails, quick]).expect("one returns"), "quick");
    tells.recv().expect("the slow one sees it");
    let error = first((0..2).map(|_| pool.submit(|| -> u8 { panic!("none") }))).expect_err("none returns");
    assert!(matches!(error, TaskError::Panicked { .. }));
}

#[test]
fn scoped_tasks_borrow_and_are_waited_for() {
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
fn a_scope_waits_even_when_it_panics() {
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
fn a_panic_of_a_scoped_task_is_seen_once() {
    scope(|s| {
        let error = s.submit(|| panic!("joined")).join().expect_err("it panics");
        assert!(error.to_string().contains("joined"), "{error}");
    });
    let payload = std::panic::catch_unwind(|| scope(|s| drop(s.submit(|| panic!("not joined")))));
    let payload = payload.expect_err("the scope tells");
    assert_eq!(
        payload.downcast_ref(),
        Some(&"a task of the scope panicked and was not joined: join it to get its panic as an error")
    );
}

#[test]
fn a_cancelled_scoped_task_lets_go_of_what_it_borrowed() {
    let pool = io(1);
    let (release, gate) = held(&pool);
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
fn tasks_can_be_awaited_by_hand_and_the_waker_may_change() {
    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    use std::future::Future;
    let pool = io(1);
    let (release, task) = held(&pool);
    let mut task = std::pin::pin!(task);
    let wakers: Vec<Arc<Count>> = (0..3).map(|_| Arc::new(Count(AtomicUsize::new(0)))).collect();
    for count in &wakers {
        let waker = std::task::Waker::from(Arc::clone(count));
        for _ in 0..2 {
            assert!(task.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        }
    }
    for earlier in &wakers[..2] {
        assert_eq!(Arc::strong_count(earlier), 1, "let go of when another came");
    }
    release.send(()).expect("it is held");
    let done = pool.submit(|| ());
    assert!(done.wait(LONG), "the one thread is past the first task");
    let woken: Vec<usize> = wakers.iter().map(|count| count.0.load(Ordering::SeqCst)).collect();
    assert_eq!(woken, [0, 0, 1], "the last one, once");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(task.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(7))));
}
