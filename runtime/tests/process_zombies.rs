//! Workers that end while they are idle are reaped, though their pool is not used again.

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

/// The state of a process that this one has started (`Z` for a zombie); `None` if there is none of this number.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in parentheses, and may hold some.
    let (_, behind) = stat.rsplit_once(") ")?;
    let mut fields = behind.split(' ');
    let state = fields.next()?.chars().next();
    state.filter(|_| fields.next() == Some(&process::id().to_string()))
}

#[test]
fn workers_that_are_killed_while_they_are_idle_leave_no_zombies() {
    for signal in [libc::SIGKILL, libc::SIGSEGV] {
        let worker = pid();
        assert!(state(worker).is_some());
        // SAFETY: the number of a child that nobody has waited for.
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
