//! Forks at any moment: what other threads hold then is not waited for in the child.
#![cfg(unix)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfold::{Pool, TaskError, configure, parallel};

/// Runs `body` in another process, which is ended if it hangs.
fn in_a_process(test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "FANFOLD_TEST_FORK";
    if std::env::var_os(INSIDE).is_some() {
        // SAFETY: the signal's default action ends this process.
        unsafe { libc::alarm(240) };
        return body();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let ended = Command::new(program).args([test, "--exact", "--nocapture"]).env(INSIDE, "yes").output();
    let ended = ended.expect("it can be started again");
    let (told, warned) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && told.contains("1 passed"), "{}: {told}\n{warned}", ended.status);
}

static POOL: Pool = Pool::io("parent").threads(4);

#[parallel(kind = "io", pool = POOL, timeout = "1ms")]
fn late() -> Result<(), TaskError> {
    std::thread::sleep(Duration::from_millis(2));
    Ok(())
}

#[parallel(kind = "io", pool = POOL, timeout = "1h")]
fn limited(n: u32) -> Result<u32, TaskError> {
    Ok(n)
}

/// What the child does: uses none of its parent's threads. The exit status says what went wrong.
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
fn a_child_has_the_locks_that_other_threads_held_at_the_fork() {
    in_a_process("a_child_has_the_locks_that_other_threads_held_at_the_fork", || {
        POOL.submit(|| ()).join().expect("no panic");
        let over = AtomicBool::new(false);
        let go_on = || !over.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while go_on() {
                    let _ = late();
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
                    let pool = Pool::io("comes and goes").threads(1).build().expect("threads can be had");
                    pool.submit(|| ()).join().expect("no panic");
                }
            });
            for round in 0..300 {
                let inherited = Pool::io("inherited").threads(1).build().expect("threads can be had");
                // SAFETY: the child uses what the C library and the standard library keep usable after a fork.
                let pid = unsafe { libc::fork() };
                assert!(pid >= 0, "{}", std::io::Error::last_os_error());
                if pid == 0 {
                    // SAFETY: the signal's default action ends the child if it hangs.
                    unsafe { libc::alarm(20) };
                    std::process::exit(child(inherited));
                }
                let mut status = 0;
                // SAFETY: waits for the child, and writes its status.
                assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
                over.store(status != 0, Ordering::Relaxed);
                assert_eq!(status, 0, "child {round}: a signal in the low bits, else its exit status");
                assert_eq!(inherited.submit(|| 1).join().expect("no panic"), 1, "the parent goes on");
            }
            over.store(true, Ordering::Relaxed);
        });
    });
}
