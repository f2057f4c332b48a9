//! Maps inside of a task that is cancelled, and on a pool that is killed: no further item starts, and items that run
//! see `cancelled()`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{Pending, Pool, Task, TaskError, TaskSet, cancelled, parallel};

/// The bound of every wait: long enough for a machine under load.
const LIMIT: Duration = Duration::from_secs(30);
const THREADS: usize = 2;
const ITEMS: u64 = 4_000;

/// Items that run until they see that they are cancelled.
struct Items {
    started: AtomicUsize,
    starts: Sender<()>,
    stop: AtomicBool,
}

impl Items {
    fn new() -> (Arc<Self>, Receiver<()>) {
        let (starts, started) = channel();
        (Arc::new(Self { started: AtomicUsize::new(0), starts, stop: AtomicBool::new(false) }), started)
    }

    fn run(&self, n: u64) -> u64 {
        self.run_until(cancelled, n)
    }

    /// As `run`, until the test says so: on the threads of another pool `cancelled()` stays false.
    fn run_until_stopped(&self, n: u64) -> u64 {
        self.run_until(|| self.stop.load(Ordering::Relaxed), n)
    }

    fn run_until(&self, is_stopped: impl Fn() -> bool, n: u64) -> u64 {
        self.started.fetch_add(1, Ordering::Relaxed);
        let _ = self.starts.send(());
        let begun = Instant::now();
        while !is_stopped() {
            assert!(begun.elapsed() < LIMIT, "the item does not see that it is cancelled");
            thread::yield_now();
        }
        n
    }

    /// Some items ran when the map was cancelled, and a block of a few on each thread has run to its end.
    fn check(&self, what: &str) {
        let started = self.started.load(Ordering::Relaxed);
        assert!((1..100).contains(&started), "{what}: {started} items");
    }
}

type Run = fn(&Pool, &Items);

const ENDS: &[(&str, Run)] = &[
    ("collect", |pool, items| drop(pool.map(0..ITEMS, |n| items.run(n)).collect::<Vec<_>>())),
    ("collect of single items", |pool, items| {
        drop(pool.map(0..ITEMS, |n| items.run(n)).chunk_size(1).collect::<Vec<_>>());
    }),
    ("collect into a result", |pool, items| {
        _ = pool.map(0..ITEMS, |n| Ok::<_, ()>(items.run(n))).collect::<Result<Vec<_>, _>>();
    }),
    ("collect of an iterator", |pool, items| {
        drop(pool.map((0..ITEMS).filter(|_| true), |n| items.run(n)).collect::<Vec<_>>());
    }),
    ("for_each", |pool, items| pool.map(0..ITEMS, |n| items.run(n)).for_each(drop)),
    ("for_each_init", |pool, items| pool.map(0..ITEMS, |n| items.run(n)).for_each_init(|| (), |(), _| ())),
    ("find_first", |pool, items| _ = pool.map(0..ITEMS, |n| items.run(n)).find_first(|_| false)),
    ("filter", |pool, items| drop(pool.map(0..ITEMS, |n| items.run(n)).filter(|_| true).collect::<Vec<_>>())),
    ("flat_map of an iterator", |pool, items| {
        let results = pool.map((0..ITEMS).filter(|_| true), |n| items.run(n)).flat_map(|n| [n, n]);
        drop(results.collect::<Vec<_>>());
    }),
    ("outcomes", |pool, items| drop(pool.map(0..ITEMS, |n| items.run(n)).outcomes())),
    ("reduce", |pool, items| _ = pool.map(0..ITEMS, |n| items.run(n)).reduce(|| 0, |a, b| a + b)),
    ("sum of an iterator", |pool, items| {
        _ = pool.map((0..ITEMS).filter(|_| true), |n| items.run(n)).sum::<u64>();
    }),
    ("count", |pool, items| _ = pool.map(0..ITEMS, |n| items.run(n)).count()),
];

fn pools() -> [Pool; 2] {
    [Pool::cpu("cancelled-cpu"), Pool::io("cancelled-io")].map(|pool| pool.threads(THREADS).build().unwrap())
}

#[test]
fn the_task_of_a_map_ends_as_cancelled() {
    for (end, run) in ENDS {
        for pool in pools() {
            let what = format!("{end} on {pool:?}");
            let (items, started) = Items::new();
            let theirs = (pool, Arc::clone(&items));
            let task = Pool::io_default().submit(move || run(&theirs.0, &theirs.1));
            started.recv_timeout(LIMIT).expect(&what);
            assert!(!task.cancel(), "{what}: it runs");
            let ended = task.join();
            assert!(matches!(ended, Err(TaskError::Cancelled)), "{what}: {ended:?}");
            items.check(&what);
        }
    }
}

#[test]
fn a_map_on_a_killed_pool_ends_with_the_panic_of_a_closed_one() {
    let ends: [fn(&Pool); 3] =
        [|pool| pool.kill(), |pool| _ = pool.shutdown(Duration::ZERO), |pool| pool.shutdown(Pending::Cancel)];
    for (index, (end, run)) in ENDS.iter().enumerate() {
        for pool in pools() {
            let what = format!("{end} on {pool:?}");
            let (items, started) = Items::new();
            let caller = thread::scope(|scope| {
                let caller = scope.spawn(|| run(&pool, &items));
                started.recv_timeout(LIMIT).expect(&what);
                ends[index % ends.len()](&pool);
                caller.join()
            });
            let payload = caller.expect_err(&what);
            let message = payload.downcast_ref::<String>().expect(&what);
            assert!(message.contains("its pool was closed"), "{what}: {message}");
            items.check(&what);
        }
    }
}

