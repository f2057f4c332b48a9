//! Running an example as its user does.

use std::env::{self, consts};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// What hangs longer than this hangs for ever.
const LIMIT: Duration = Duration::from_mins(2);

/// Cargo builds examples beside the tests; `cargo test --test NAME` alone does not.
fn path(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test is a file");
    let folder = test.ancestors().nth(2).expect("tests are two folders down");
    folder.join("examples").join(format!("{name}{}", consts::EXE_SUFFIX))
}

/// The example, without the variables that Fanfold reads.
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(path(name));
    for variable in ["FANFOLD_CPU_THREADS", "FANFOLD_IO_THREADS", "FANFOLD_SERIAL"] {
        command.env_remove(variable);
    }
    command
}

/// Runs it to its end; one that hangs is killed, and fails the test.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let program = PathBuf::from(command.get_program());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
            panic!("{} does not run ({error}): build it by `cargo test -p fanfold-examples`", program.display())
        });
    let deadline = Instant::now() + LIMIT;
    let out = read(child.stdout.take());
    let errors = read(child.stderr.take());
    // Both are at their end when the program is.
    let stdout = until(deadline, &out, &mut child);
    let stderr = until(deadline, &errors, &mut child);
    Output { status: child.wait().expect("it was started"), stdout, stderr }
}

/// What it prints; it must succeed, and complain of nothing.
#[track_caller]
pub(crate) fn prints(command: &mut Command) -> String {
    let run = run(command);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert_eq!((run.status.code(), &*errors), (Some(0), ""));
    String::from_utf8(run.stdout).expect("it prints UTF-8")
}

fn read(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    let mut pipe = pipe.expect("it is piped");
    thread::spawn(move || {
        let mut all = Vec::new();
        pipe.read_to_end(&mut all).expect("a pipe can be read");
        sender.send(all)
    });
    receiver
}

#[track_caller]
fn until(deadline: Instant, pipe: &Receiver<Vec<u8>>, child: &mut Child) -> Vec<u8> {
    pipe.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap_or_else(|_| {
        child.kill().expect("it was started");
        panic!("the program hangs: it did not end within {LIMIT:?}")
    })
}
