//! Tasks that end their worker's main thread without ending the process, because other threads of it are alive.
#![cfg(all(target_os = "linux", not(fanfold_portable)))]

use std::process;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{Pool, TaskError, parallel};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("workers").threads(2);
static ONE: Pool = Pool::process("one").threads(1);

/// Ends the calling thread by the `exit` system call, as the C library does: the process continues, and no destructor
/// runs.
fn end_thread() -> ! {
    // SAFETY: the system call ends only this thread, whose stack stays allocated.
    unsafe {
        libc::syscall(libc::SYS_exit, 0);
    }
    unreachable!("the thread has ended")
}

#[parallel(kind = "process", pool = WORKERS)]
fn end_main_thread(with_others: bool) -> u32 {
    if with_others {
        thread::spawn(|| thread::sleep(Duration::from_secs(3_600)));
    }
    end_thread()
}

/// The ended thread still holds the lock of standard error.
#[parallel(kind = "process", pool = WORKERS)]
fn end_main_thread_with_stderr() -> u32 {
    let _stderr = std::io::stderr().lock();
    end_thread()
}

#[parallel(kind = "process", pool = ONE)]
fn end_another_thread() -> u32 {
    let (held, ended) = channel::<()>();
    thread::spawn(move || {
        let _held = held;
        thread::spawn(|| end_thread());
    });
    assert!(ended.recv().is_err());
    process::id()
}

/// Gives the result of the call, and panics if the call hangs.
#[track_caller]
fn outcome(call: impl FnOnce() -> Result<u32, TaskError> + Send + 'static) -> Result<u32, TaskError> {
    let (sender, outcome) = channel();
    thread::spawn(move || sender.send(call()));
    outcome.recv_timeout(Duration::from_secs(60)).expect("the call does not hang")
}

#[test]
fn ending_a_workers_main_thread_fails_its_task_without_a_timeout() {
    let calls: [fn() -> Result<u32, TaskError>; 3] = [
        || end_main_thread::submit(false).join(),
        || end_main_thread::submit(true).join(),
        || end_main_thread_with_stderr::submit().join(),
    ];
    for call in calls {
        let error = outcome(call).expect_err("its thread is gone");
        assert!(matches!(error, TaskError::WorkerDied { code: Some(1), .. }), "{error}");
    }
}

#[test]
fn ending_another_thread_of_a_worker_keeps_the_worker() {
    let worker = outcome(|| end_another_thread::submit().join()).expect("the main thread lives");
    // Longer than detecting an ended main thread takes.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(outcome(|| end_another_thread::submit().join()).expect("the main thread lives"), worker);
    }
}
