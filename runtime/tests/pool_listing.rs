//! The list of all pools, and what their stats count and measure.

use std::sync::mpsc;
use std::time::Duration;

use fanfold::{Pool, PoolKind, Stats, parallel};

static COUNTED: Pool = Pool::cpu("counted-maps").threads(2);

#[parallel(kind = "cpu", pool = COUNTED, chunks = 4)]
fn doubled(numbers: Vec<u64>) -> Vec<u64> {
    numbers.into_iter().map(|n| 2 * n).collect()
}

#[parallel(kind = "cpu", pool = COUNTED)]
fn half(n: u64) -> u64 {
    n / 2
}

/// The stats of the pools of this name and kind.
fn listed(name: &str, kind: PoolKind) -> Vec<Stats> {
    let pools = fanfold::pools().into_iter().filter(|pool| (pool.name, pool.kind) == (name, kind));
    pools.map(|pool| pool.stats).collect()
}

#[test]
fn pools_are_listed_from_their_start_to_their_drop() {
    static UNUSED: Pool = Pool::io("never-used");
    assert_eq!(UNUSED.name(), "never-used");
    assert!(listed("never-used", PoolKind::Io).is_empty());
    let pool = Pool::io("listed").threads(3).build().expect("a thread starts");
    pool.submit(|| ()).join().expect("it returns");
    let stats = listed("listed", PoolKind::Io);
    assert_eq!(stats.iter().map(|stats| (stats.limit, stats.done)).collect::<Vec<_>>(), [(3, 1)]);
    let twin = Pool::cpu("listed").threads(1).build().expect("a thread starts");
    assert_eq!(listed("listed", PoolKind::Cpu).len(), 1, "names need not be unique");
    drop((pool, twin));
    assert!(listed("listed", PoolKind::Io).is_empty() && listed("listed", PoolKind::Cpu).is_empty());
}

#[test]
fn default_pools_are_listed_once_they_run() {
    Pool::cpu_default().install(|| ());
    Pool::io_default().submit(|| ()).join().expect("it returns");
    assert_eq!(listed("cpu", PoolKind::Cpu).len(), 1);
    assert_eq!(listed("io", PoolKind::Io).len(), 1);
}

#[test]
fn maps_folds_and_chunked_calls_are_counted() {
    let before = COUNTED.stats().maps;
    assert_eq!(half::map(0..10).collect::<Vec<_>>().len(), 10);
    assert_eq!(half::map(vec![2, 4]).sum::<u64>(), 3);
    assert_eq!(doubled(vec![1, 2, 3]), [2, 4, 6]);
    assert_eq!(COUNTED.stats().maps - before, 3);
    let done = COUNTED.stats().done;
    assert_eq!(half(4), 2);
    assert_eq!((COUNTED.stats().maps - before, COUNTED.stats().done), (3, done), "a direct call is neither");
}

#[test]
fn counts_of_many_threads_add_up() {
    let pool = Pool::cpu("sharded").threads(4).build().expect("threads start");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let tasks: Vec<_> = (0..50).map(|n| pool.submit(move || n)).collect();
                tasks.into_iter().for_each(|task| drop(task.join()));
                (0..10).for_each(|n| assert_eq!(pool.map(0..3, |x| x + n).sum::<u64>(), 3 + 3 * n));
            });
        }
    });
    let stats = pool.stats();
    assert_eq!((stats.done, stats.maps, stats.failed), (400, 80, 0));
}

#[test]
fn times_are_measured_while_they_are_switched_on() {
    let pool = Pool::io("timed").threads(1).build().expect("a thread starts");
    pool.submit(|| ()).join().expect("it returns");
    assert_eq!(pool.stats().run_time.count(), 0, "they are off");
    fanfold::configure().task_times(true).apply().expect("it can be set at any time");
    let (release, released) = mpsc::channel::<()>();
    let first = pool.submit(move || released.recv().is_err());
    let second = pool.submit(|| ());
    let cancelled = pool.submit(|| ());
    let waits = Duration::from_millis(3);
    std::thread::sleep(waits);
    assert!(cancelled.cancel());
    drop(release);
    assert!(first.join().expect("it returns"));
    second.join().expect("it returns");
    let panics = pool.submit(|| panic!("counted, too"));
    panics.join().expect_err("it panics");
    let stats = pool.stats();
    assert_eq!((stats.queue_wait.count(), stats.run_time.count()), (3, 3), "a cancelled task never ran");
    assert!(stats.queue_wait.total() >= waits, "{stats:?}");
    assert!(stats.queue_wait.quantile(1.0) >= Some(waits) && stats.queue_wait.buckets().count() == 32);
    assert!(stats.run_time.total() >= waits, "{stats:?}");
    fanfold::configure().task_times(false).apply().expect("it can be set at any time");
    pool.submit(|| ()).join().expect("it returns");
    assert_eq!(pool.stats().run_time.count(), 3);
}

#[test]
fn each_worker_thread_has_its_own_index() {
    let pool = Pool::cpu("indexed").threads(3).build().expect("threads start");
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(3));
    let tasks = (0..3).map(|_| {
        let barrier = barrier.clone();
        pool.submit(move || {
            barrier.wait();
            let name = std::thread::current().name().map(str::to_owned);
            let index = fanfold::worker_index().expect("a worker");
            assert_eq!(name, Some(format!("fanfold-indexed-{index}")));
            index
        })
    });
    let mut indexes = fanfold::join_all(tasks).expect("all return");
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 1, 2]);
    assert_eq!(fanfold::worker_index(), None);
}
