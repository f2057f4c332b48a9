//! Whether this process was started as a worker. It is decided once, in [`init`](crate::init), before `main` runs.
//!
//! - A process that was started as a worker becomes one or ends, whatever has become of its parent meanwhile. It never
//!   runs `main`: that would do the program's work a second time.
//! - A worker serves the process that started it, and nobody else.
//! - A program that a worker starts is as any other, also if it is this program: it runs `main`.
//!
//! A parent puts [`WORKER_VARIABLE`] with its process id into the environment of each worker, and never into its own.
//! So a process that finds a number there was started as a worker, and needs no living parent to know that: looking
//! whether the parent is still there would take an orphan for a program. The worker then marks the number as
//! [`STARTED_MARK`], before anything else: what it starts later inherits the mark_as_started. Only a program that a
//! constructor starts before that, in a worker, finds the bare number; it ends, with an error.
//!
//! Anybody can set a variable and hand over a socket. The kernel knows better: a socket pair keeps the process id, user
//! and group of its maker (`SO_PEERCRED`), who must be the parent. In a program that has more rights than its caller,
//! by a set-user-ID bit or a file's capabilities, the same user may be behind both and have fewer rights: no such
//! process becomes a worker (`AT_SECURE`, as the loader refuses `LD_PRELOAD`).

use std::sync::atomic::{AtomicBool, Ordering};

use super::{os, worker};
use crate::sys::owner::end_now;

/// The variable that tells a program that it was started as a worker: its parent's process id.
pub(super) const WORKER_VARIABLE: &str = "FANFOLD_WORKER_OF";

/// Follows the number in a worker that has read it, and in what that starts.
const STARTED_MARK: &str = " started";

/// The parent's process id, if this process was started as a worker and has not become one yet.
fn parent() -> Option<u32> {
    std::env::var(WORKER_VARIABLE).ok()?.parse().ok()
}

/// Makes the variable tell those who inherit it that it is not for them.
fn mark_as_started(parent: u32) {
    // SAFETY: this comes first in `main` or before it, so at most threads of constructors run. The libraries of Linux
    // replace the pointer of a variable that is there, and free neither the old text nor the table of the variables, so
    // such a thread reads the one text or the other.
    unsafe { std::env::set_var(WORKER_VARIABLE, format!("{parent}{STARTED_MARK}")) };
}

/// Does not return in a process that was started as a worker.
pub(super) fn serve_if_worker() {
    if let Some(parent) = parent() {
        mark_as_started(parent);
        serve(parent);
    }
}

fn serve(parent: u32) -> ! {
    match check_parent(parent) {
        Ok(()) => worker::run(parent),
        Err(NotAWorker::Orphan) => end_now(),
        Err(NotAWorker::NotStartedByPool(why)) => {
            eprintln!(
                "{WORKER_VARIABLE}={parent} starts this program as a worker process of a Fanfold pool, but {why}"
            );
            end_now()
        }
    }
}

/// Why a process that was started as a worker does not become one.
#[derive(Debug, PartialEq, Eq)]
enum NotAWorker {
    /// Its parent has ended: there is nobody to tell.
    Orphan,
    /// It was not started by a pool.
    NotStartedByPool(&'static str),
}

/// Whether the parent of this process is the one that the variable and standard input tell of.
fn check_parent(parent: u32) -> Result<(), NotAWorker> {
    if os::has_elevated_rights() {
        return Err(NotAWorker::NotStartedByPool(
            "it has more rights than its caller (a set-user-ID or set-group-ID file, or one with capabilities), and then \
             it serves nobody: unset the variable",
        ));
    }
    let not_ours = NotAWorker::NotStartedByPool(
        "its standard input is not the socket of such a pool in its parent process: unset the variable",
    );
    let Some(peer) = os::stdin_peer() else { return Err(not_ours) };
    if peer != os::Peer::of_same_user(parent) {
        return Err(not_ours);
    }
    if os::parent_id() == Some(parent) { Ok(()) } else { Err(NotAWorker::Orphan) }
}

/// A function in the table of what the loader calls before `main`: with `argc`, `argv` and `envp`.
pub type Constructor = unsafe extern "C" fn(i32, *const *const u8, *const *const u8);

/// What [`process_tests!`](crate::process_tests) runs before `main`, as one of the program's constructors.
///
/// A worker never comes to `main`, so it does here what is done between this constructor and `main`'s first line: it
/// runs the constructors that come after this one in the table, and makes standard streams and SIGPIPE what Rust's
/// runtime makes of them.
///
/// # Safety
///
/// `table` is the loader's table of the program's constructors, from its first entry to behind its last. The loader is
/// calling `own`, which is one of them, with the other arguments.
pub unsafe fn construct(
    own: Constructor,
    table: (*const Option<Constructor>, *const Option<Constructor>),
    arguments: (i32, *const *const u8, *const *const u8),
) {
    /// Set in a worker once its constructors run here. Another `process_tests!` may be one of them.
    static CONSTRUCTORS_RUN: AtomicBool = AtomicBool::new(false);
    if CONSTRUCTORS_RUN.load(Ordering::Relaxed) {
        return;
    }
    let Some(parent) = parent() else { return crate::init() };
    mark_as_started(parent);
    CONSTRUCTORS_RUN.store(true, Ordering::Relaxed);
    let (argc, argv, envp) = arguments;
    let mut next = table.0;
    let mut after = false;
    while next < table.1 {
        // SAFETY: an entry of the table, says the caller: null, or a function of this type.
        let constructor = unsafe { *next };
        if let Some(constructor) = constructor {
            if after {
                // SAFETY: the loader would call it next, with these arguments. It does not come to that: this function
                // never returns to it.
                unsafe { constructor(argc, argv, envp) };
            }
            after |= constructor as usize == own as usize;
        }
        next = next.wrapping_add(1);
    }
    os::prepare_like_rust_runtime();
    serve(parent)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_no_pool_has_started_serves_nobody() {
        // Standard input of a test is no socket, or not one that this process has made.
        let refusal = check_parent(std::process::id()).expect_err("it was not started as a worker");
        assert!(matches!(refusal, NotAWorker::NotStartedByPool(why) if why.contains("standard input")), "{refusal:?}");
    }
}
