//! Startup: whether this process was started as a worker. It is decided once, in [`init`](crate::init), before `main`
//! runs.
//!
//! - A process that was started as a worker becomes one or exits, even if its parent has ended meanwhile. It never runs
//!   `main`, which would do the program's work a second time.
//! - A worker serves only the process that started it.
//! - A program that a worker starts is no worker, even if it is the same program: it runs `main`.
//!
//! A parent sets [`WORKER_VARIABLE`] to its process id in the environment of each worker, and never in its own. So a
//! process that finds a number there was started as a worker. Checking whether the parent lives would take a worker
//! whose parent has ended for an ordinary program. The worker first appends [`STARTED_MARK`] to the number, which the
//! programs that it starts inherit. Only a program that a constructor starts before that finds the bare number; it
//! exits with an error.
//!
//! Any process can set a variable and pass a socket. But the kernel stores the process id, user and group of the
//! process that made a socket pair (`SO_PEERCRED`), and this must be the parent. A program that has more rights than
//! its caller, by a set-user-ID bit or capabilities of its file, never becomes a worker, because the caller could be
//! the parent and have fewer rights (`AT_SECURE`; the loader ignores `LD_PRELOAD` for the same reason).

use std::sync::atomic::{AtomicBool, Ordering};

use super::{os, worker};
use crate::sys::owner::exit_now;

/// The environment variable of a worker process: the id of its parent.
pub(super) const WORKER_VARIABLE: &str = "FANFOLD_WORKER_OF";

/// The text behind the id in the variable, once the worker has read it.
const STARTED_MARK: &str = " started";

/// The parent's process id, if this process was started as a worker and has not marked the variable yet.
fn parent() -> Option<u32> {
    std::env::var(WORKER_VARIABLE).ok()?.parse().ok()
}

/// Marks the variable, so that programs that this process starts do not take themselves for workers.
fn mark_as_started(parent: u32) {
    // SAFETY: this runs first in `main` or before it, so the only other threads are those of constructors, which may
    // read the environment. `setenv` of the C libraries on Linux replaces the pointer of an existing variable, and
    // frees neither the old text nor the table, so a concurrent reader sees the old or the new text.
    unsafe { std::env::set_var(WORKER_VARIABLE, format!("{parent}{STARTED_MARK}")) };
}

/// Serves the parent if this process was started as a worker, and then does not return.
pub(super) fn serve_if_worker() {
    if let Some(parent) = parent() {
        mark_as_started(parent);
        serve(parent);
    }
}

fn serve(parent: u32) -> ! {
    match check_parent(parent) {
        Ok(()) => worker::run(parent),
        Err(NotAWorker::Orphan) => exit_now(),
        Err(NotAWorker::NotStartedByPool(why)) => {
            eprintln!(
                "{WORKER_VARIABLE}={parent} starts this program as a worker process of a Fanfold pool, but {why}"
            );
            exit_now()
        }
    }
}

/// Why a process that was started as a worker does not become one.
#[derive(Debug, PartialEq, Eq)]
enum NotAWorker {
    /// The parent has ended, so the process exits silently.
    Orphan,
    /// No pool started the process.
    NotStartedByPool(&'static str),
}

/// Checks that the parent of this process is the process in the variable, and made the socket that is standard input.
fn check_parent(parent: u32) -> Result<(), NotAWorker> {
    if os::has_elevated_rights() {
        return Err(NotAWorker::NotStartedByPool(
            "it has more rights than its caller (a set-user-ID or set-group-ID file, or one with capabilities), and \
             then it becomes no worker: unset the variable",
        ));
    }
    let not_ours = NotAWorker::NotStartedByPool(
        "its standard input is not the socket of such a pool in its parent process: unset the variable",
    );
    let Some(peer) = os::stdin_peer(parent) else { return Err(not_ours) };
    if peer != os::Peer::of_same_user(parent) {
        return Err(not_ours);
    }
    if os::is_parent(parent) { Ok(()) } else { Err(NotAWorker::Orphan) }
}

/// A function that the loader calls before `main`, with `argc`, `argv` and `envp`.
pub type Constructor = unsafe extern "C" fn(i32, *const *const u8, *const *const u8);

/// What [`process_tests!`](crate::process_tests) runs before `main`, as one of the program's constructors.
///
/// A worker never reaches `main`. So this does what happens between this constructor and `main`: it runs the
/// constructors behind this one in the table, and prepares standard streams and SIGPIPE as Rust's runtime does.
///
/// # Safety
///
/// `table` is the loader's table of constructors, from its first entry to behind its last. The loader is calling `own`,
/// which is one of the entries, with `arguments`.
pub unsafe fn construct(
    own: Constructor,
    table: (*const Option<Constructor>, *const Option<Constructor>),
    arguments: (i32, *const *const u8, *const *const u8),
) {
    /// Set in a worker once its constructors run here, because another `process_tests!` may be one of them.
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
        // SAFETY: `next` is within the table, as the loop condition checks, and the caller guarantees that the table
        // holds constructors or null pointers.
        let constructor = unsafe { *next };
        if let Some(constructor) = constructor {
            if after {
                // SAFETY: the caller guarantees that this is one of the program's constructors, and these are the
                // arguments that the loader passes. The loader does not call it a second time, because this function
                // never returns.
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
    fn a_process_that_no_pool_started_does_not_become_a_worker() {
        // Standard input of a test is no socket that this process made.
        let refusal = check_parent(std::process::id()).expect_err("it was not started as a worker");
        assert!(matches!(refusal, NotAWorker::NotStartedByPool(why) if why.contains("standard input")), "{refusal:?}");
    }
}
