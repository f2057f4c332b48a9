//! Functions of `kind = "cluster"` where `FANFOLD_CLUSTER` is set and where it is not, and drivers that are killed.
//! Each driver is this program, which runs one of the ignored tests.

use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fanfold::parallel;
use fanfold_cluster::{Cluster, LocalCluster};

fanfold_cluster::cluster_tests!();

/// The process that has started the worker of the call.
#[parallel(kind = "cluster")]
fn parent_of_call(_: u64) -> u32 {
    parent_id()
}

#[parallel(kind = "cluster", chunks = 6)]
fn parents(numbers: Vec<u64>) -> Vec<(u64, u32)> {
    numbers.into_iter().map(|number| (number, parent_id())).collect()
}

/// Calls a function of `kind = "cluster"`, where the environment names a cluster.
#[parallel(kind = "process")]
fn calls_inside(number: u64) -> bool {
    parent_of_call::map([number, number]).collect::<Vec<u32>>() == [parent_id(); 2]
}

#[parallel(kind = "cluster")]
fn endless(_: Vec<u8>) {
    loop {
        std::thread::park();
    }
}

#[parallel(kind = "cluster")]
fn begins_and_never_ends(file: PathBuf) {
    std::fs::write(file, "").expect("it can be written");
    loop {
        std::thread::park();
    }
}

#[parallel(kind = "cluster")]
fn wait_for_file(path: PathBuf) {
    while !path.exists() {
        std::thread::yield_now();
    }
}

/// This program as a driver that runs one ignored test.
fn driver(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("it has a path"));
    command.args(["--exact", test, "--ignored", "--nocapture"]).stdin(Stdio::null());
    command
}

#[test]
fn without_the_variable_calls_run_on_this_machine() {
    assert_eq!(parent_of_call(1), std::process::id());
    assert!(parents((0..20).collect()).iter().all(|(_, parent)| *parent == std::process::id()));
}

#[test]
fn with_the_variable_calls_maps_and_chunks_run_on_the_cluster() {
    let cluster = LocalCluster::start_with_slots(2, 1).expect("a cluster");
    let executors = cluster.executor_ids().iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let mut driver = driver("calls_on_the_cluster");
    driver.env("FANFOLD_CLUSTER", cluster.cluster().address()).env("TEST_EXECUTORS", executors);
    assert!(driver.status().expect("it starts").success());
}

#[test]
#[ignore = "a driver of the test above"]
fn calls_on_the_cluster() {
    let executors = std::env::var("TEST_EXECUTORS").expect("the test sets it");
    let executors: Vec<u32> = executors.split(' ').map(|id| id.parse().expect("an id")).collect();
    assert!(executors.contains(&parent_of_call(1)));
    assert!(executors.contains(&parent_of_call::submit(2).join().expect("it runs")));
    let mapped: Vec<u32> = parent_of_call::map(0..40).collect();
    assert!(mapped.iter().all(|parent| executors.contains(parent)));
    let cut = parents((0..60).collect());
    assert!(cut.iter().map(|(number, _)| *number).eq(0..60));
    assert!(cut.iter().all(|(_, parent)| executors.contains(parent)));
}

#[test]
fn calls_inside_of_a_call_stay_on_its_machine() {
    // The executors have the variable as well, and nothing answers there.
    let mut driver = driver("a_call_inside_of_a_call");
    driver.env("FANFOLD_CLUSTER", "df://127.0.0.1:1");
    assert!(driver.status().expect("it starts").success());
}

#[test]
#[ignore = "a driver of the test above"]
fn a_call_inside_of_a_call() {
    let cluster = LocalCluster::start_with_slots(1, 1).expect("a cluster");
    assert_eq!(calls_inside::map([1]).on(&cluster).collect::<Vec<bool>>(), [true]);
}

#[test]
fn a_variable_that_names_no_cluster_is_a_clear_panic() {
    let mut driver = driver("calls_on_the_cluster");
    driver.env("FANFOLD_CLUSTER", "df://127.0.0.1:1").env("TEST_EXECUTORS", "1");
    let output = driver.stderr(Stdio::piped()).stdout(Stdio::piped()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("df://127.0.0.1:1") && said.contains("cluster scheduler"), "{said}");
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("the folder is there").count()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_data_of_a_killed_driver_is_deleted_and_its_calls_end() {
    let storage = tempfile::tempdir().expect("a folder");
    let cluster = LocalCluster::start_with_slots(1, 1).expect("a cluster");
    let mut driver = driver("runs_forever");
    driver.env("TEST_ADDRESS", cluster.cluster().address()).env("TEST_STORAGE", storage.path());
    let mut driver = driver.spawn().expect("it starts");
    let workers = |executor: u32| {
        std::fs::read_to_string(format!("/proc/{executor}/task/{executor}/children")).unwrap_or_default()
    };
    // Children are listed by the thread that started them, so all threads are asked.
    let has_workers = |executor: u32| {
        let threads = std::fs::read_dir(format!("/proc/{executor}/task")).expect("it runs").flatten();
        let mut children = threads.map(|thread| std::fs::read_to_string(thread.path().join("children")));
        !workers(executor).is_empty()
            || children.any(|children| children.is_ok_and(|children| !children.trim().is_empty()))
    };
    let executor = cluster.executor_ids()[0];
    wait_until("the call begins", || has_workers(executor) && entries(storage.path()) == 1);
    driver.kill().expect("it runs");
    driver.wait().expect("it was killed");
    assert_eq!(entries(storage.path()), 1);
    wait_until("the data is deleted", || entries(storage.path()) == 0);
    // The call of the dead driver has left the only slot.
    assert_eq!(parent_of_call::map([1]).on(&cluster).collect::<Vec<u32>>(), [executor]);
}

#[test]
#[ignore = "a driver of the test above"]
fn runs_forever() {
    let storage = std::env::var("TEST_STORAGE").expect("the test sets it");
    let address = std::env::var("TEST_ADDRESS").expect("the test sets it");
    let cluster = Cluster::options().storage(storage).connect(&address).expect("it runs");
    endless::map([vec![1; 4 << 20]]).on(&cluster).for_each(drop);
}

#[test]
fn a_cancelled_call_ends_its_worker() {
    let cluster = LocalCluster::start_with_slots(1, 1).expect("a cluster");
    let folder = tempfile::tempdir().expect("a folder");
    for round in 0..4 {
        let file = folder.path().join(round.to_string());
        let task = fanfold::Pool::io_default().submit({
            let (cluster, file) = (cluster.cluster().clone(), file.clone());
            move || begins_and_never_ends::map([file]).on(&cluster).for_each(drop)
        });
        // In every other round it is cancelled at some time before.
        if round % 2 == 0 {
            wait_until("the call begins", || file.exists());
        }
        task.cancel();
        // The only slot is free again.
        assert_eq!(parent_of_call::map([round]).on(&cluster).collect::<Vec<u32>>(), cluster.executor_ids());
    }
}

#[test]
fn calls_that_come_at_the_same_time_do_not_wait_for_each_other() {
    let cluster = LocalCluster::start_with_slots(1, 2).expect("a cluster");
    let folder = tempfile::tempdir().expect("a folder");
    for round in 0..10 {
        let file = folder.path().join(round.to_string());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| wait_for_file::map([file.clone()]).on(&cluster).for_each(drop));
            let parents: Vec<u32> = parent_of_call::map([round]).on(&cluster).collect();
            assert_eq!(parents, cluster.executor_ids());
            std::fs::write(&file, "").expect("it can be written");
            waits.join().expect("it does not panic");
        });
    }
}
