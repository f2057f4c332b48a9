//! Worker processes that crash, exit, are killed or run out of memory: each fault fails only the task that ran, and
//! that task's error names the cause.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::process;

use fanfold::{Pool, Task, TaskError, join_all, parallel};

fanfold::process_tests!();

/// What a task does to its process.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
enum Fault {
    None,
    Abort,
    Overflow,
    Segfault,
    Exit(i32),
    Kill,
    CloseSockets,
    Scribble,
    UseAllMemory,
    Panic,
}

static WORKERS: Pool = Pool::process("workers").threads(2).memory_limit(200 << 20);

#[parallel(kind = "process", pool = WORKERS)]
fn apply(fault: Fault, n: u32) -> u32 {
    match fault {
        Fault::None => {}
        Fault::Abort => process::abort(),
        Fault::Overflow => return overflow(n),
        Fault::Segfault => {
            // SAFETY: deliberately undefined: the invalid write must end this process.
            unsafe { std::ptr::null_mut::<u32>().wrapping_add(16).write_volatile(1) };
        }
        Fault::Exit(code) => process::exit(code),
        Fault::Kill => kill(process::id()),
        Fault::CloseSockets => {
            // SAFETY: only Fanfold and the standard library own these descriptors, and this thread does nothing else.
            unsafe {
                (3..1_000).for_each(|fd| {
                    libc::close(fd);
                });
            }
            loop {
                std::thread::park();
            }
        }
        Fault::Scribble => {
            let maps = fs::read_to_string("/proc/self/maps").expect("it can be read");
            let shared = maps
                .lines()
                .find(|line| ["memfd:fanfold", "/fanfold-shm-"].iter().any(|name| line.contains(name)))
                .expect("it is mapped");
            let (start, end) = shared.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
            let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).expect("an address"));
            // SAFETY: deliberately undefined: overwrites shared memory as a wild pointer would.
            unsafe { std::ptr::write_bytes(std::ptr::with_exposed_provenance_mut::<u8>(start), 0xa5, end - start) };
        }
        Fault::UseAllMemory => {
            let mut blocks: Vec<Vec<u8>> = Vec::new();
            loop {
                blocks.push(vec![1; 1 << 20]);
            }
        }
        Fault::Panic => panic!("a panic is no crash"),
    }
    n
}

#[allow(unconditional_recursion, reason = "overflows the stack deliberately")]
fn overflow(n: u32) -> u32 {
    let here = std::hint::black_box([n; 1_000]);
    overflow(here[0] + 1) + here[1]
}

#[parallel(kind = "process", pool = WORKERS)]
fn pid() -> u32 {
    process::id()
}