/// Ends the handle of a map.
type End = fn(Task<Vec<u64>>);

/// Starts a map as a task. The pool is dropped when it has ended.
fn start(pool: &Pool, items: &Arc<Items>) -> Task<Vec<u64>> {
    let items = Arc::clone(items);
    pool.map(0..ITEMS, move |n| items.run(n)).collect_async()
}

#[test]
fn collect_async_ends_with_its_handle() {
    let ends: [(&str, End); 3] = [
        ("cancel", |task| {
            assert!(!task.cancel());
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        }),
        ("cancel_on_drop", |task| drop(task.cancel_on_drop())),
        ("a dropped set", |task| {
            let mut set = TaskSet::new();
            set.push(task);
        }),
    ];
    for (end, drop_task) in ends {
        for pool in pools() {
            let (items, started) = Items::new();
            let task = start(&pool, &items);
            started.recv_timeout(LIMIT).expect(end);
            drop_task(task);
            // Waits until the map has ended.
            drop(pool);
            items.check(end);
        }
    }
}

#[test]
fn collect_async_of_a_filter_is_cancelled() {
    for pool in pools() {
        let (items, started) = Items::new();
        let theirs = Arc::clone(&items);
        let task = pool.map(0..ITEMS, move |n| theirs.run(n)).filter(|_| true).collect_async::<Vec<_>>();
        started.recv_timeout(LIMIT).expect("an item starts");
        task.cancel();
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        items.check("filter");
    }
}

#[test]
fn an_iteration_of_results_ends_between_two() {
    let (send, starts) = channel();
    let task = Pool::io_default().submit(move || {
        for result in Pool::cpu_default().map(0_u64.., |n| n) {
            let _ = send.send(result);
        }
    });
    starts.recv_timeout(LIMIT).expect("a result comes");
    task.cancel();
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
}

#[test]
fn results_that_are_consumed_in_order_end_between_two() {
    for pool in pools() {
        let kept = Arc::new(());
        let (send, starts) = channel();
        let mine = Arc::clone(&kept);
        let task = Pool::io_default().submit(move || {
            let results = pool.map(0_u64.., |_| Arc::clone(&mine)).filter(|_| true);
            results.for_each_ordered(|result| _ = send.send(result));
        });
        drop(starts.recv_timeout(LIMIT).expect("a result comes"));
        task.cancel();
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        drop(starts);
        assert_eq!(Arc::strong_count(&kept), 1, "results in flight are dropped");
    }
}

#[parallel(kind = "cpu", chunk_size = 1)]
#[allow(clippy::needless_pass_by_value, reason = "each chunk gets a clone")]
fn run_chunks(#[chunk] numbers: Vec<u64>, items: Arc<Items>) -> Vec<u64> {
    numbers.into_iter().map(|n| items.run(n)).collect()
}

#[test]
fn a_chunked_call_in_a_task_is_cancelled() {
    let (items, started) = Items::new();
    let task = run_chunks::submit((0..ITEMS).collect(), Arc::clone(&items));
    started.recv_timeout(LIMIT).expect("a chunk starts");
    task.cancel();
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    items.check("chunks");
}

/// Runs a map when it is dropped.
struct MapOnDrop(Sender<usize>);

impl Drop for MapOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(fanfold::map(0..100_u64, |n| n).count());
    }
}

#[test]
fn a_map_of_a_destructor_runs_to_its_end_while_a_cancelled_one_unwinds() {
    let (items, started) = Items::new();
    let (send, counts) = channel();
    let theirs = Arc::clone(&items);
    let task = Pool::io_default().submit(move || {
        let _on_drop = MapOnDrop(send);
        fanfold::map(0..ITEMS, |n| theirs.run(n)).count()
    });
    started.recv_timeout(LIMIT).expect("an item starts");
    task.cancel();
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    assert_eq!(counts.recv_timeout(LIMIT), Ok(100));
}

#[test]
fn a_task_of_a_killed_pool_ends_with_its_map_on_another() {
    for pool in pools() {
        let (items, started) = Items::new();
        let own = Pool::io("killed").threads(1).build().unwrap();
        let (theirs, pool) = (Arc::clone(&items), Arc::new(pool));
        let map_pool = Arc::clone(&pool);
        let task = own.submit(move || map_pool.map(0..ITEMS, |n| theirs.run_until_stopped(n)).count());
        started.recv_timeout(LIMIT).expect("an item starts");
        own.kill();
        items.stop.store(true, Ordering::Relaxed);
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        items.check("a killed pool");
    }
}

#[test]
fn results_are_dropped_once_when_a_map_is_cancelled() {
    for pool in pools() {
        let (items, started) = Items::new();
        let (theirs, value) = (Arc::clone(&items), Arc::new(()));
        let values = vec![Arc::clone(&value); usize::try_from(ITEMS).unwrap()];
        let task = Pool::io_default().submit(move || {
            let results = pool.map(values, |value| {
                theirs.run(0);
                value
            });
            results.collect::<Vec<_>>().len()
        });
        started.recv_timeout(LIMIT).expect("an item starts");
        task.cancel();
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
