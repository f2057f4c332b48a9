//! `Pool::broadcast`: a closure that each thread of a pool runs once.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use fanfold::{Pending, Pool, worker_index};

const LONG: Duration = Duration::from_secs(30);

thread_local! {
    static LEVEL: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn every_thread_of_a_cpu_pool_runs_it_once() {
    let pool = Pool::cpu("all").threads(4).build().expect("threads start");
    let runs = Arc::new(AtomicUsize::new(0));
    for round in 1..=20 {
        let counted = Arc::clone(&runs);
        let indexes = pool.broadcast(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            LEVEL.set(LEVEL.get() + 1);
            (worker_index(), LEVEL.get())
        });
        assert_eq!(indexes, (0..4).map(|index| (Some(index), round)).collect::<Vec<_>>());
    }
    assert_eq!(runs.load(Ordering::Relaxed), 80);
    let since = Instant::now();
    while Arc::strong_count(&runs) > 1 {
        assert!(since.elapsed() < LONG, "no closure is kept");
        std::thread::yield_now();
    }
    assert_eq!(pool.map(0..100_u64, |n| n).sum::<u64>(), 4_950, "the pool works as before");
}

#[test]
fn an_io_pool_runs_it_on_the_threads_that_it_has() {
    let pool = Pool::io("grown").threads(3).build().expect("a thread starts");
    let meet = Arc::new(std::sync::Barrier::new(3));
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let meet = Arc::clone(&meet);
            pool.submit(move || _ = meet.wait())
        })
        .collect();
    fanfold::join_all(tasks).expect("all return");
    let threads = pool.broadcast(|| std::thread::current().id());
    assert_eq!((threads.len(), threads.into_iter().collect::<HashSet<_>>().len()), (3, 3));
}

#[test]
fn it_waits_for_running_tasks() {
    let pool = Pool::io("busy").threads(1).build().expect("a thread starts");
    let (release, released) = mpsc::channel::<()>();
    let done = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&done);
    let (started, starts) = mpsc::channel();
    let task = pool.submit(move || {
        started.send(()).expect("the test listens");
        released.recv().expect_err("it is dropped");
        set.store(true, Ordering::Release);
    });
    starts.recv().expect("it starts");
    let seen = std::thread::scope(|scope| {
        let broadcast = scope.spawn(|| pool.broadcast(move || done.load(Ordering::Acquire)));
        drop(release);
        broadcast.join().expect("no panic")
    });
    assert_eq!(seen, [true], "after the task");
    task.join().expect("it returns");
}

#[test]
fn workers_may_broadcast_to_their_own_pool() {
    let pool: &'static Pool = Box::leak(Box::new(Pool::cpu("own").threads(3).build().expect("threads start")));
    // All three at once: no call waits for another one.
    let tasks: Vec<_> = (0..3).map(|_| pool.submit(|| pool.broadcast(worker_index))).collect();
    for task in tasks {
        let indexes = task.join().expect("no panic");
        assert!((1..=3).contains(&indexes.len()) && indexes.is_sorted(), "{indexes:?}");
    }
    let single: &'static Pool = Box::leak(Box::new(Pool::io("single").threads(1).build().expect("a thread starts")));
    let task = single.submit(|| single.broadcast(|| 7));
    assert_eq!(task.join().expect("no panic"), [7]);
}

#[test]
fn a_worker_that_waits_for_the_caller_is_not_waited_for() {
    let cpu: &'static Pool = Box::leak(Box::new(Pool::cpu("waits").threads(1).build().expect("a thread starts")));
    let io: &'static Pool = Box::leak(Box::new(Pool::io("calls").threads(1).build().expect("a thread starts")));
    let set = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&set);
    let waits = cpu.submit(move || {
        let broadcasts = io.submit(move || {
            cpu.broadcast(move || {
                LEVEL.set(9);
                counted.fetch_add(1, Ordering::Release);
            })
        });
        broadcasts.join().map(|results| results.len())
    });
    let results = waits.join().expect("no panic").expect("no panic");
    assert!(results <= 1, "{results}");
    // It runs the closure once it is back.
    let since = Instant::now();
    while set.load(Ordering::Acquire) == 0 {
        assert!(since.elapsed() < LONG, "it runs late, but it does");
        std::thread::yield_now();
    }
    assert_eq!(cpu.broadcast(|| LEVEL.get()), [9]);
}

#[test]
fn a_closure_may_broadcast() {
    let pool: &'static Pool = Box::leak(Box::new(Pool::cpu("nested").threads(3).build().expect("threads start")));
    let counts = pool.broadcast(|| pool.broadcast(|| ()).len());
    assert_eq!(counts.len(), 3);
    assert!(counts.iter().all(|count| (1..=3).contains(count)), "{counts:?}");
}

#[test]
fn a_panic_reaches_the_caller_when_all_have_run() {
    let pool = Pool::cpu("panics").threads(3).build().expect("threads start");
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let payload = std::panic::catch_unwind(|| {
        pool.broadcast(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            assert_ne!(worker_index(), Some(1), "not this one");
        })
    });
    let payload = payload.expect_err("one panics");
    assert!(payload.downcast_ref::<String>().is_some_and(|text| text.contains("not this one")));
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    assert_eq!(pool.broadcast(|| 1), [1, 1, 1], "its threads live on");
}

#[test]
fn a_closed_pool_refuses_it() {
    let pool = Pool::io("closed").threads(2).build().expect("a thread starts");
    pool.shutdown(Pending::Run);
    let payload = std::panic::catch_unwind(|| pool.broadcast(|| ())).expect_err("it is closed");
    let text = payload.downcast_ref::<String>().expect("a formatted message");
    assert!(text.contains("its pool was closed"), "{text}");
}

/// A caller, its broadcast, and the worker that ran it.
type Run = (usize, usize, Option<usize>);

#[test]
fn broadcasts_race_with_tasks_and_each_other() {
    const BROADCASTS: usize = 50;
    let pool = Pool::cpu("races").threads(2).build().expect("threads start");
    let seen: Arc<Mutex<HashSet<Run>>> = Arc::default();
    std::thread::scope(|scope| {
        for caller in 0..3 {
            let (pool, seen) = (&pool, &seen);
            scope.spawn(move || {
                for n in 0..BROADCASTS {
                    let seen = Arc::clone(seen);
                    let results = pool.broadcast(move || {
                        let is_first = seen.lock().expect("no panic").insert((caller, n, worker_index()));
                        (is_first, n)
                    });
                    // How many they are depends on the maps: a thread that waits in one is away.
                    assert!(results.iter().all(|result| *result == (true, n)), "{results:?}, not {n}");
                }
            });
            scope.spawn(move || {
                for n in 0..200_u64 {
                    assert_eq!(pool.submit(move || n).join().ok(), Some(n));
                    assert_eq!(pool.map(0..n, |x| x).collect::<Vec<_>>().len() as u64, n);
                }
            });
        }
    });
    // Each of the two threads is back from the maps in the end, and has then run all that it had missed.
    while pool.broadcast(worker_index).iter().filter(|index| matches!(index, Some(0 | 1))).count() < 2 {}
    let seen = seen.lock().expect("no panic");
    for index in 0..2 {
        assert_eq!(seen.iter().filter(|(_, _, by)| *by == Some(index)).count(), 3 * BROADCASTS, "worker {index}");
    }
}
