//! Maps in worker processes, inside of a task that is cancelled and on a pool that is killed: their workers are killed.

use std::thread;
use std::time::{Duration, Instant};

use fanfold::shared::Counter;
use fanfold::{Pool, Task, TaskError, TaskSet, parallel};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("cancelled-maps").threads(2);

/// Longer than any wait of these tests.
const FOREVER: Duration = Duration::from_secs(600);
const LIMIT: Duration = Duration::from_secs(60);

#[parallel(kind = "process", pool = WORKERS)]
fn forever(started: Counter) -> u64 {
    started.add(1);
    thread::sleep(FOREVER);
    0
}

#[parallel(kind = "process", pool = WORKERS)]
fn double(n: u64) -> u64 {
    2 * n
}

#[parallel(kind = "process", pool = WORKERS, chunk_size = 1)]
#[allow(clippy::needless_pass_by_value, reason = "each chunk gets a clone")]
fn chunks_forever(#[chunk] numbers: Vec<u64>, started: Counter) -> Vec<u64> {
    started.add(1);
    thread::sleep(FOREVER);
    numbers
}

fn items(started: &Counter) -> Vec<Counter> {
    (0..40).map(|_| started.clone()).collect()
}

fn wait_for(started: &Counter, items: i64) {
    let begun = Instant::now();
    while started.get() < items {
        assert!(begun.elapsed() < LIMIT, "the items do not start");
        thread::yield_now();
    }
}

/// The outcome of a task that is cancelled while two of its items run.
fn cancel<T>(started: &Counter, task: Task<T>) -> Result<T, TaskError> {
    wait_for(started, 2);
    let begun = Instant::now();
    assert!(!task.cancel());
    let outcome = task.join();
    assert!(begun.elapsed() < LIMIT, "its workers are killed");
    assert_eq!(started.get(), 2, "no further item starts");
    outcome
}

#[test]
fn the_workers_of_a_cancelled_map_are_killed() {
    let started = Counter::new(0);
    let outcome = cancel(&started, forever::map(items(&started)).collect_async::<Vec<_>>());
    assert!(matches!(outcome, Err(TaskError::Cancelled)), "{outcome:?}");

    let ends: [fn(&Counter) -> u64; 4] = [
        |started| forever::map(items(started)).collect::<Vec<_>>().len() as u64,
        |started| forever::map(items(started)).sum(),
        |started| forever::map(items(started)).outcomes().len() as u64,
        |started| forever::map(items(started)).filter(|_| true).count() as u64,
    ];
    for (index, end) in ends.into_iter().enumerate() {
        let started = Counter::new(0);
        let theirs = started.clone();
        let outcome = cancel(&started, Pool::io_default().submit(move || end(&theirs)));
        assert!(matches!(outcome, Err(TaskError::Cancelled)), "end {index}: {outcome:?}");
    }

    let started = Counter::new(0);
    let outcome = cancel(&started, chunks_forever::submit((0..40).collect(), started.clone()));
    assert!(matches!(outcome, Err(TaskError::Cancelled)), "{outcome:?}");
    assert_eq!(double::map(0..100).sum::<u64>(), 9_900, "new workers run later maps");
}

#[test]
fn a_dropped_handle_kills_the_workers_of_its_map() {
    let started = Counter::new(0);
    let task = forever::map(items(&started)).collect_async::<Vec<_>>().cancel_on_drop();
    wait_for(&started, 2);
    drop(task);
    assert_eq!(double::map(0..100).sum::<u64>(), 9_900, "both workers are free");

    let started = Counter::new(0);
    let mut set = TaskSet::new();
    set.push(forever::map(items(&started)).collect_async::<Vec<_>>());
    wait_for(&started, 2);
    drop(set);
    assert_eq!(double::map(0..100).sum::<u64>(), 9_900, "both workers are free");
}

#[test]
fn a_map_of_a_killed_pool_ends_with_the_panic_of_a_closed_one() {
    let pool = Pool::process("killed-map").threads(2).build().unwrap();
    let started = Counter::new(0);
    let caller = thread::scope(|scope| {
        let caller = scope.spawn(|| forever::map(items(&started)).on(&pool).collect::<Vec<_>>());
        wait_for(&started, 2);
        pool.kill();
        caller.join()
    });
    let payload = caller.expect_err("the pool was killed");
    let message = payload.downcast_ref::<String>().expect("a message");
    assert!(message.contains("its pool was closed"), "{message}");
    assert_eq!(started.get(), 2, "no further item starts");
}
