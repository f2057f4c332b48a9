//! Forks without exec: a call in the child panics with the reason instead of hanging.
#![cfg(unix)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use fanfold::{Pool, Task, parallel};

#[parallel(kind = "cpu")]
fn double(n: u32) -> u32 {
    n * 2
}

/// The child runs in a process of its own, where no other test has threads.
#[test]
fn pools_in_a_forked_child_panic_with_the_reason() {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program);
    // With one thread a map runs on its caller and does not need the pool.
    child.args(["child_forks", "--exact", "--ignored", "--nocapture"]).env("FANFOLD_CPU_THREADS", "2");
    let output = child.output().expect("this program starts again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn panics_about_the_fork<T>(work: impl FnOnce() -> T) -> bool {
    let payload = catch_unwind(AssertUnwindSafe(work)).err();
    payload.and_then(|payload| payload.downcast::<&str>().ok()).is_some_and(|text| text.contains("was forked"))
}

#[test]
#[ignore = "run by `pools_in_a_forked_child_panic_with_the_reason`"]
fn child_forks() {
    let (_release, released) = std::sync::mpsc::channel::<()>();
    let waiting: Task<bool> = Pool::io_default().submit(move || released.recv().is_ok());
    assert_eq!(double(2), 4);
    // SAFETY: the child only calls the library and then `_exit`; it runs no other code of the parent.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_reported = panics_about_the_fork(|| double(1))
            && panics_about_the_fork(|| double::submit(1))
            && panics_about_the_fork(|| double::map(0..1_000_000).chunk_size(1).collect::<Vec<_>>())
            && panics_about_the_fork(|| waiting.join())
            // A pool that is started in the child has threads of its own.
            && Pool::io("new").threads(1).build().is_ok_and(|pool| pool.submit(|| 1).join().is_ok());
        // SAFETY: ends the child without running the parent's destructors.
        unsafe { libc::_exit(i32::from(!is_reported)) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for the write.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status}");
    assert_eq!(double(3), 6, "the parent continues");
}
