//! Tasks that end the main thread of their worker, and not the worker: other threads of it live on.

use std::process;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{Pool, TaskError, parallel};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("workers").threads(2);
static ONE: Pool = Pool::process("one").threads(1);

/// Ends the calling thread as the C library's threads end: without the process, and without any destructor.
fn end_thread() -> ! {
    // SAFETY: the thread ends here; what it holds stays as it is.
    unsafe {
        libc::syscall(libc::SYS_exit, 0);
    }
    unreachable!("the thread has ended")
}

#[parallel(kind = "process", pool = WORKERS)]
fn end_main_thread(with_others: bool) -> u32 {
    if with_others {
        thread::spawn(|| thread::sleep(Duration::from_hours(1)));
    }
    end_thread()
}

/// The lock of standard error stays with the thread that has ended.
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

/// What the call gives; it must not hang.
#[track_caller]
fn outcome(call: impl FnOnce() -> Result<u32, TaskError> + Send + 'static) -> Result<u32, TaskError> {
    let (told, outcome) = channel();
    thread::spawn(move || told.send(call()));
    outcome.recv_timeout(Duration::from_mins(1)).expect("the call does not hang")
}

#[test]
fn a_task_that_ends_its_workers_main_thread_is_lost_without_a_time_limit() {
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
fn a_task_that_ends_another_thread_of_its_worker_leaves_the_worker() {
    let worker = outcome(|| end_another_thread::submit().join()).expect("the main thread lives");
    // Longer than it takes to notice that a main thread has ended.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(outcome(|| end_another_thread::submit().join()).expect("the main thread lives"), worker);
    }
}
