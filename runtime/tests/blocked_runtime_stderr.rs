//! The warning about a blocked runtime goes to stderr where no `tracing` subscriber wants it.
#![cfg(debug_assertions)]

use std::process::{Command, Stdio};

use fanfold::parallel;

const CHILD: &str = "FANFOLD_TEST_BLOCKS";

#[parallel(kind = "cpu")]
fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn a_warning_without_a_subscriber_goes_to_stderr() {
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert_eq!(runtime.block_on(async { square(3) }), 9);
        return;
    }
    let program = std::env::current_exe().expect("it has a path");
    let child = Command::new(program)
        .args(["--exact", "a_warning_without_a_subscriber_goes_to_stderr", "--nocapture"])
        .env(CHILD, "1")
        .env_remove("FANFOLD_BLOCKED_RUNTIME")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    let warning = "fanfold: `blocked_runtime_stderr::square` blocks a thread of the async runtime";
    assert_eq!(said.matches(warning).count(), 1, "{said}");
}
