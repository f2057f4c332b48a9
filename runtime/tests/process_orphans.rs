//! Workers of a parent that is killed end. The parent is a process of its own: this program runs itself.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};

use fanfold::{Pool, Sender, channel, parallel};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("workers").threads(2);

#[parallel(kind = "process", pool = WORKERS)]
fn run_forever(sender: Sender<u32>) {
    sender.send(process::id()).expect("the parent listens");
    loop {
        std::hint::spin_loop();
    }
}

#[parallel(kind = "process", pool = WORKERS)]
fn sleep_forever(sender: Sender<u32>) {
    sender.send(process::id()).expect("the parent listens");
    loop {
        std::thread::park();
    }
}

/// Set in the parent that is killed.
const IS_PARENT: &str = "FANFOLD_TEST_PARENT";

/// Whether a process runs. A zombie does not.
fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

#[test]
fn workers_of_a_killed_parent_end() {
    if std::env::var_os(IS_PARENT).is_some() {
        return run_workers();
    }
    let mut parent = Command::new(std::env::current_exe().expect("this program has a path"));
    parent.args(["workers_of_a_killed_parent_end", "--exact", "--nocapture"]).env(IS_PARENT, "yes");
    let mut parent = parent.stdout(Stdio::piped()).spawn().expect("this program starts again");
    let out = BufReader::new(parent.stdout.take().expect("it is piped"));
    // With one test thread the harness prints the test's name in front of the first line.
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
    // Of these processes only: others may be about to remove a name.
    let own: Vec<String> = pids.iter().chain(&[parent.id()]).map(|pid| format!("fanfold-shm-{pid:x}-")).collect();
    let is_left = |name: &str| own.iter().any(|own| name.starts_with(own));
    assert_eq!(left.filter(|file| is_left(&file.file_name().to_string_lossy())).count(), 0);
}

/// The body of the parent, until it is killed.
fn run_workers() {
    let (sender, receiver) = channel();
    let _spins = run_forever::submit(sender.clone());
    let _sleeps = sleep_forever::submit(sender);
    for pid in receiver.iter() {
        println!("worker {pid}");
    }
}
