//! Runs an example as a separate program.

use std::env::{self, consts};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;

/// A program that takes longer is killed, and fails its test.
const LIMIT: Duration = Duration::from_mins(2);

/// The path of an example. `cargo test` builds the examples; `cargo test --test NAME` alone does not.
pub(crate) fn path(name: &str) -> PathBuf {
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

/// Runs a program to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.timeout(LIMIT).output().unwrap_or_else(|error| {
        panic!("{command:?} does not run ({error}): build it by `cargo test -p fanfold-examples`")
    });
    assert!(output.status.code().is_some(), "{command:?} was killed by a signal, or did not end within {LIMIT:?}");
    output
}

/// The program's standard output. It must succeed, and write nothing to standard error.
#[track_caller]
pub(crate) fn prints(command: &mut Command) -> String {
    let run = run(command);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert_eq!((run.status.code(), &*errors), (Some(0), ""));
    String::from_utf8(run.stdout).expect("it prints UTF-8")
}
