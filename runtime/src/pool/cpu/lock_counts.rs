//! Tests that count how often the lock is taken that all threads of a cpu pool share.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};

use crate::{Pool, join_all};

const TASKS: u64 = if cfg!(miri) { 100 } else { 10_000 };
/// For threads that start, park and are woken.
const AROUND: u64 = 50;

fn locked(pool: &Pool) -> u64 {
    pool.core().queue.locked.load(Ordering::Relaxed)
}

/// Keeps one worker busy until the sender is dropped.
fn occupy(pool: &Pool) -> Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel();
    drop(pool.submit(move || {
        started.send(()).expect("the test listens");
        released.recv().is_err()
    }));
    starts.recv().expect("it runs");
    release
}

#[test]
fn nested_tasks_of_a_busy_pool_take_no_shared_lock() {
    let pool: &'static Pool = Box::leak(Box::new(Pool::cpu("nested").threads(2).build().expect("threads start")));
    let _busy = occupy(pool);
    let before = locked(pool);
    let joined = pool.submit(move || {
        for n in 0..TASKS {
            assert_eq!(pool.submit(move || n).join().expect("it returns"), n);
        }
        let tasks: Vec<_> = (0..TASKS).map(|n| pool.submit(move || n)).collect();
        tasks.into_iter().map(|task| task.join().expect("it returns")).sum::<u64>()
    });
    assert_eq!(joined.join().expect("it returns"), (0..TASKS).sum::<u64>());
    // Without joins: the worker runs them when the task that submits them has ended.
    let (ran, runs) = mpsc::channel();
    let submits = pool.submit(move || {
        for n in 0..TASKS {
            let ran = ran.clone();
            drop(pool.submit(move || ran.send(n).is_ok()));
        }
    });
    submits.join().expect("it returns");
    assert!(runs.iter().eq(0..TASKS), "in order");
    let taken = locked(pool) - before;
    assert!(taken <= AROUND, "{taken} times for {} tasks", 3 * TASKS);
}

#[test]
fn tasks_from_outside_take_the_shared_lock_about_once() {
    let pool = Pool::cpu("outer").threads(2).build().expect("threads start");
    let busy = [occupy(&pool), occupy(&pool)];
    let before = locked(&pool);
    let tasks: Vec<_> = (0..TASKS).map(|n| pool.submit(move || n)).collect();
    assert!(locked(&pool) - before <= TASKS + AROUND, "once to submit");
    drop(busy);
    assert_eq!(join_all(tasks).expect("all return").into_iter().sum::<u64>(), (0..TASKS).sum::<u64>());
    let taken = locked(&pool) - before;
    assert!(taken <= TASKS + TASKS / 8 + AROUND, "{taken} times for {TASKS} tasks");
}
