//! Tasks that a worker of a cpu pool submits to its own pool: they are seen, run, counted and cancelled as others are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{Pending, Pool, TaskError};

/// Long enough for a loaded machine; only a hang takes longer.
const HANG: Duration = Duration::from_secs(60);

fn pool(name: &'static str, threads: usize) -> Arc<Pool> {
    Arc::new(Pool::cpu(name).threads(threads).build().expect("threads start"))
}

/// Computes for that many nanoseconds.
fn compute(nanos: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_nanos(nanos) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_worker_that_waits_unseen_has_its_tasks_run_by_others() {
    const ROUNDS: u32 = if cfg!(miri) { 20 } else { 5_000 };
    for threads in [2, 3, 8] {
        let pool = pool("unseen", threads);
        let inner = Arc::clone(&pool);
        // The pool does not see this wait. So a wake-up that is lost is never made up for. The pauses vary, so that the
        // others are at any point on their way to sleep.
        let rounds = move || {
            (0..ROUNDS).all(|round| {
                compute(u64::from(fastrand::u32(0..80_000)) * u64::from(round % 2));
                let (ran, runs) = mpsc::channel();
                drop(inner.submit(move || ran.send(())));
                runs.recv_timeout(HANG).is_ok()
            })
        };
        assert!(pool.submit(rounds).join().expect("no round panics"), "a task was not run");
    }
}

#[test]
fn a_tree_of_detached_tasks_runs_whole() {
    fn grow(pool: &Arc<Pool>, depth: u32, leaf: &mpsc::Sender<()>) {
        if depth == 0 {
            return leaf.send(()).expect("the test listens");
        }
        for _ in 0..2 {
            let (inner, leaf) = (Arc::clone(pool), leaf.clone());
            drop(pool.submit(move || grow(&inner, depth - 1, &leaf)));
        }
    }
    let depth = if cfg!(miri) { 4 } else { 12 };
    for threads in [1, 2, 5] {
        let pool = pool("grows", threads);
        let (leaf, leaves) = mpsc::channel();
        grow(&pool, depth, &leaf);
        drop(leaf);
        assert_eq!(leaves.iter().count(), 1 << depth);
    }
}

#[test]
fn a_blocked_worker_leaves_its_tasks_to_a_spare_thread() {
    let pool = pool("blocks", 1);
    let inner = Arc::clone(&pool);
    let outer = pool.submit(move || {
        let (sender, receiver) = mpsc::channel();
        let other = Pool::io_default().submit(move || receiver.recv_timeout(HANG).is_ok());
        // The io task waits for this one, which no other thread than a spare one can run.
        drop(inner.submit(move || sender.send(())));
        other.join().expect("it returns")
    });
    assert!(outer.join().expect("it returns"), "the task was not run");
}

#[test]
fn nested_tasks_keep_no_task_from_outside_waiting() {
    fn chain(pool: &Arc<Pool>, stop: &Arc<AtomicBool>) {
        if !stop.load(Ordering::Relaxed) {
            let (inner, stop) = (Arc::clone(pool), Arc::clone(stop));
            drop(pool.submit(move || chain(&inner, &stop)));
        }
    }
    for threads in [1, 2] {
        let pool = pool("chains", threads);
        let stop = Arc::new(AtomicBool::new(false));
        (0..4).for_each(|_| chain(&pool, &stop));
        let from_outside = pool.submit(|| ());
        let ran = from_outside.wait(HANG);
        stop.store(true, Ordering::Relaxed);
        assert!(ran, "it waits behind the chains");
    }
}

#[test]
fn tasks_from_outside_keep_no_nested_task_waiting() {
    for threads in [1, 2] {
        let pool = pool("floods", threads);
        let inner = Arc::clone(&pool);
        let (ran, runs) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let flood = thread::spawn({
            let (pool, stop) = (Arc::clone(&pool), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    if pool.stats().queued < 100 {
                        drop(pool.submit(|| compute(1_000)));
                    }
                }
            }
        });
        drop(pool.submit(move || drop(inner.submit(move || ran.send(())))));
        let ran = runs.recv_timeout(HANG).is_ok();
        stop.store(true, Ordering::Relaxed);
        flood.join().expect("it returns");
        assert!(ran, "it waits behind the flood");
    }
}

#[test]
fn nested_tasks_are_counted() {
    let pool = pool("counts", 1);
    let inner = Arc::clone(&pool);
    let queued = pool.submit(move || {
        let tasks: Vec<_> = (0..10).map(|n| inner.submit(move || assert!(n % 2 == 0))).collect();
        assert!(tasks[0].cancel());
        let before = inner.stats().queued;
        tasks.into_iter().for_each(|task| drop(task.join()));
        (before, inner.stats().queued)
    });
    assert_eq!(queued.join().expect("it returns"), (9, 0));
    let pool = Arc::into_inner(pool).expect("the task has ended and was dropped");
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed, stats.cancelled, stats.queued), (5, 5, 1, 0));
}

#[test]
fn shutdown_runs_or_cancels_what_a_worker_has_queued() {
    for pending in [Pending::Run, Pending::Cancel] {
        let pool = pool("shuts", 1);
        let inner = Arc::clone(&pool);
        let (submitted, submits) = mpsc::channel();
        let (close, closes) = mpsc::channel::<()>();
        drop(pool.submit(move || {
            submitted.send((0..100).map(|n| inner.submit(move || n)).collect::<Vec<_>>()).expect("the test listens");
            // Dropped here: the last owner shuts the pool down.
            assert!(closes.recv().is_err());
            let late = inner.submit(|| 0);
            submitted.send(vec![late]).expect("the test listens");
        }));
        let tasks = submits.recv().expect("they are queued");
        let closer = thread::spawn(move || pool.shutdown(pending));
        while pending == Pending::Cancel && !tasks[99].is_finished() {
            thread::yield_now();
        }
        drop(close);
        closer.join().expect("it returns");
        for (n, task) in tasks.into_iter().enumerate() {
            match pending {
                Pending::Run => assert_eq!(task.join().expect("it ran"), n),
                Pending::Cancel => assert!(matches!(task.join(), Err(TaskError::Cancelled))),
            }
        }
        if pending == Pending::Cancel {
            let late = submits.recv().expect("it was submitted").remove(0);
            assert!(matches!(late.join(), Err(TaskError::PoolClosed)));
        }
    }
}

#[test]
fn tasks_of_a_short_queue_start_in_the_order_of_their_submission() {
    for round in 0..if cfg!(miri) { 3 } else { 200 } {
        let pool = pool("order", 2);
        let (started, starts) = mpsc::channel();
        let (tasks, releases): (Vec<_>, Vec<_>) = (0..3)
            .map(|n| {
                let (release, released) = mpsc::channel::<()>();
                let started = started.clone();
                let wait = move || {
                    started.send(n).expect("the test listens");
                    released.recv().is_err()
                };
                (pool.submit(wait), release)
            })
            .unzip();
        let mut first = [starts.recv().expect("it runs"), starts.recv().expect("it runs")];
        first.sort_unstable();
        assert_eq!(first, [0, 1], "round {round}");
        drop(releases);
        assert!(tasks.into_iter().all(|task| task.join().expect("it returns")));
    }
}
