//! A process that was started as a worker becomes one or ends. It never runs `main`, here the test harness; and it serves
//! its parent alone.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::Path;
use std::process::{Command, Output, Stdio, id};
use std::time::{Duration, Instant};

use fanfold::{Pool, parallel};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("workers").threads(2);

const VARIABLE: &str = "FANFOLD_WORKER_OF";

/// Names a file to which each start of this program adds a line, as a constructor, and in which parts of this test tell
/// that they run.
const LOG: &str = "FANFOLD_TEST_LOG";
/// The process whose end its workers wait for before they go on to start.
const HOLD: &str = "FANFOLD_TEST_HOLD";

fn note(line: &str) {
    if let Some(path) = std::env::var_os(LOG) {
        let file = fs::File::options().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).expect("it can be written");
    }
}

/// Runs in each start of this program before `main`.
extern "C" fn before_main() {
    let worker = std::env::var(VARIABLE).is_ok();
    note(&format!("{} {}", if worker { "worker" } else { "program" }, id()));
    let parent = std::env::var(HOLD).ok().and_then(|parent| parent.parse().ok());
    let deadline = Instant::now() + Duration::from_secs(20);
    while worker && parent == Some(parent_id()) && Instant::now() < deadline {
        std::thread::yield_now();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

fn within(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::yield_now();
    }
}

/// Whether a process runs; one that has ended and that nobody has waited for does not.
fn runs(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// This program, to run the test of this name.
fn this_program(test: &str) -> Command {
    let mut program = Command::new(std::env::current_exe().expect("this program has a path"));
    program.args([test, "--exact", "--nocapture"]).env_remove(VARIABLE);
    program
}

#[parallel(kind = "process", pool = WORKERS)]
fn square(n: u64) -> u64 {
    n * n
}

/// The workers that a log tells of.
fn workers(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.strip_prefix("worker ")).collect()
}

#[test]
fn a_worker_whose_parent_ends_while_it_starts_ends_too() {
    if std::env::var_os(LOG).is_some() {
        note("test");
        return start_workers_and_end();
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let log = folder.path().join("log");
    let mut parent = this_program("a_worker_whose_parent_ends_while_it_starts_ends_too");
    let output = parent.env(LOG, &log).output().expect("it can be started again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = || fs::read_to_string(&log).expect("it can be read");
    let held = read();
    assert!(!workers(&held).is_empty(), "{held}");
    // The output is read to its end, which the workers hold open until they end.
    within("the workers end", || workers(&held).iter().all(|pid| !runs(pid)));
    let after = read();
    let count = |start: &str| after.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("test"), count("program")), (1, 1), "{after}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.matches("running ").count(), 1, "{said}");
}

/// Ends this process when a worker has come to its constructors; that waits there for this end.
fn start_workers_and_end() {
    // SAFETY: this test is the only one in this process, and the harness's main thread waits for it.
    unsafe { std::env::set_var(HOLD, id().to_string()) };
    let _task = square::submit(3);
    let log = std::env::var_os(LOG).expect("it is set");
    within("a worker starts", || !workers(&fs::read_to_string(&log).unwrap_or_default()).is_empty());
    // SAFETY: ends this process as a signal would.
    unsafe { libc::_exit(0) };
}

/// Starts this program as somebody who is no pool does.
fn started_by_a_stranger(program: &mut Command, parent: u32, stdin: Stdio) -> Output {
    program.env(VARIABLE, parent.to_string()).stdin(stdin).output().expect("it can be started")
}

fn is_refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(why), "{}: {said}", output.status);
    // Neither answers nor tests.
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_stranger_is_not_served() {
    let list = || {
        let mut program = this_program("none");
        program.arg("--list");
        program
    };
    let why = "not the socket of such a pool";
    for parent in [1, id(), u32::MAX] {
        is_refused(&started_by_a_stranger(&mut list(), parent, Stdio::null()), why);
        is_refused(&started_by_a_stranger(&mut list(), parent, Stdio::piped()), why);
    }
    let (ours, theirs) = UnixStream::pair().expect("there are sockets");
    is_refused(&started_by_a_stranger(&mut list(), 1, Stdio::from(OwnedFd::from(theirs))), why);
    drop(ours);
    // What no parent writes there says nothing.
    for value in ["", "yes", "12 started"] {
        let output = list().env(VARIABLE, value).output().expect("it can be started");
        assert!(output.status.success() && !output.stdout.is_empty(), "{value}");
    }
}

#[test]
fn a_program_with_more_rights_than_its_caller_serves_nobody() {
    // SAFETY: it cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("not root: no program has more rights than this one's caller");
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let copy = folder.path().join("copy");
    fs::copy(std::env::current_exe().expect("this program has a path"), &copy).expect("there is room");
    let start = |mode, user| {
        fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).expect("it is ours");
        let (mut ours, theirs) = UnixStream::pair().expect("there are sockets");
        let mut program = Command::new(&copy);
        program.arg("--list").uid(user).gid(user);
        let output = started_by_a_stranger(&mut program, id(), Stdio::from(OwnedFd::from(theirs)));
        drop(program);
        let mut answer = Vec::new();
        let _ = ours.read_to_end(&mut answer);
        assert!(answer.is_empty(), "it has answered");
        output
    };
    // A user of this test's own.
    let user = 100_000 + id();
    is_refused(&start(0o4755, user), "more rights than its caller");
    is_refused(&start(0o2755, user), "more rights than its caller");
    // Without the bit it acts as its caller, who has not made the socket.
    is_refused(&start(0o755, user), "not the socket of such a pool");
}

#[parallel(kind = "process", pool = WORKERS)]
fn starts_this_program(how: u8) -> String {
    let mut program = Command::new(std::env::current_exe().expect("this program has a path"));
    program.arg("--list");
    match how {
        0 => {}
        1 => drop(program.stdin(Stdio::null())),
        2 => drop(program.stdin(Stdio::from(OwnedFd::from(UnixStream::pair().expect("there are sockets").0)))),
        // Through another program.
        _ => {
            let path = program.get_program().to_owned();
            program = Command::new("sh");
            program.args(["-c", "\"$0\" --list; exec \"$0\" --list"]).arg(path);
        }
    }
    let output = program.output().expect("it can be started");
    String::from_utf8(output.stdout).expect("names of tests")
}

#[test]
fn a_program_that_a_worker_starts_runs_its_main() {
    for how in 0..4 {
        let said = starts_this_program(how);
        assert!(said.contains("a_program_that_a_worker_starts_runs_its_main: test"), "{how}: {said}");
    }
}

#[parallel(kind = "process", pool = WORKERS)]
fn arguments() -> (Vec<String>, bool) {
    (std::env::args().collect(), Path::new("/proc/self/exe").exists())
}

#[test]
fn a_worker_has_no_arguments_but_the_name_of_the_program() {
    assert_eq!(arguments().0, std::env::args().take(1).collect::<Vec<_>>());
}
