//! What can happen to a worker process, done to it: each costs the one task that it ran, and that task's error says
//! what happened.

use std::fs;
use std::io::Write;
use std::process;

use fanfold::{Pool, Task, TaskError, join_all, parallel};

fanfold::process_tests!();

/// What a task does to its process.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
enum Fate {
    Live,
    Abort,
    Overflow,
    Segfault,
    Exit(i32),
    Kill,
    CloseSockets,
    Scribble,
    Eat,
    Panic,
}

static WORKERS: Pool = Pool::process("workers").threads(2).memory_limit(200 << 20);

#[parallel(kind = "process", pool = WORKERS)]
fn meet(fate: Fate, n: u32) -> u32 {
    match fate {
        Fate::Live => {}
        Fate::Abort => process::abort(),
        Fate::Overflow => return overflow(n),
        Fate::Segfault => {
            // SAFETY: none: the system is to notice.
            unsafe { std::ptr::null_mut::<u32>().wrapping_add(16).write_volatile(1) };
        }
        Fate::Exit(code) => process::exit(code),
        Fate::Kill => kill(process::id()),
        Fate::CloseSockets => {
            // SAFETY: what is closed here is nobody's who would notice, but Fanfold's.
            unsafe {
                (3..1_000).for_each(|fd| {
                    libc::close(fd);
                });
            }
            loop {
                std::thread::park();
            }
        }
        Fate::Scribble => {
            let maps = fs::read_to_string("/proc/self/maps").expect("it can be read");
            let shared = maps.lines().find(|line| line.contains("memfd:fanfold")).expect("it is mapped");
            let (start, end) = shared.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
            let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).expect("an address"));
            // SAFETY: none: this is what a wild pointer does.
            unsafe { std::ptr::write_bytes(std::ptr::with_exposed_provenance_mut::<u8>(start), 0xa5, end - start) };
        }
        Fate::Eat => {
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(vec![1; 1 << 20]);
            }
        }
        Fate::Panic => panic!("a panic is no crash"),
    }
    n
}

#[allow(unconditional_recursion, reason = "it is to overflow the stack")]
fn overflow(n: u32) -> u32 {
    let here = std::hint::black_box([n; 1_000]);
    overflow(here[0] + 1) + here[1]
}

#[parallel(kind = "process", pool = WORKERS)]
fn pid() -> u32 {
    process::id()
}

