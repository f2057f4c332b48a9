//! Workers that end while idle are reaped, even if their pool is not used again.
#![cfg(target_os = "linux")]

use std::fs;
use std::process;
use std::time::{Duration, Instant};

use fanfold::{Pool, parallel};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("workers").threads(1);

#[parallel(kind = "process", pool = WORKERS)]
fn pid() -> u32 {
    process::id()
}

/// The state of a child process (`Z` for a zombie), or `None` if there is no process of this id.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in front of the state is in parentheses, and may contain parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next();
    state.filter(|_| fields.next() == Some(&process::id().to_string()))
}

#[test]
fn workers_killed_while_idle_are_reaped() {
    for signal in [libc::SIGKILL, libc::SIGSEGV] {
        let worker = pid();
        assert!(state(worker).is_some());
        // SAFETY: `kill` takes numbers; the worker is a child that is not reaped yet.
        assert_eq!(unsafe { libc::kill(worker.cast_signed(), signal) }, 0);
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Some(state) = state(worker) {
            assert!(Instant::now() < deadline, "the worker is in state {state}");
            std::thread::sleep(Duration::from_millis(10));
        }
        // The pool starts another worker.
        assert_ne!(pid(), worker);
    }
}
