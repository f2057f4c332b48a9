//! A parent that is killed leaves no worker behind. It is a process of its own: this very program, told to be it.

use std::io::{BufRead, BufReader};
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};

use fanfold::{Pool, Sender, channel, parallel};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("workers").threads(2);

#[parallel(kind = "process", pool = WORKERS)]
fn run_for_ever(told: Sender<u32>) {
    told.send(process::id()).expect("the parent listens");
    loop {
        std::hint::spin_loop();
    }
}

#[parallel(kind = "process", pool = WORKERS)]
fn sleep_for_ever(told: Sender<u32>) {
    told.send(process::id()).expect("the parent listens");
    loop {
        std::thread::park();
    }
}

/// Set for the parent that is killed.
const VICTIM: &str = "FANFOLD_TEST_VICTIM";

/// Whether a process runs; one that has ended and that nobody has waited for does not.
fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

#[test]
fn a_parent_that_is_killed_leaves_no_orphans() {
    if std::env::var_os(VICTIM).is_some() {
        return run_workers();
    }
    let mut parent = Command::new(std::env::current_exe().expect("this program has a path"));
    parent.args(["a_parent_that_is_killed_leaves_no_orphans", "--exact", "--nocapture"]).env(VICTIM, "yes");
    let mut parent = parent.stdout(Stdio::piped()).spawn().expect("it can be started again");
    let out = BufReader::new(parent.stdout.take().expect("it is piped"));
    // On one core the test's name stands before what it prints.
    let pids = out.lines().map_while(Result::ok).filter_map(|line| line.split_once("worker ")?.1.parse().ok());
    let pids: Vec<u32> = pids.take(2).collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");
    parent.kill().expect("it runs");
    parent.wait().expect("it was killed");
    let deadline = Instant::now() + Duration::from_secs(1);
    while pids.iter().any(|pid| runs(*pid)) {
        assert!(Instant::now() < deadline, "an orphan runs on: {pids:?}");
        std::thread::yield_now();
    }
    let left = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    assert_eq!(left.filter(|file| file.file_name().to_string_lossy().contains("fanfold")).count(), 0);
}

/// What the parent does until it is killed.
fn run_workers() {
    let (told, tells) = channel();
    let _spins = run_for_ever::submit(told.clone());
    let _sleeps = sleep_for_ever::submit(told);
    for pid in tells.iter() {
        println!("worker {pid}");
    }
}