fn kill(pid: u32) {
    // SAFETY: `kill` takes numbers; the process is a worker of this test.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}

/// Submits the faulty task among others. The others return, and its error matches the expectation.
#[track_caller]
fn fails_only_its_own_task(fault: &Fault, signals: &[i32], expected_code: Option<i32>, says: &str) {
    let before: Vec<Task<u32>> = (0..20).map(|n| apply::submit(Fault::None, n)).collect();
    let lost = apply::submit(fault.clone(), 7);
    let after: Vec<Task<u32>> = (20..40).map(|n| apply::submit(Fault::None, n)).collect();
    let error = lost.join().expect_err("its worker is gone");
    let TaskError::WorkerDied { signal, code, message, function, .. } = &error else { panic!("{fault:?}: {error}") };
    assert!(signal.map_or(signals.is_empty(), |signal| signals.contains(&signal)), "{fault:?}: {error}");
    assert_eq!(*code, expected_code, "{fault:?}: {error}");
    assert!(message.contains(says), "{fault:?}: {message}");
    assert_eq!(*function, "process_faults::apply");
    assert_eq!(join_all(before).expect("untouched"), (0..20).collect::<Vec<_>>());
    assert_eq!(join_all(after).expect("untouched"), (20..40).collect::<Vec<_>>());
}

#[test]
fn a_fault_in_a_worker_fails_only_the_task_that_caused_it() {
    fails_only_its_own_task(&Fault::Abort, &[libc::SIGABRT], None, "SIGABRT");
    fails_only_its_own_task(&Fault::Overflow, &[libc::SIGSEGV, libc::SIGABRT], None, "killed by SIG");
    fails_only_its_own_task(&Fault::Segfault, &[libc::SIGSEGV], None, "SIGSEGV (signal 11)");
    fails_only_its_own_task(&Fault::Exit(3), &[], Some(3), "exited with code 3");
    fails_only_its_own_task(&Fault::Exit(0), &[], Some(0), "exited with code 0");
    fails_only_its_own_task(&Fault::Kill, &[libc::SIGKILL], None, "SIGKILL (signal 9)");
    fails_only_its_own_task(&Fault::CloseSockets, &[], None, "closed its connection");
    fails_only_its_own_task(&Fault::UseAllMemory, &[libc::SIGABRT], None, "memory limit is 209715200 bytes");
    assert!(matches!(apply::submit(Fault::Panic, 0).join(), Err(TaskError::Panicked { .. })));
}

#[test]
fn a_worker_that_overwrites_shared_memory_fails_its_task() {
    let error = apply::submit(Fault::Scribble, 1).join().expect_err("nothing that it says can be believed");
    assert!(matches!(error, TaskError::WorkerDied { .. } | TaskError::Wire { .. }), "{error}");
    assert_eq!(apply(Fault::None, 5), 5);
}

#[test]
fn a_worker_killed_while_idle_fails_no_task() {
    for _ in 0..20 {
        kill(pid());
        assert_eq!(apply(Fault::None, 9), 9);
    }
}

#[parallel(kind = "process", pool = WORKERS)]
fn send_pid_and_wait(sender: fanfold::Sender<u32>) {
    sender.send(process::id()).expect("the test listens");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_worker_killed_while_it_runs_fails_its_task() {
    let (sender, receiver) = fanfold::channel();
    let lost = send_pid_and_wait::submit(sender);
    let worker = receiver.recv().expect("it runs");
    let others: Vec<Task<u32>> = (0..20).map(|n| apply::submit(Fault::None, n)).collect();
    kill(worker);
    assert!(matches!(lost.join(), Err(TaskError::WorkerDied { signal: Some(9), .. })));
    assert_eq!(join_all(others).expect("untouched"), (0..20).collect::<Vec<_>>());
}

#[parallel(kind = "process", pool = WORKERS)]
fn panic_with(what: u32) -> u32 {
    match what {
        0 => std::panic::panic_any(5_i32),
        1 => std::panic::panic_any(String::new()),
        2 => panic!("{}", "ä".repeat(10_000_000)),
        3 => std::panic::panic_any(PanicsOnDrop),
        _ => process::id(),
    }
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("a payload whose destructor panics");
    }
}

#[test]
fn a_panic_with_any_payload_is_reported_and_keeps_the_worker() {
    let tasks: Vec<Task<u32>> = (0..4).map(panic_with::submit).collect();
    for (what, task) in tasks.into_iter().enumerate() {
        let error = task.join().expect_err("it panics");
        let TaskError::Panicked { message, location: Some(location), .. } = &error else { panic!("{what}: {error}") };
        assert!(message.len() < 20_000 && location.contains("process_faults.rs:"), "{what}: {location}");
    }
    assert_ne!(panic_with(9), process::id());
}

#[parallel(kind = "process", pool = WORKERS)]
fn large_result(megabytes: usize) -> Vec<u8> {
    let worker = process::id();
    std::thread::spawn(move || kill(worker));
    vec![1; megabytes << 20]
}

#[test]
fn a_worker_killed_while_it_sends_gives_the_whole_result_or_an_error() {
    let mut lost = 0;
    for _ in 0..20 {
        match large_result::submit(40).join() {
            Ok(bytes) => assert!(bytes.len() == 40 << 20 && bytes.iter().all(|byte| *byte == 1)),
            Err(TaskError::WorkerDied { signal: Some(9), .. }) => lost += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(lost > 0, "it was never killed in time");
    assert_eq!(apply(Fault::None, 5), 5);
}

#[test]
fn a_direct_call_panics_with_the_cause_of_the_crash() {
    let panic = std::panic::catch_unwind(|| apply(Fault::Abort, 0)).expect_err("there is no other place for it");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("`process_faults::apply` has no result") && message.contains("SIGABRT"), "{message}");
}

#[parallel(kind = "process", pool = WORKERS)]
fn divide(a: u32, b: u32) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    match b {
        0 => process::abort(),
        1 => Err("that is no division".into()),
        _ => Ok(a / b),
    }
}

#[test]
fn a_crash_is_returned_where_the_result_can_hold_it() {
    let error = divide(1, 0).expect_err("its worker is gone");
    assert!(error.is::<TaskError>(), "{error}");
    let all: Vec<_> = divide::map(fanfold::zip([4, 1, 6, 7], [2, 0, 3, 1])).collect();
    assert!(matches!(all[..], [Ok(2), Err(_), Ok(2), Err(_)]), "{all:?}");
}

#[parallel(kind = "process", pool = WORKERS)]
fn note(path: String, n: u32) -> Result<u32, TaskError> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("it can be written");
    // One write, because two processes append to the file.
    file.write_all(format!("{n}\n").as_bytes()).expect("it can be written");
    match n % 100 {
        50 => process::abort(),
        _ => Ok(n),
    }
}

