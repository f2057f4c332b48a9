//! Which queued tasks a worker runs itself while it waits for several: only those that no other thread can run.

use std::collections::HashSet;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use fanfold::{Pool, Task, TaskError, Until, as_completed, first, join_all, wait};

static EIGHT: Pool = Pool::io("eight").threads(8);
static CPU: Pool = Pool::cpu("four").threads(4);
static ONE: Pool = Pool::io("one").threads(1);

/// Runs `work` on a worker, given a task of the same pool that gives `true` once `work` has ended. If `work` waits for
/// that task, it gives `false` after its time limit.
fn with_a_slow_task(pool: &'static Pool, work: fn(&'static Pool, Task<bool>)) {
    let (goes_on, waits) = mpsc::channel::<()>();
    let (sender, receiver) = mpsc::channel();
    let worker = pool.submit(move || {
        let slow = pool.submit(move || {
            let in_time = waits.recv_timeout(Duration::from_secs(20)) == Err(RecvTimeoutError::Disconnected);
            sender.send(in_time).expect("the test listens");
            in_time
        });
        work(pool, slow);
        drop(goes_on);
    });
    worker.join().expect("no panic");
    assert_eq!(receiver.recv(), Ok(true), "the wait ended after the slow task");
}

#[test]
fn a_slow_task_does_not_delay_the_result_of_a_quick_one() {
    for pool in [&EIGHT, &CPU] {
        with_a_slow_task(pool, |pool, slow| {
            let failed = join_all([slow, pool.submit(|| panic!("at once"))]);
            assert!(matches!(failed, Err(TaskError::Panicked { .. })));
        });
        with_a_slow_task(pool, |pool, slow| {
            let next = as_completed([slow, pool.submit(|| true)]).next();
            assert!(matches!(next, Some((1, Ok(true)))));
        });
        with_a_slow_task(pool, |pool, slow| {
            assert!(first([slow, pool.submit(|| true)]).expect("no panic"));
        });
        with_a_slow_task(pool, |pool, slow| {
            assert_eq!(wait(&[slow, pool.submit(|| true)], Until::First, None).0, [1]);
        });
    }
}

#[test]
fn a_slow_task_queued_behind_quick_ones_does_not_delay_their_results() {
    for pool in [Pool::io("busy").threads(4), Pool::cpu("busy").threads(4)] {
        let pool = Arc::new(pool.build().expect("threads start"));
        let (goes_on, waits) = mpsc::channel::<()>();
        let inner = Arc::clone(&pool);
        let worker = pool.submit(move || {
            // All other workers are busy from before this one waits until the slow task has a thread.
            let started = Arc::new(Barrier::new(4));
            let quick = || {
                let (started, pool) = (Arc::clone(&started), Arc::clone(&inner));
                inner.submit(move || {
                    started.wait();
                    while pool.stats().queued == 0 {
                        thread::yield_now();
                    }
                    started.wait();
                    while pool.stats().queued > 0 {
                        thread::yield_now();
                    }
                    true
                })
            };
            let mut tasks: Vec<_> = (0..3).map(|_| quick()).collect();
            started.wait();
            let in_time = move || waits.recv_timeout(Duration::from_secs(20)) == Err(RecvTimeoutError::Disconnected);
            tasks.push(inner.submit(in_time));
            started.wait();
            let mut ended = as_completed(tasks);
            let quick: Vec<_> = ended.by_ref().take(3).map(|(key, _)| key).collect();
            drop(goes_on);
            (quick, ended.next())
        });
        let (mut quick, slow) = worker.join().expect("no panic");
        quick.sort_unstable();
        assert_eq!(quick, [0, 1, 2]);
        assert!(matches!(slow, Some((3, Ok(true)))), "{slow:?}");
        drop(pool);
    }
}

#[test]
fn a_slow_item_does_not_delay_the_result_of_a_quick_one() {
    for pool in [&EIGHT, &CPU] {
        let (goes_on, waits) = mpsc::channel::<()>();
        let waits = Arc::new(Mutex::new(waits));
        let worker = pool.submit(move || {
            let item = move |n: u32| {
                let in_time = || {
                    let waits = waits.lock().expect("not poisoned");
                    waits.recv_timeout(Duration::from_secs(20)) == Err(RecvTimeoutError::Disconnected)
                };
                (n, n > 0 || in_time())
            };
            let mut items = pool.map(0..3, item).chunk_size(1).unordered().into_iter();
            let quick = [items.next(), items.next()].map(|item| item.expect("three items"));
            drop(goes_on);
            (quick, items.next())
        });
        let (quick, slow) = worker.join().expect("no panic");
        assert!(quick.iter().all(|(n, _)| *n > 0), "{quick:?}");
        assert_eq!(slow, Some((0, true)));
    }
}

#[test]
fn a_slow_task_of_another_pool_runs_on_that_pools_threads() {
    let front = Pool::io("front").threads(1).build().expect("threads start");
    front.submit(|| with_a_slow_task(&EIGHT, |_, slow| drop(slow))).join().expect("no panic");
    let names = front.submit(|| {
        let name = || thread::current().name().unwrap_or("?").to_owned();
        join_all((0..4).map(|_| EIGHT.submit(name))).expect("no panic")
    });
    let names: HashSet<_> = names.join().expect("no panic").into_iter().collect();
    assert!(names.iter().all(|name| name.starts_with("fanfold-eight-")), "{names:?}");
}

#[test]
fn a_waiting_worker_runs_tasks_that_no_other_thread_can_run() {
    let waits = || {
        let here = thread::current().id();
        let id = || thread::current().id();
        let all = join_all((0..4).map(|_| ONE.submit(id))).expect("no panic");
        let ended = as_completed((0..4).map(|_| ONE.submit(id))).map(|(_, id)| id.expect("no panic"));
        let items = ONE.map(0..4, |_: u32| thread::current().id()).unordered();
        all.into_iter().chain(ended).chain(items).all(|id| id == here)
    };
    assert!(ONE.submit(waits).join().expect("no panic"));
}
