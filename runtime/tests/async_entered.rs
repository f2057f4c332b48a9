//! Blocking waits inside a single-threaded runtime that is only entered, or no longer driven: they panic, never hang.
#![allow(clippy::async_yields_async, reason = "tasks are returned from `block_on` to be joined outside the runtime")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use fanfold::{Task, TaskError, Until, as_completed, first, join_all, parallel, wait};
use tokio::runtime::{Builder, Runtime};

/// Longer than any slow machine needs; reaching it means that the test hangs.
const TIME_LIMIT: Duration = Duration::from_secs(60);

#[parallel(kind = "io")]
async fn sleeps(n: u32) -> u32 {
    tokio::time::sleep(Duration::from_millis(1)).await;
    n
}

#[parallel(kind = "io", timeout = "1h")]
async fn sleeps_within_a_limit(n: u32) -> Result<u32, TaskError> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(n)
}

#[parallel(kind = "io")]
fn waits_for(n: u32) -> u32 {
    sleeps::submit(n).join().expect("no panic")
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// Runs `work` on a thread of its own and panics if it does not end within [`TIME_LIMIT`].
#[track_caller]
fn must_end<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = mpsc::channel();
    std::thread::spawn(move || sender.send(catch_unwind(AssertUnwindSafe(work))));
    match done.recv_timeout(TIME_LIMIT).expect("it hangs") {
        Ok(value) => value,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

type Wait = fn(Task<u32>);

/// Every way to wait for a task.
const WAITS: [(&str, Wait); 10] = [
    ("join", |task| assert_eq!(task.join().unwrap(), 1)),
    ("join_timeout", |task| assert_eq!(task.join_timeout(TIME_LIMIT).unwrap(), 1)),
    ("Task::wait", |task| assert!(task.wait(TIME_LIMIT))),
    ("wait", |task| assert_eq!(wait(&[task], Until::All, None), (vec![0], vec![]))),
    ("wait, with a limit", |task| assert_eq!(wait(&[task], Until::First, Some(TIME_LIMIT)), (vec![0], vec![]))),
    ("as_completed", |task| assert_eq!(as_completed([task]).next().unwrap().1.unwrap(), 1)),
    ("as_completed, with a limit", |task| {
        assert_eq!(as_completed([task]).timeout(TIME_LIMIT).next().unwrap().1.unwrap(), 1);
    }),
    ("join_all", |task| assert_eq!(join_all([task]).unwrap(), [1])),
    ("first", |task| assert_eq!(first([task]).unwrap(), 1)),
    ("scope", |task| fanfold::scope(|_| assert_eq!(task.join().unwrap(), 1))),
];

/// Runs `work` once for every way to wait, all at the same time.
#[track_caller]
fn every_wait_must_end(work: fn(&'static str, Wait)) {
    let all = WAITS.map(|(name, wait)| (name, std::thread::spawn(move || must_end(move || work(name, wait)))));
    for (name, thread) in all {
        assert!(thread.join().is_ok(), "{name}");
    }
}

#[track_caller]
fn must_panic(name: &str, work: impl FnOnce()) {
    let payload = catch_unwind(AssertUnwindSafe(work)).expect_err(name);
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
    assert!(text.contains("thread") && text.contains("async runtime") && text.contains("`.await`"), "{name}: {text}");
}

#[test]
fn waiting_inside_an_undriven_runtime_panics() {
    every_wait_must_end(|name, wait| {
        let runtime = one_thread();
        let _inside = runtime.enter();
        must_panic(name, || wait(sleeps::submit(1)));
    });
    must_end(|| {
        let runtime = one_thread();
        let _inside = runtime.enter();
        // Time limits that pass before the library checks whether a thread drives the runtime.
        assert!(!sleeps::submit(1).wait(Duration::from_millis(1)));
        assert!(sleeps::submit(1).join_timeout(Duration::from_millis(1)).is_err());
        // Maps and direct calls are polled on this thread, so no other thread is needed.
        assert_eq!(sleeps::map([1, 2]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(sleeps::map([1, 2]).into_iter().sum::<u32>(), 3);
        assert_eq!(sleeps_within_a_limit::map([1, 2]).collect::<Result<Vec<_>, _>>().unwrap(), [1, 2]);
        assert_eq!(pollster::block_on(sleeps(3)), 3);
        assert_eq!(pollster::block_on(sleeps_within_a_limit(3)).unwrap(), 3);
        assert_eq!(waits_for(4), 4);
        assert_eq!(fanfold::scope(|s| s.submit(|| waits_for(5)).join().unwrap()), 5);
        // A task submitted earlier runs once the runtime is driven.
        let task = sleeps::submit(6);
        assert_eq!(runtime.block_on(task).unwrap(), 6);
    });
}

#[test]
fn blocking_on_a_task_of_the_runtime_this_thread_drives_panics() {
    every_wait_must_end(|name, wait| {
        let runtime = one_thread();
        runtime.block_on(async { must_panic(name, || wait(sleeps::submit(1))) });
        // No thread drives the runtime now: wait outside of any runtime, then inside the entered one.
        let task = || runtime.block_on(async { sleeps::submit(1) });
        must_panic(name, || wait(task()));
        let entered = task();
        let _inside = runtime.enter();
        must_panic(name, || wait(entered));
    });
}

#[test]
fn other_threads_wait_for_a_runtime_of_one_thread() {
    for (name, wait) in WAITS {
        must_end(move || {
            let runtime = one_thread();
            let handle = runtime.handle().clone();
            runtime.block_on(async {
                let (task, entered, blocking) = (sleeps::submit(1), sleeps::submit(1), sleeps::submit(1));
                let plain = std::thread::spawn(move || wait(task));
                let inside = std::thread::spawn(move || {
                    let _inside = handle.enter();
                    wait(entered);
                    wait(sleeps::submit(1));
                });
                tokio::task::spawn_blocking(move || {
                    wait(blocking);
                    wait(sleeps::submit(1));
                })
                .await
                .expect(name);
                while !(plain.is_finished() && inside.is_finished()) {
                    tokio::task::yield_now().await;
                }
                plain.join().expect(name);
                inside.join().expect(name);
            });
        });
    }
}

/// The runtime polls nothing from the first wait of its blocking thread to the last.
#[test]
fn a_blocking_thread_keeps_waiting_while_its_runtime_is_busy() {
    // Longer than the check for a runtime that no thread drives takes.
    const LONG: Duration = Duration::from_secs(5);
    must_end(|| {
        let runtime = one_thread();
        runtime.block_on(async {
            let (sender, waited) = mpsc::channel();
            let tasks = [sleeps::submit(1), sleeps::submit(1)];
            let blocking = tokio::task::spawn_blocking(move || {
                let [first, second] = tasks;
                let early = catch_unwind(AssertUnwindSafe(|| first.wait(LONG)));
                sender.send(early.is_ok_and(|ended| !ended)).expect("it is received");
                (
                    first.join().expect("no panic"),
                    second.join().expect("no panic"),
                    sleeps::submit(1).join().expect("no"),
                )
            });
            assert!(waited.recv_timeout(TIME_LIMIT).expect("it waits in vain, and is not refused"));
            assert_eq!(blocking.await.expect("no panic"), (1, 1, 1));
        });
    });
}

#[test]
fn a_task_that_enters_an_undriven_runtime_panics_when_it_waits_there() {
    every_wait_must_end(|name, wait| {
        let entered = one_thread();
        let handle = entered.handle().clone();
        let several = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts");
        let task = several.spawn(async move {
            let _inside = handle.enter();
            must_panic(name, || wait(sleeps::submit(1)));
        });
        several.block_on(task).expect(name);
        // In this order: Tokio's `block_in_place`, which a wait asks whether it may block, can move a worker of
        // `several` to a thread of the runtime that the task has entered.
        drop(several);
        drop(entered);
    });
}

#[test]
fn waiting_inside_an_entered_multi_thread_runtime_works() {
    for (_, wait) in WAITS {
        must_end(move || {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts");
            let _inside = runtime.enter();
            wait(sleeps::submit(1));
            runtime.block_on(async { tokio::spawn(async move { wait(sleeps::submit(1)) }).await.expect("no panic") });
        });
    }
}
