//! Forks while other threads of the parent are inside the library: the child does not wait for locks they held.
#![cfg(unix)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfold::{Pool, TaskError, configure, parallel};

/// Runs `body` in a process of its own, which `SIGALRM` ends if it hangs.
fn in_a_process(test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "FANFOLD_TEST_FORK";
    if std::env::var_os(INSIDE).is_some() {
        // SAFETY: `alarm` takes a number; the signal's default action ends this process.
        unsafe { libc::alarm(240) };
        return body();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let ended = Command::new(program).args([test, "--exact", "--nocapture"]).env(INSIDE, "yes").output();
    let ended = ended.expect("this program starts again");
    let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && stdout.contains("1 passed"), "{}: {stdout}\n{stderr}", ended.status);
}

static POOL: Pool = Pool::io("parent").threads(4);

#[parallel(kind = "io", pool = POOL, timeout = "1ms")]
fn times_out() -> Result<(), TaskError> {
    std::thread::sleep(Duration::from_millis(2));
    Ok(())
}

#[parallel(kind = "io", pool = POOL, timeout = "1h")]
fn limited(n: u32) -> Result<u32, TaskError> {
    Ok(n)
}

/// The body of the child: uses none of the parent's threads. Each exit status stands for one failed check.
fn child(inherited: Pool) -> i32 {
    drop(inherited);
    let Ok(own) = Pool::io("child").threads(2).build() else { return 2 };
    let map = own.map(0..100_u32, |n| n).timeout(Duration::from_secs(10)).collect::<Vec<_>>();
    if map.len() != 100 {
        return 3;
    }
    let slow = own.submit(|| std::thread::sleep(Duration::from_millis(1)));
    let mut results = fanfold::as_completed([slow]).timeout(Duration::from_secs(10));
    if results.next().is_none_or(|(_, result)| result.is_err()) {
        return 4;
    }
    if own.submit(|| 7).join().is_ok_and(|seven| seven == 7) { 0 } else { 5 }
}

#[test]
fn a_child_works_although_other_threads_held_locks_at_the_fork() {
    in_a_process("a_child_works_although_other_threads_held_locks_at_the_fork", || {
        POOL.submit(|| ()).join().expect("no panic");
        let over = AtomicBool::new(false);
        let go_on = || !over.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while go_on() {
                    let _ = times_out();
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    while go_on() {
                        let _ = limited(1);
                        let _ = configure().apply();
                    }
                });
            }
            scope.spawn(|| {
                while go_on() {
                    let pool = Pool::io("comes and goes").threads(1).build().expect("threads start");
                    pool.submit(|| ()).join().expect("no panic");
                }
            });
            for round in 0..300 {
                let inherited = Pool::io("inherited").threads(1).build().expect("threads start");
                // SAFETY: the child uses what the C library and the standard library keep usable after a fork.
                let pid = unsafe { libc::fork() };
                assert!(pid >= 0, "{}", std::io::Error::last_os_error());
                if pid == 0 {
                    // SAFETY: `alarm` takes a number; the signal's default action ends the child if it hangs.
                    unsafe { libc::alarm(20) };
                    let status = child(inherited);
                    // SAFETY: it ends this process. `std::process::exit` may wait for a lock of the standard library that
                    // another thread of the parent held at the fork.
                    unsafe { libc::_exit(status) };
                }
                let mut status = 0;
                // SAFETY: `status` is valid for the write.
                assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
                over.store(status != 0, Ordering::Relaxed);
                assert_eq!(status, 0, "child {round}: a signal in the low bits, else its exit status");
                assert_eq!(inherited.submit(|| 1).join().expect("no panic"), 1, "the parent continues");
            }
            over.store(true, Ordering::Relaxed);
        });
    });
}
