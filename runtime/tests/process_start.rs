//! A process that was started as a worker becomes one or ends: it never runs `main`, which is the test harness here,
//! and serves only its parent.
#![cfg(target_os = "linux")]
#![cfg_attr(fanfold_portable, allow(dead_code, unused_imports, reason = "some tests are left out"))]

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

/// Names a file to which every start of this program adds a line in a constructor, and to which the tests write their
/// progress.
const LOG: &str = "FANFOLD_TEST_LOG";
/// The process for whose end its workers wait before they continue to start.
const HOLD: &str = "FANFOLD_TEST_HOLD";

fn note(line: &str) {
    if let Some(path) = std::env::var_os(LOG) {
        let file = fs::File::options().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).expect("it can be written");
    }
}

/// A constructor, which runs in every start of this program before `main`.
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

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::yield_now();
    }
}

/// Whether a process runs. A zombie does not.
fn runs(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// A command that runs only the test of this name in this program.
fn this_program(test: &str) -> Command {
    let mut program = Command::new(std::env::current_exe().expect("this program has a path"));
    program.args([test, "--exact", "--nocapture"]).env_remove(VARIABLE);
    program
}

#[parallel(kind = "process", pool = WORKERS)]
fn square(n: u64) -> u64 {
    n * n
}

/// The worker process ids that a log contains.
fn workers(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.strip_prefix("worker ")).collect()
}

#[test]
fn a_worker_ends_if_its_parent_ends_during_the_start() {
    if std::env::var_os(LOG).is_some() {
        note("test");
        return start_workers_and_end();
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let log = folder.path().join("log");
    let mut parent = this_program("a_worker_ends_if_its_parent_ends_during_the_start");
    let output = parent.env(LOG, &log).output().expect("this program starts again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = || fs::read_to_string(&log).expect("it can be read");
    let held = read();
    assert!(!workers(&held).is_empty(), "{held}");
    // Reading the output to its end waits for the workers, which hold it open.
    wait_until("the workers end", || workers(&held).iter().all(|pid| !runs(pid)));
    let after = read();
    let count = |start: &str| after.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("test"), count("program")), (1, 1), "{after}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.matches("running ").count(), 1, "{text}");
}

/// Starts workers and ends this process when one has reached its constructor, which waits for that end.
fn start_workers_and_end() {
    // SAFETY: this is the only test of this process, and the harness's main thread waits for it.
    unsafe { std::env::set_var(HOLD, id().to_string()) };
    let _task = square::submit(3);
    let log = std::env::var_os(LOG).expect("it is set");
    wait_until("a worker starts", || !workers(&fs::read_to_string(&log).unwrap_or_default()).is_empty());
    // SAFETY: ends the process as a signal would, without exit handlers.
    unsafe { libc::_exit(0) };
}

/// Starts this program with a worker's variable, but not from a pool.
fn start_without_a_pool(program: &mut Command, parent: u32, stdin: Stdio) -> Output {
    program.env(VARIABLE, parent.to_string()).stdin(stdin).output().expect("the program starts")
}

fn is_refused(output: &Output, why: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(why), "{}: {text}", output.status);
    // The process neither replied nor ran tests.
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[cfg(not(fanfold_portable))] // the maker of a socket (SO_PEERCRED)
#[test]
fn a_process_that_is_not_its_parent_is_not_served() {
    let list = || {
        let mut program = this_program("none");
        program.arg("--list");
        program
    };
    let why = "not the socket of such a pool";
    for parent in [1, id(), u32::MAX] {
        is_refused(&start_without_a_pool(&mut list(), parent, Stdio::null()), why);
        is_refused(&start_without_a_pool(&mut list(), parent, Stdio::piped()), why);
    }
    let (ours, theirs) = UnixStream::pair().expect("there are sockets");
    is_refused(&start_without_a_pool(&mut list(), 1, Stdio::from(OwnedFd::from(theirs))), why);
    drop(ours);
    // Values that no parent writes into the variable are ignored.
    for value in ["", "yes", "12 started"] {
        let output = list().env(VARIABLE, value).output().expect("the program starts");
        assert!(output.status.success() && !output.stdout.is_empty(), "{value}");
    }
}

#[cfg(not(fanfold_portable))] // the maker of a socket (SO_PEERCRED)
#[test]
fn a_set_user_id_program_does_not_become_a_worker() {
    // SAFETY: `geteuid` has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("not root: no program has more rights than this one's caller");
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("this user owns it");
    let copy = folder.path().join("copy");
    fs::copy(std::env::current_exe().expect("this program has a path"), &copy).expect("there is room");
    let start = |mode, user| {
        fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).expect("this user owns it");
        let (mut ours, theirs) = UnixStream::pair().expect("there are sockets");
        let mut program = Command::new(&copy);
        program.arg("--list").uid(user).gid(user);
        let output = start_without_a_pool(&mut program, id(), Stdio::from(OwnedFd::from(theirs)));
        drop(program);
        let mut answer = Vec::new();
        let _ = ours.read_to_end(&mut answer);
        assert!(answer.is_empty(), "it has answered");
        output
    };
    // A user id that only this test uses.
    let user = 100_000 + id();
    is_refused(&start(0o4755, user), "more rights than its caller");
    is_refused(&start(0o2755, user), "more rights than its caller");
    // Without the bit the program runs as its caller, who did not create the socket.
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
        // Through another program, a shell.
        _ => {
            let path = program.get_program().to_owned();
            program = Command::new("sh");
            program.args(["-c", "\"$0\" --list; exec \"$0\" --list"]).arg(path);
        }
    }
    let output = program.output().expect("the program starts");
    String::from_utf8(output.stdout).expect("names of tests")
}

#[test]
fn a_program_started_by_a_worker_runs_its_main() {
    for how in 0..4 {
        let text = starts_this_program(how);
        assert!(text.contains("a_program_started_by_a_worker_runs_its_main: test"), "{how}: {text}");
    }
}

#[parallel(kind = "process", pool = WORKERS)]
fn arguments() -> (Vec<String>, bool) {
    (std::env::args().collect(), Path::new("/proc/self/exe").exists())
}

#[test]
fn a_worker_has_only_the_program_name_as_argument() {
    assert_eq!(arguments().0, std::env::args().take(1).collect::<Vec<_>>());
}