#[test]
fn a_crash_in_a_map_fails_one_item_and_runs_none_twice() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("notes").to_str().expect("a plain path").to_owned();
    for chunk in [1_000, 10] {
        let _ = fs::remove_file(&path);
        let all: Vec<_> = note::map((0..1_000).map(|n| (path.clone(), n))).chunk_size(chunk).collect();
        for (n, result) in (0..).zip(all) {
            match result {
                Ok(same) => assert_eq!(same, n),
                Err(TaskError::WorkerDied { signal: Some(6), .. }) => assert_eq!(n % 100, 50),
                Err(other) => panic!("{other}"),
            }
        }
        let text = fs::read_to_string(&path).expect("it was written");
        let mut noted: Vec<u32> = text.lines().map(|line| line.parse().expect("a number")).collect();
        noted.sort_unstable();
        assert_eq!(noted, (0..1_000).collect::<Vec<_>>());
    }
}

#[test]
fn two_hundred_crashes_in_a_row_end_with_errors() {
    for n in 0..200 {
        assert!(matches!(apply::submit(Fault::Abort, n).join(), Err(TaskError::WorkerDied { signal: Some(6), .. })));
    }
    assert_eq!(apply(Fault::None, 1), 1);
}

fn crash_in_init() -> u32 {
    process::abort()
}

#[parallel(kind = "process", pool = WORKERS, init = crash_in_init)]
fn never(#[worker] state: &mut u32) -> u32 {
    *state
}

#[test]
fn a_crash_during_init_fails_its_task() {
    assert!(matches!(never::submit().join(), Err(TaskError::WorkerDied { signal: Some(6), .. })));
    assert_eq!(apply(Fault::None, 1), 1);
}

#[parallel(kind = "process")]
fn print(text: String) {
    print!("{text}");
    std::io::stderr().write_all(b"(to stderr)").expect("it can be written");
}

static TIMED: Pool = Pool::process("timed").threads(1);

#[parallel(kind = "process", pool = TIMED, timeout = "300ms", retries = 1_000_000)]
fn always_crashes() -> Result<(), TaskError> {
    process::abort()
}

#[test]
fn the_timeout_covers_all_retries_together() {
    let error = always_crashes().expect_err("it never ends well");
    assert!(matches!(error, TaskError::TimedOut { after } if after.as_millis() == 300), "{error}");
}

static PAUSING: Pool = Pool::process("pausing").threads(1);

#[parallel(kind = "process", pool = PAUSING, retries = 1, backoff = "1h")]
fn crashes_and_pauses() -> Result<(), TaskError> {
    process::abort()
}

#[test]
fn a_pause_between_tries_ends_when_the_task_is_cancelled() {
    let task = crashes_and_pauses::submit();
    // During the pause its permit is free for other tasks.
    while !task.is_running() || PAUSING.stats().busy > 0 {
        std::thread::yield_now();
    }
    assert!(!task.cancel(), "it runs already");
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
}

#[parallel(kind = "process", pool = TIMED)]
fn exec(program: String) -> Result<(), TaskError> {
    use std::os::unix::process::CommandExt;
    panic!("{}", process::Command::new(program).arg("--list").exec());
}

#[test]
fn a_task_that_execs_another_program_fails() {
    let program = std::env::current_exe().expect("this program has a path");
    let error = exec(program.to_str().expect("UTF-8").to_owned()).expect_err("there is no result");
    assert!(matches!(error, TaskError::WorkerDied { code: Some(0), .. }), "{error:?}");
}
