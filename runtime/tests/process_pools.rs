//! Process pools: statistics, the life time of workers, and calls that they refuse.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;

use fanfold::prelude::*;
use fanfold::{Pool, Receiver, Sender, TaskError, channel, join_all};
use polars::prelude::*;

fanfold::process_tests!();

static REPLACED: Pool = Pool::process("replaced").threads(2).max_tasks_per_worker(7);

#[parallel(kind = "process", pool = REPLACED)]
fn pid_of_replaced(_n: u32) -> u32 {
    process::id()
}

#[test]
fn no_worker_exceeds_max_tasks_per_worker() {
    let pids = |how: &str, pids: Vec<u32>| {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        pids.into_iter().for_each(|pid| *counts.entry(pid).or_default() += 1);
        assert!(counts.values().all(|count| *count <= 7), "{how}: {counts:?}");
    };
    pids("map", pid_of_replaced::map(0..100).collect());
    pids("submit", join_all((0..100).map(pid_of_replaced::submit)).expect("no crash"));
    pids("map in blocks", pid_of_replaced::map(0..100).chunk_size(10).collect());
}

static COUNTED: Pool = Pool::process("counted").threads(1);

#[parallel(kind = "process", pool = COUNTED)]
fn wait_for(there: Sender<()>, answer: Receiver<bool>) {
    there.send(()).expect("the test listens");
    assert!(answer.recv().expect("the test answers"), "it is to panic");
}

#[parallel(kind = "process", pool = COUNTED)]
fn abort() {
    process::abort();
}

#[test]
fn stats_count_running_queued_and_finished_tasks() {
    let (there, here) = channel();
    let (answers, answer) = channel();
    let [first, second] = [(); 2].map(|()| wait_for::submit(there.clone(), answer.clone()));
    here.recv().expect("one runs");
    let stats = COUNTED.stats();
    assert_eq!((stats.limit, stats.busy, stats.done), (1, 1, 0), "{stats:?}");
    let never = wait_for::submit(there, answer);
    assert!(never.cancel());
    answers.send(true).expect("it listens");
    first.join().expect("no panic");
    answers.send(false).expect("it listens");
    second.join().expect_err("it panics");
    assert!(matches!(abort::submit().join(), Err(TaskError::WorkerDied { .. })));
    let stats = COUNTED.stats();
    assert_eq!((stats.done, stats.failed, stats.cancelled), (1, 2, 1), "{stats:?}");
}

#[parallel(kind = "process")]
fn square(n: u32) -> u32 {
    n * n
}

#[parallel(kind = "cpu")]
fn triple(n: u32) -> u32 {
    n * 3
}

#[parallel(kind = "cpu", pool = COUNTED)]
fn on_a_process_pool(n: u32) -> u32 {
    n
}

#[track_caller]
fn assert_panics<T>(call: impl FnOnce() -> T, why: &str) {
    let panic = catch_unwind(AssertUnwindSafe(call)).err().expect("it cannot be run there");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains(why), "{message}");
}

#[test]
fn closures_and_borrowed_data_cannot_run_on_a_process_pool() {
    let why = "the process pool `counted` cannot run";
    assert_panics(|| COUNTED.submit(|| 5).join(), why);
    assert_panics(|| COUNTED.map(0..3, |n: u32| n).sum::<u32>(), why);
    assert_panics(|| triple::map(0..3).on(&COUNTED).sum::<u32>(), why);
    assert_panics(|| on_a_process_pool(1), why);
    assert_panics(|| on_a_process_pool::submit(1).join(), why);
    let df = df!("x" => 0..3_i64).expect("one column");
    assert_panics(|| df.par_chunks(2).on(&COUNTED).map(Ok), why);
    let threads = Pool::io("threads").threads(1).build().expect("a pool");
    assert_panics(|| square::map(0..3).on(&threads).sum::<u32>(), "the io pool `threads` has no processes");
    assert_eq!(square::map(0..3).on(&COUNTED).sum::<u32>(), 5);
}

#[parallel(kind = "process", pool = CLOSED)]
fn on_a_closed_pool(n: u32) -> u32 {
    n
}

static CLOSED: Pool = Pool::process("closed").threads(1);

#[test]
fn a_closed_process_pool_runs_no_more_calls() {
    assert_eq!(on_a_closed_pool(1), 1);
    CLOSED.shutdown(fanfold::Pending::Run);
    assert_panics(|| on_a_closed_pool(2), "on_a_closed_pool` cannot run: its pool was closed");
    assert_panics(
        || on_a_closed_pool::map(0..3).sum::<u32>(),
        "on_a_closed_pool` cannot run on all items: its pool was closed",
    );
    assert_panics(
        || on_a_closed_pool::map(0..3).collect::<Vec<_>>().len(),
        "on_a_closed_pool` cannot run on all items: its pool was closed",
    );
    assert!(matches!(on_a_closed_pool::submit(3).join(), Err(fanfold::TaskError::PoolClosed)));
}
