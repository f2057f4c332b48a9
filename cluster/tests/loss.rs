//! Executors and schedulers that die, stop or come during a job.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fanfold::{TaskError, parallel};
use fanfold_cluster::LocalCluster;

fanfold_cluster::cluster_tests!();

/// Items of each job.
const ITEMS: u64 = 48;

/// Tells the test that it runs, by a file of its own, and takes a while.
#[parallel(kind = "cluster")]
fn slow_square(n: u64, folder: PathBuf) -> Result<u64, TaskError> {
    std::fs::write(folder.join(format!("{n}-{}", std::process::id())), "").expect("the folder is there");
    std::thread::sleep(Duration::from_millis(40));
    Ok(n * n)
}

/// Waits until this many items have begun.
fn wait_for_begun(folder: &std::path::Path, count: usize) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while std::fs::read_dir(folder).expect("the folder is there").count() < count {
        assert!(Instant::now() < deadline, "no items begin");
        std::thread::yield_now();
    }
}

fn signal(process: u32, signal: &str) {
    let sent = std::process::Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).status();
    assert!(sent.expect("there is `kill`").success());
}

/// Runs a job on two executors, and `meanwhile` when some of its items have begun.
fn run_with(meanwhile: impl FnOnce(&mut LocalCluster)) -> Vec<Result<u64, TaskError>> {
    let mut cluster = LocalCluster::start_with_slots(2, 2).expect("a cluster");
    let folder = tempfile::tempdir().expect("a folder");
    let items: Vec<(u64, PathBuf)> = (0..ITEMS).map(|n| (n, folder.path().to_owned())).collect();
    let job = slow_square::map(items).on(&cluster).chunk_size(1);
    std::thread::scope(|scope| {
        let job = scope.spawn(|| job.collect::<Vec<_>>());
        wait_for_begun(folder.path(), 8);
        meanwhile(&mut cluster);
        job.join().expect("the map does not panic")
    })
}

fn assert_squares(outcomes: Vec<Result<u64, TaskError>>) {
    let squares: Vec<u64> = outcomes.into_iter().map(|outcome| outcome.expect("every item has a result")).collect();
    assert_eq!(squares, (0..ITEMS).map(|n| n * n).collect::<Vec<u64>>());
}

#[test]
fn a_killed_executor_costs_nothing_but_time() {
    assert_squares(run_with(|cluster| signal(cluster.executor_ids()[0], "KILL")));
}

#[test]
fn a_stopped_executor_is_replaced_by_the_others() {
    assert_squares(run_with(|cluster| signal(cluster.executor_ids()[1], "STOP")));
}

#[test]
fn an_executor_that_joins_is_used() {
    assert_squares(run_with(|cluster| {
        cluster.add_executor().expect("one more");
        // Only the new one is left.
        for id in &cluster.executor_ids()[..2] {
            signal(*id, "KILL");
        }
    }));
}

#[test]
fn without_executors_the_job_ends_with_an_error() {
    let outcomes = run_with(|cluster| cluster.executor_ids().into_iter().for_each(|id| signal(id, "KILL")));
    let error = outcomes.into_iter().find_map(Result::err).expect("items have no result").to_string();
    assert!(error.contains("slow_square") && error.contains("xecutor"), "{error}");
}

#[test]
fn without_a_scheduler_the_job_ends_with_an_error() {
    let outcomes = run_with(|cluster| signal(cluster.scheduler_id(), "KILL"));
    let error = outcomes.into_iter().find_map(Result::err).expect("items have no result").to_string();
    assert!(error.contains("the scheduler at `df://127.0.0.1:"), "{error}");
}
