//! A process that forks without exec: the child is told, and does not hang.
#![cfg(unix)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use fanfold::{Pool, Task, parallel};

#[parallel(kind = "cpu")]
fn double(n: u32) -> u32 {
    n * 2
}

/// The child runs in a process of its own, as the other tests' threads would be gone in it.
#[test]
fn a_forked_child_is_told_that_the_threads_are_gone() {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program);
    // With one thread a map would run on its caller, and ask nobody.
    child.args(["child_forks", "--exact", "--ignored", "--nocapture"]).env("FANFOLD_CPU_THREADS", "2");
    let output = child.output().expect("it can be started again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn says_why<T>(work: impl FnOnce() -> T) -> bool {
    let payload = catch_unwind(AssertUnwindSafe(work)).err();
    payload.and_then(|payload| payload.downcast::<&str>().ok()).is_some_and(|text| text.contains("was forked"))
}

#[test]
#[ignore = "run by `a_forked_child_is_told_that_the_threads_are_gone`"]
fn child_forks() {
    let (_release, released) = std::sync::mpsc::channel::<()>();
    let waiting: Task<bool> = Pool::io_default().submit(move || released.recv().is_ok());
    assert_eq!(double(2), 4);
    // SAFETY: the child only looks at what the library says, and leaves without running anything else of the parent's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let told = says_why(|| double(1))
            && says_why(|| double::submit(1))
            && says_why(|| double::map(0..1_000_000).chunk_size(1).collect::<Vec<_>>())
            && says_why(|| waiting.join())
            // A pool that starts in the child has threads.
            && Pool::io("new").threads(1).build().is_ok_and(|pool| pool.submit(|| 1).join().is_ok());
        // SAFETY: ends the child here, without the parent's destructors.
        unsafe { libc::_exit(i32::from(!told)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child, and writes its status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status}");
    assert_eq!(double(3), 6, "the parent goes on");
}
