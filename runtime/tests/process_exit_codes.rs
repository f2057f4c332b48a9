//! The end of worker processes on Windows: an error names the exit code and what it means, and no worker outlives its
//! parent.
#![cfg(windows)]

use std::io::{BufRead, BufReader, Read};
use std::process::{self, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fanfold::{Pool, Sender, Task, TaskError, channel, join_all, parallel};

fanfold::process_tests!();

/// What a task does to its process.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
enum Fault {
    None,
    Abort,
    Overflow,
    AccessViolation,
    Exit(i32),
}

static WORKERS: Pool = Pool::process("workers").threads(2);

#[parallel(kind = "process", pool = WORKERS)]
fn apply(fault: Fault, n: u32) -> u32 {
    match fault {
        Fault::None => n,
        Fault::Abort => process::abort(),
        Fault::Overflow => overflow(n),
        Fault::AccessViolation => {
            // SAFETY: deliberately undefined: the invalid write must end this process.
            unsafe { std::ptr::null_mut::<u32>().wrapping_add(16).write_volatile(1) };
            n
        }
        Fault::Exit(code) => process::exit(code),
    }
}

#[allow(unconditional_recursion, reason = "overflows the stack deliberately")]
fn overflow(n: u32) -> u32 {
    let here = std::hint::black_box([n; 1_000]);
    overflow(here[0] + 1) + here[1]
}

/// Submits the faulty task among others. The others return, and its error matches the expectation.
#[track_caller]
fn fails_only_its_own_task(fault: &Fault, expected_code: u32, says: &str) {
    let before: Vec<Task<u32>> = (0..20).map(|n| apply::submit(Fault::None, n)).collect();
    let lost = apply::submit(fault.clone(), 7);
    let after: Vec<Task<u32>> = (20..40).map(|n| apply::submit(Fault::None, n)).collect();
    let error = lost.join().expect_err("its worker is gone");
    let TaskError::WorkerDied { signal, code, message, .. } = &error else { panic!("{fault:?}: {error}") };
    assert_eq!((*signal, code.map(i32::cast_unsigned)), (None, Some(expected_code)), "{fault:?}: {error}");
    assert!(message.contains(says), "{fault:?}: {message}");
    assert_eq!(join_all(before).expect("untouched"), (0..20).collect::<Vec<_>>());
    assert_eq!(join_all(after).expect("untouched"), (20..40).collect::<Vec<_>>());
}

#[test]
fn an_error_names_an_access_violation() {
    fails_only_its_own_task(&Fault::AccessViolation, 0xC000_0005, "exit code 0xC0000005 (access violation)");
}

#[test]
fn an_error_names_a_stack_overflow() {
    fails_only_its_own_task(&Fault::Overflow, 0xC000_00FD, "exit code 0xC00000FD (stack overflow)");
}

#[test]
fn an_error_names_an_abort_and_an_exit_code() {
    fails_only_its_own_task(&Fault::Abort, 0xC000_0409, "exit code 0xC0000409 (aborted");
    fails_only_its_own_task(&Fault::Exit(3), 3, "exited with code 3");
    fails_only_its_own_task(&Fault::Exit(0), 0, "exited with code 0");
}

#[parallel(kind = "process", pool = WORKERS)]
fn announce_and_wait(sender: Sender<u32>, spins: bool) {
    sender.send(process::id()).expect("the parent listens");
    while spins {
        std::hint::spin_loop();
    }
    loop {
        thread::park();
    }
}

/// Set in the parent that is killed.
const IS_PARENT: &str = "FANFOLD_TEST_PARENT";

#[test]
fn workers_of_a_killed_parent_end() {
    if std::env::var_os(IS_PARENT).is_some() {
        let (sender, receiver) = channel();
        let _tasks = [announce_and_wait::submit(sender.clone(), true), announce_and_wait::submit(sender, false)];
        return receiver.iter().for_each(|pid| println!("worker {pid}"));
    }
    let mut parent = Command::new(std::env::current_exe().expect("this program has a path"));
    parent.args(["workers_of_a_killed_parent_end", "--exact", "--nocapture"]).env(IS_PARENT, "yes");
    let mut parent = parent.stdout(Stdio::piped()).spawn().expect("this program starts again");
    let mut out = BufReader::new(parent.stdout.take().expect("it is piped"));
    let lines = out.by_ref().lines().map_while(Result::ok).filter(|line| line.contains("worker "));
    assert_eq!(lines.take(2).count(), 2);
    parent.kill().expect("it runs");
    parent.wait().expect("it was killed");
    // The workers have inherited the pipe, so it ends with the last of them.
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(out.read_to_end(&mut Vec::new()).is_ok()));
    assert_eq!(end.recv_timeout(Duration::from_secs(20)), Ok(true), "an orphan runs on");
}