fn kill(pid: u32) {
    // SAFETY: a signal to a worker of this test.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}

/// Submits the fate among others; they live, and it is gone as `expect` says.
#[track_caller]
fn costs_its_own_task(fate: &Fate, signals: &[i32], expected_code: Option<i32>, says: &str) {
    let before: Vec<Task<u32>> = (0..20).map(|n| meet::submit(Fate::Live, n)).collect();
    let lost = meet::submit(fate.clone(), 7);
    let after: Vec<Task<u32>> = (20..40).map(|n| meet::submit(Fate::Live, n)).collect();
    let error = lost.join().expect_err("its worker is gone");
    let TaskError::WorkerDied { signal, code, message, function, .. } = &error else { panic!("{fate:?}: {error}") };
    assert!(signal.map_or(signals.is_empty(), |signal| signals.contains(&signal)), "{fate:?}: {error}");
    assert_eq!(*code, expected_code, "{fate:?}: {error}");
    assert!(message.contains(says), "{fate:?}: {message}");
    assert_eq!(*function, "process_faults::meet");
    assert_eq!(join_all(before).expect("untouched"), (0..20).collect::<Vec<_>>());
    assert_eq!(join_all(after).expect("untouched"), (20..40).collect::<Vec<_>>());
}

#[test]
fn whatever_a_task_does_to_its_process_costs_that_task_alone() {
    costs_its_own_task(&Fate::Abort, &[libc::SIGABRT], None, "SIGABRT");
    costs_its_own_task(&Fate::Overflow, &[libc::SIGSEGV, libc::SIGABRT], None, "killed by SIG");
    costs_its_own_task(&Fate::Segfault, &[libc::SIGSEGV], None, "SIGSEGV (signal 11)");
    costs_its_own_task(&Fate::Exit(3), &[], Some(3), "exited with code 3");
    costs_its_own_task(&Fate::Exit(0), &[], Some(0), "exited with code 0");
    costs_its_own_task(&Fate::Kill, &[libc::SIGKILL], None, "SIGKILL (signal 9)");
    costs_its_own_task(&Fate::CloseSockets, &[], None, "closed its connection");
    costs_its_own_task(&Fate::Eat, &[libc::SIGABRT], None, "memory limit is 209715200 bytes");
    assert!(matches!(meet::submit(Fate::Panic, 0).join(), Err(TaskError::Panicked { .. })));
}

#[test]
fn a_worker_that_writes_where_it_must_not_costs_its_task() {
    let error = meet::submit(Fate::Scribble, 1).join().expect_err("nothing that it says can be believed");
    assert!(matches!(error, TaskError::WorkerDied { .. } | TaskError::Wire { .. }), "{error}");
    assert_eq!(meet(Fate::Live, 5), 5);
}

#[test]
fn a_worker_that_is_killed_while_idle_costs_nothing() {
    for _ in 0..20 {
        kill(pid());
        assert_eq!(meet(Fate::Live, 9), 9);
    }
}

#[parallel(kind = "process", pool = WORKERS)]
fn tell_and_wait(told: fanfold::Sender<u32>) {
    told.send(process::id()).expect("the test listens");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_worker_that_is_killed_while_it_runs_costs_its_task() {
    let (told, tells) = fanfold::channel();
    let lost = tell_and_wait::submit(told);
    let worker = tells.recv().expect("it runs");
    let others: Vec<Task<u32>> = (0..20).map(|n| meet::submit(Fate::Live, n)).collect();
    kill(worker);
    assert!(matches!(lost.join(), Err(TaskError::WorkerDied { signal: Some(9), .. })));
    assert_eq!(join_all(others).expect("untouched"), (0..20).collect::<Vec<_>>());
}

#[parallel(kind = "process", pool = WORKERS)]
fn throw(what: u32) -> u32 {
    match what {
        0 => std::panic::panic_any(5_i32),
        1 => std::panic::panic_any(String::new()),
        2 => panic!("{}", "ä".repeat(10_000_000)),
        3 => std::panic::panic_any(DropsBadly),
        _ => process::id(),
    }
}

struct DropsBadly;

impl Drop for DropsBadly {
    fn drop(&mut self) {
        panic!("a payload that does not want to go");
    }
}

#[test]
fn any_panic_is_told_of_and_costs_no_worker() {
    let tasks: Vec<Task<u32>> = (0..4).map(throw::submit).collect();
    for (what, task) in tasks.into_iter().enumerate() {
        let error = task.join().expect_err("it panics");
        let TaskError::Panicked { message, location: Some(location), .. } = &error else { panic!("{what}: {error}") };
        assert!(message.len() < 20_000 && location.contains("process_faults.rs:"), "{what}: {location}");
    }
    assert_ne!(throw(9), process::id());
}

#[parallel(kind = "process", pool = WORKERS)]
fn killed_while_it_sends(megabytes: usize) -> Vec<u8> {
    let worker = process::id();
    std::thread::spawn(move || kill(worker));
    vec![1; megabytes << 20]
}

#[test]
fn a_worker_that_is_killed_while_it_sends_gives_all_or_an_error() {
    let mut lost = 0;
    for _ in 0..20 {
        match killed_while_it_sends::submit(40).join() {
            Ok(bytes) => assert!(bytes.len() == 40 << 20 && bytes.iter().all(|byte| *byte == 1)),
            Err(TaskError::WorkerDied { signal: Some(9), .. }) => lost += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(lost > 0, "it was never killed in time");
    assert_eq!(meet(Fate::Live, 5), 5);
}

#[test]
fn a_direct_call_panics_with_what_happened() {
    let panic = std::panic::catch_unwind(|| meet(Fate::Abort, 0)).expect_err("there is no other place for it");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("`process_faults::meet` has no result") && message.contains("SIGABRT"), "{message}");
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
fn a_crash_is_an_error_where_the_result_has_a_place_for_it() {
    let error = divide(1, 0).expect_err("its worker is gone");
    assert!(error.is::<TaskError>(), "{error}");
    let all: Vec<_> = divide::map(fanfold::zip([4, 1, 6, 7], [2, 0, 3, 1])).collect();
    assert!(matches!(all[..], [Ok(2), Err(_), Ok(2), Err(_)]), "{all:?}");
}

#[parallel(kind = "process", pool = WORKERS)]
fn note(path: String, n: u32) -> Result<u32, TaskError> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("it can be written");
    // One write: two processes write to the file.
    file.write_all(format!("{n}\n").as_bytes()).expect("it can be written");
    match n % 100 {
        50 => process::abort(),
        _ => Ok(n),
    }
}

#[test]
fn a_crash_in_a_map_costs_one_item_and_none_runs_twice() {
    let path = format!("{}/notes", env!("CARGO_TARGET_TMPDIR"));
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
fn two_hundred_crashes_in_a_row() {
    for n in 0..200 {
        assert!(matches!(meet::submit(Fate::Abort, n).join(), Err(TaskError::WorkerDied { signal: Some(6), .. })));
    }
    assert_eq!(meet(Fate::Live, 1), 1);
}

fn crash_in_init() -> u32 {
    process::abort()
}

#[parallel(kind = "process", pool = WORKERS, init = crash_in_init)]
fn never(#[worker] state: &mut u32) -> u32 {
    *state
}

#[test]
fn a_crash_during_init_costs_its_task() {
    assert!(matches!(never::submit().join(), Err(TaskError::WorkerDied { signal: Some(6), .. })));
    assert_eq!(meet(Fate::Live, 1), 1);
}

#[parallel(kind = "process")]
fn say(text: String) {
    print!("{text}");
    std::io::stderr().write_all(b"(to stderr)").expect("it can be written");
}

#[parallel(kind = "process")]
fn untagged(value: serde_json::Value) -> bool {
    value.is_null()
}

#[test]
fn a_type_that_must_see_before_it_reads_is_refused_with_a_reason() {
    let error = untagged::submit(serde_json::Value::Null).join().expect_err("it cannot be read");
    let TaskError::Wire { message, .. } = &error else { panic!("{error}") };
    assert!(message.contains("serde_json::Value"), "{message}");
    say(String::new());
}

static PATIENT: Pool = Pool::process("patient").threads(1);

#[parallel(kind = "process", pool = PATIENT, timeout = "300ms", retries = 1_000_000)]
fn crashes_each_time() -> Result<(), TaskError> {
    process::abort()
}

#[test]
fn a_time_limit_is_for_all_tries_together() {
    let error = crashes_each_time().expect_err("it never ends well");
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
    // In its pause it gives its place to others.
    while !task.is_running() || PAUSING.stats().busy > 0 {
        std::thread::yield_now();
    }
    assert!(!task.cancel(), "it runs already");
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
}

#[parallel(kind = "process", pool = PATIENT)]
fn becomes(program: String) -> Result<(), TaskError> {
    use std::os::unix::process::CommandExt;
    panic!("{}", process::Command::new(program).arg("--list").exec());
}

#[test]
fn a_program_that_a_task_becomes_is_no_worker() {
    let program = std::env::current_exe().expect("this program has a path");
    let error = becomes(program.to_str().expect("UTF-8").to_owned()).expect_err("there is no result");
    assert!(matches!(error, TaskError::WorkerDied { code: Some(0), .. }), "{error:?}");
}
