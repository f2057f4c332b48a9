//! Pools of processes: what they count, how long their workers live, and what they refuse.

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
fn no_worker_runs_more_tasks_than_it_may_however_they_come() {
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
fn a_pool_counts_what_runs_waits_and_has_ended() {
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
fn misplaced(n: u32) -> u32 {
    n
}

#[track_caller]
fn refuses<T>(call: impl FnOnce() -> T, why: &str) {
    let panic = catch_unwind(AssertUnwindSafe(call)).err().expect("it cannot be run there");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains(why), "{message}");
}

#[test]
fn what_cannot_be_sent_to_a_process_is_refused() {
    let why = "the process pool `counted` cannot run";
    refuses(|| COUNTED.submit(|| 5).join(), why);
    refuses(|| COUNTED.map(0..3, |n: u32| n).sum::<u32>(), why);
    refuses(|| triple::map(0..3).on(&COUNTED).sum::<u32>(), why);
    refuses(|| misplaced(1), why);
    refuses(|| misplaced::submit(1).join(), why);
    let df = df!("x" => 0..3_i64).expect("one column");
    refuses(|| df.par_chunks(2).on(&COUNTED).map(Ok), why);
    let threads = Pool::io("threads").threads(1).build().expect("a pool");
    refuses(|| square::map(0..3).on(&threads).sum::<u32>(), "the io pool `threads` has no processes");
    assert_eq!(square::map(0..3).on(&COUNTED).sum::<u32>(), 5);
}

#[parallel(kind = "process", pool = CLOSED)]
fn too_late(n: u32) -> u32 {
    n
}

static CLOSED: Pool = Pool::process("closed").threads(1);

#[test]
fn a_closed_pool_runs_nothing_more() {
    assert_eq!(too_late(1), 1);
    CLOSED.shutdown(fanfold::Pending::Run);
    refuses(|| too_late(2), "too_late` cannot run: its pool was closed");
    refuses(|| too_late::map(0..3).sum::<u32>(), "too_late` cannot run on all items: its pool was closed");
    assert!(matches!(too_late::submit(3).join(), Err(fanfold::TaskError::PoolClosed)));
}
