//! Pools that are resized while their work runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use fanfold::{BuildError, Pending, Pool, join_all};

const LONG: Duration = Duration::from_secs(30);

/// Waits until `wanted` threads are here at the same time.
#[derive(Default)]
struct Meeting(Mutex<usize>, Condvar);

impl Meeting {
    fn meet(&self, wanted: usize) -> bool {
        let mut here = self.0.lock().expect("no panic");
        *here += 1;
        self.1.notify_all();
        let (here, _) = self.1.wait_timeout_while(here, LONG, |here| *here < wanted).expect("no panic");
        *here >= wanted
    }
}

/// The most tasks of this pool that run at once, of `tasks`.
fn most_at_once(pool: &Pool, tasks: usize) -> usize {
    let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let all = (0..tasks).map(|_| {
        let counts = Arc::clone(&counts);
        pool.submit(move || {
            counts.1.fetch_max(counts.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            (0..100).for_each(|_| std::thread::yield_now());
            counts.0.fetch_sub(1, Ordering::SeqCst);
        })
    });
    let all: Vec<_> = all.collect();
    join_all(all).expect("all return");
    counts.1.load(Ordering::SeqCst)
}

fn grows_and_shrinks(pool: &Pool) {
    // More tasks at once than the pool was built for, while the first ones run and the others wait in the queue.
    let meeting = Arc::new(Meeting::default());
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let meeting = Arc::clone(&meeting);
            pool.submit(move || meeting.meet(6))
        })
        .collect();
    pool.resize(6).expect("6 is a size");
    assert_eq!(pool.stats().limit, 6);
    assert!(join_all(tasks).expect("all return").into_iter().all(|met| met), "6 run at once");
    pool.resize(1).expect("1 is a size");
    assert_eq!(most_at_once(pool, 50), 1);
    // Waits nest in a pool of one.
    let (sum, total) = (pool.map(0..100_u64, |n| n).sum::<u64>(), pool.stats().limit);
    assert_eq!((sum, total), (4_950, 1));
    pool.resize(2).expect("2 is a size");
    assert!(most_at_once(pool, 50) <= 2);
}

#[test]
fn an_io_pool_grows_and_shrinks_while_it_works() {
    grows_and_shrinks(&Pool::io("resized-io").threads(2).build().expect("a thread starts"));
}

#[test]
fn a_cpu_pool_grows_and_shrinks_while_it_works() {
    grows_and_shrinks(&Pool::cpu("resized-cpu").threads(2).build().expect("threads start"));
}

#[test]
fn running_tasks_go_on_when_a_pool_shrinks() {
    let pool = Pool::io("shrinks").threads(3).build().expect("a thread starts");
    let (started, starts) = mpsc::channel();
    let (releases, tasks): (Vec<_>, Vec<_>) = (0..3)
        .map(|n| {
            let (release, released) = mpsc::channel::<()>();
            let started = started.clone();
            let task = pool.submit(move || {
                started.send(()).expect("the test listens");
                released.recv().is_err().then_some(n)
            });
            (release, task)
        })
        .unzip();
    (0..3).for_each(|_| starts.recv_timeout(LONG).expect("all three run"));
    pool.resize(1).expect("1 is a size");
    assert_eq!(pool.stats().busy, 3, "none is stopped");
    drop(releases);
    let results = join_all(tasks).expect("all return");
    assert_eq!(results, [Some(0), Some(1), Some(2)]);
    assert_eq!(most_at_once(&pool, 20), 1);
}

#[test]
fn a_pool_cannot_be_resized_to_nothing_or_to_too_many() {
    let pool = Pool::cpu("refused").threads(2).build().expect("threads start");
    assert!(matches!(pool.resize(0), Err(BuildError::NoThreads)));
    assert!(matches!(pool.resize(usize::MAX), Err(BuildError::TooManyThreads { .. })));
    assert_eq!(pool.stats().limit, 2, "nothing has changed");
    assert_eq!(pool.submit(|| 7).join().ok(), Some(7));
    let io = Pool::io("no-limit").threads(1).build().expect("a thread starts");
    io.resize(usize::MAX).expect("it counts as 65,535");
    assert_eq!(io.submit(|| 7).join().ok(), Some(7));
}

#[test]
fn a_closed_pool_stays_closed_when_it_is_resized() {
    let pool = Pool::io("closed").threads(1).build().expect("a thread starts");
    pool.shutdown(Pending::Run);
    pool.resize(4).expect("4 is a size");
    pool.submit(|| ()).join().expect_err("it is closed");
}

#[test]
fn resizes_race_with_tasks_and_maps() {
    let pool = Pool::cpu("raced").threads(2).build().expect("threads start");
    std::thread::scope(|scope| {
        scope.spawn(|| (0..200).for_each(|n| pool.resize(1 + n % 5).expect("a size")));
        for _ in 0..2 {
            scope.spawn(|| {
                for n in 0..100_u64 {
                    let nested = pool.submit(move || n + 1);
                    assert_eq!(pool.map(0..50_u64, |x| x).chunk_size(1).collect::<Vec<_>>().len(), 50);
                    assert_eq!(nested.join().ok(), Some(n + 1));
                }
            });
        }
    });
    pool.resize(3).expect("a size");
    assert_eq!((pool.stats().limit, pool.stats().queued), (3, 0));
}
