//! How many extra threads a pool starts for workers that wait: few where the waits end, and one more for each wait
//! where every wait depends on a queued job.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fanfold::{Pool, Until, join_all, parallel, wait};

/// Records the peak of the pool's threads.
fn record_threads(peak: &AtomicUsize, pool: &Pool) {
    peak.fetch_max(pool.stats().threads, Ordering::SeqCst);
}

fn tree_of_scopes(pool: &Pool, peak: &AtomicUsize, depth: u32) -> u64 {
    record_threads(peak, pool);
    if depth == 0 {
        return 1;
    }
    let sum = AtomicU64::new(0);
    fanfold::scope(|s| {
        for _ in 0..2 {
            s.submit_on(pool, || sum.fetch_add(tree_of_scopes(pool, peak, depth - 1), Ordering::SeqCst));
        }
    });
    sum.into_inner()
}

#[test]
fn a_tree_of_scopes_needs_few_threads() {
    for pool in [Pool::cpu("tree").threads(2), Pool::io("tree").threads(2), Pool::io("tree").threads(1)] {
        let (pool, peak) = (pool.build().expect("threads start"), AtomicUsize::new(0));
        assert_eq!(tree_of_scopes(&pool, &peak, 11), 2_048);
        assert!(peak.load(Ordering::SeqCst) < 20, "{peak:?} threads");
    }
}

#[test]
fn a_scope_runs_its_oldest_task_first() {
    let pool = Pool::io("order").threads(1).build().expect("threads start");
    let sum = thread::scope(|_| {
        fanfold::scope(|s| {
            let outer = s.submit_on(&pool, || {
                let (sender, receiver) = mpsc::channel();
                let sum = AtomicU64::new(0);
                fanfold::scope(|s| {
                    s.submit_on(&pool, move || sender.send(7).expect("it is received"));
                    let sum = &sum;
                    s.submit_on(&pool, move || sum.fetch_add(receiver.recv().expect("it is sent"), Ordering::SeqCst));
                });
                sum.into_inner()
            });
            outer.join().expect("no panic")
        })
    });
    assert_eq!(sum, 7);
}

static BACKEND: Pool = Pool::io("backend").threads(1);

#[parallel(kind = "io", pool = BACKEND)]
fn query(time: Duration) -> u64 {
    thread::sleep(time);
    1
}

#[test]
fn jobs_that_wait_for_another_pool_share_a_few_threads() {
    let joins: fn(Duration) -> u64 = |time| query::submit(time).join().expect("no panic");
    let waits: fn(Duration) -> u64 = |time| wait(&[query::submit(time)], Until::All, None).0.len() as u64;
    let calls: fn(Duration) -> u64 = query;
    let maps: fn(Duration) -> u64 = |time| query::map([time]).collect::<Vec<_>>().iter().sum();
    for (work, time, count) in [(joins, 100, 3_000), (waits, 100, 1_000), (calls, 100, 1_000), (maps, 100, 1_000)] {
        let front = Pool::io("front").threads(4).build().expect("threads start");
        let sum = join_all((0..count).map(|_| front.submit(move || work(Duration::from_micros(time)))));
        assert_eq!(sum.expect("no panic").iter().sum::<u64>(), count);
        let threads = front.stats().threads;
        assert!(threads < 40, "{threads} threads");
    }
}

#[test]
fn jobs_of_a_cpu_pool_that_wait_for_another_pool_share_a_few_threads() {
    let front = Pool::cpu("front").threads(2).build().expect("threads start");
    let time = Duration::from_micros(100);
    let sum = join_all((0..2_000).map(|_| front.submit(move || query::submit(time).join().expect("no panic"))));
    assert_eq!(sum.expect("no panic").iter().sum::<u64>(), 2_000);
    let threads = front.stats().threads;
    assert!(threads < 40, "{threads} threads");
}

static ONE: Pool = Pool::io("one").threads(1);

#[test]
fn nested_waits_get_threads_beyond_any_bound() {
    fn nested(depth: u32) -> u32 {
        if depth == 0 {
            return 0;
        }
        let task = ONE.submit(move || nested(depth - 1));
        assert!(task.wait(Duration::MAX));
        1 + task.join().expect("no panic")
    }
    assert_eq!(ONE.submit(|| nested(150)).join().expect("no panic"), 150);
}

#[test]
fn repeated_short_waits_do_not_count_as_progress() {
    let pool: &'static Pool = Box::leak(Box::new(Pool::io("repeats").threads(2).build().expect("threads start")));
    let polls = move |n: u32| {
        let task = pool.submit(move || n);
        while !task.wait(Duration::from_millis(3)) {}
        task.join().expect("no panic")
    };
    // All of them wait before the first task that they wait for can start.
    let sum = join_all((0..150).map(|n| pool.submit(move || polls(n)))).expect("no panic");
    assert_eq!(sum.iter().sum::<u32>(), (0..150).sum::<u32>());
}
