//! Resources after 10,000 tasks and 200 crashes: no file, thread, mapping or child process is left.
#![cfg(target_os = "linux")]

use std::fs;
use std::process;

use fanfold::{Bytes, Pool, TaskError, join_all, parallel};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("workers").threads(2);

#[parallel(kind = "process", pool = WORKERS)]
fn echo(bytes: Bytes) -> Bytes {
    bytes
}

#[parallel(kind = "process", pool = WORKERS)]
fn double(n: u64) -> u64 {
    n * 2
}

#[parallel(kind = "process", pool = WORKERS)]
fn crash(_n: u32) {
    process::abort();
}

#[parallel(kind = "process", pool = WORKERS)]
fn send_pid_and_wait(there: fanfold::Sender<u32>, back: fanfold::Receiver<u32>) {
    there.send(process::id()).expect("the test listens");
    back.recv().expect("the test answers");
}

/// Runs a task on both workers at once, so that both exist and neither is starting.
fn run_on_both_workers() {
    let (there, here) = fanfold::channel();
    let (answer, back) = fanfold::channel();
    let tasks = [send_pid_and_wait::submit(there.clone(), back.clone()), send_pid_and_wait::submit(there, back)];
    let pids = [here.recv(), here.recv()].map(|pid| pid.expect("both are there"));
    assert_ne!(pids[0], pids[1]);
    (0..2).for_each(|n| answer.send(n).expect("they listen"));
    join_all(tasks).expect("no panic");
}

/// The numbers of open files, threads, mappings of shared memory, and child processes.
fn resources() -> [usize; 4] {
    let files = fs::read_dir("/proc/self/fd").expect("it can be read").count();
    let threads = fs::read_dir("/proc/self/task").expect("it can be read");
    let mut children = 0;
    let mut count = 0;
    for thread in threads.flatten() {
        count += 1;
        let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children += list.split_whitespace().count();
    }
    let maps = fs::read_to_string("/proc/self/maps").expect("it can be read");
    let shared =
        maps.lines().filter(|line| ["memfd:fanfold", "/fanfold-shm-"].iter().any(|name| line.contains(name))).count();
    [files, count, shared, children]
}

#[test]
fn ten_thousand_tasks_and_two_hundred_crashes_leave_nothing_behind() {
    let work = |tasks: u64, crashes: u32| {
        let doubled = join_all((0..tasks).map(double::submit)).expect("no crash");
        assert!(doubled.into_iter().eq((0..tasks).map(|n| n * 2)));
        for n in 0..crashes {
            assert!(matches!(crash::submit(n).join(), Err(TaskError::WorkerDied { .. })));
        }
        for size in [10, 100_000, 2_000_000] {
            let bytes = Bytes::from(vec![3; size]);
            assert_eq!(echo(bytes.clone()), bytes);
        }
        // Large blocks belong to a worker: after a crash of both, this process holds none.
        crash::submit(0).join().expect_err("it crashes");
        crash::submit(0).join().expect_err("it crashes");
        run_on_both_workers();
    };
    work(100, 10);
    let before = resources();
    work(10_000, 200);
    let after = resources();
    // One worker may hold segments for its last large blocks, and the other one not.
    let [files, threads, shared, children] = [0, 1, 2, 3].map(|n| after[n].abs_diff(before[n]));
    assert_eq!((threads, children), (0, 0), "{before:?} {after:?}");
    assert!(files == 0 && shared <= 8, "{before:?} {after:?}");
}
