//! Worker processes that fail to start: the number of attempts is bounded for every kind of call, the error names the
//! cause, timeouts and cancelling apply during the start, and a failed start leaves nothing behind.
//!
//! Each test runs in a process of its own: this program runs itself, and a variable says what its workers do at their
//! start.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::process::{self, Command};
use std::time::{Duration, Instant};

use fanfold::{Pending, Pool, TaskError, join_all, parallel};

fanfold::process_tests!();

/// Set in the process that runs the body of a test.
const IN_CHILD: &str = "FANFOLD_TEST_BODY";
/// What workers do at their start.
const AT_START: &str = "FANFOLD_TEST_AT_START";
/// Names the file to which every start of a worker adds a byte.
const STARTS: &str = "FANFOLD_TEST_STARTS";

/// Does what [`AT_START`] says if this process is a worker, before `main` and before `process_tests!`.
extern "C" fn at_start() {
    let (Ok(what), Ok(path)) = (std::env::var(AT_START), std::env::var(STARTS)) else { return };
    if std::env::var_os("FANFOLD_WORKER_OF").is_none() {
        return;
    }
    let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).expect("it can be written");
    file.write_all(b".").expect("it can be written");
    let starts = file.metadata().expect("it is there").len();
    match what.as_str() {
        "exit" => end(),
        "exit three times" if starts <= 3 => end(),
        "exit at first" if is_within_a_tenth_of_a_second(&format!("{path}-first")) => end(),
        "hang" => hang(),
        "hang once" if starts <= 1 => hang(),
        _ => {}
    }
}

/// Whether the first worker called this at most a tenth of a second ago, by the age of its file.
fn is_within_a_tenth_of_a_second(path: &str) -> bool {
    let _ = fs::File::create_new(path);
    let first = fs::metadata(path).and_then(|file| file.modified()).expect("it is there");
    first.elapsed().is_ok_and(|age| age < Duration::from_millis(100))
}

fn end() -> ! {
    // SAFETY: ends the process without running anything else.
    unsafe { libc::_exit(3) }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

#[used]
#[unsafe(link_section = ".init_array.00200")]
static AT_START_FIRST: extern "C" fn() = at_start;

/// The number of workers started so far.
fn starts() -> u64 {
    let path = std::env::var(STARTS).expect("it is set");
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Runs the body of the test in a process of its own, whose workers do `what` at their start.
fn with_workers_that(test: &str, what: &str, body: fn()) {
    if std::env::var_os(IN_CHILD).is_some() {
        return body();
    }
    let path = format!("{}/starts-{test}-{}", env!("CARGO_TARGET_TMPDIR"), process::id());
    let _ = fs::remove_file(&path);
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    child.args([test, "--exact", "--nocapture"]).env(IN_CHILD, "yes").env(AT_START, what).env(STARTS, &path);
    let status = child.status().expect("this program starts again");
    let _ = fs::remove_file(&path);
    let _ = fs::remove_file(format!("{path}-first"));
    assert!(status.success(), "{status}");
}

static WORKERS: Pool = Pool::process("workers").threads(2);

#[parallel(kind = "process", pool = WORKERS)]
fn double(n: u32) -> Result<u32, TaskError> {
    Ok(2 * n)
}

#[parallel(kind = "process", pool = WORKERS, retries = 1_000_000, timeout = "3s")]
fn double_again(n: u32) -> Result<u32, TaskError> {
    Ok(2 * n)
}

#[parallel(kind = "process", pool = WORKERS, timeout = "1s")]
fn double_in_time(n: u32) -> Result<u32, TaskError> {
    Ok(2 * n)
}

#[parallel(kind = "process", pool = WORKERS, chunks = 4)]
fn double_all(numbers: Vec<u32>) -> Vec<u32> {
    numbers.into_iter().map(|n| 2 * n).collect()
}

#[track_caller]
fn assert_names_cause(error: &TaskError) {
    let TaskError::WorkerDied { message, .. } = error else { panic!("{error}") };
    assert!(message.contains("in a row have failed") && message.contains("exited with code 3"), "{message}");
}

#[test]
fn every_kind_of_call_gives_up_and_names_the_cause() {
    with_workers_that("every_kind_of_call_gives_up_and_names_the_cause", "exit", || {
        assert_names_cause(&double(1).expect_err("no worker"));
        assert!(starts() <= 10, "{}", starts());
        assert_names_cause(&double::submit(1).join().expect_err("no worker"));
        let all: Vec<_> = double::map(0..1_000).collect();
        all.iter().for_each(|result| assert_names_cause(result.as_ref().expect_err("no worker")));
        let panic = std::panic::catch_unwind(|| double_all((0..100).collect())).expect_err("no worker");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains("exited with code 3"), "{message}");
        assert!(starts() <= 60, "{}", starts());
    });
}

#[test]
fn queued_tasks_share_the_error_of_one_series_of_attempts() {
    with_workers_that("queued_tasks_share_the_error_of_one_series_of_attempts", "exit", || {
        let tasks: Vec<_> = (0..5_000).map(double::submit).collect();
        for task in tasks {
            assert_names_cause(&task.join().expect_err("no worker"));
        }
        assert!(starts() <= 60, "{}", starts());
    });
}

#[test]
fn retries_pause_between_starts_of_workers() {
    with_workers_that("retries_pause_between_starts_of_workers", "exit", || {
        let error = double_again(1).expect_err("no worker");
        assert!(matches!(error, TaskError::TimedOut { .. }), "{error}");
        assert!(starts() <= 20, "{}", starts());
    });
}

static TINY: Pool = Pool::process("tiny").threads(2).memory_limit(1);

#[parallel(kind = "process", pool = TINY)]
fn without_memory(n: u32) -> Result<u32, TaskError> {
    Ok(n)
}

#[test]
fn starts_of_workers_without_memory_are_bounded() {
    with_workers_that("starts_of_workers_without_memory_are_bounded", "live", || {
        // The memory that the program has left at its start may suffice for a task or two.
        let tasks: Vec<_> = (0..20).map(without_memory::submit).collect();
        let failed = tasks.into_iter().filter_map(|task| task.join().err());
        let failed: Vec<String> = failed.map(|error| error.to_string()).collect();
        assert!(failed.iter().all(|error| error.contains("memory")), "{failed:#?}");
        assert!(starts() <= 60, "{}", starts());
    });
}

#[test]
fn a_start_that_fails_three_times_fails_no_task() {
    with_workers_that("a_start_that_fails_three_times_fails_no_task", "exit three times", || {
        let tasks: Vec<_> = (0..100).map(double::submit).collect();
        let all = join_all(tasks).expect("a worker starts");
        assert!(all.into_iter().zip(0..).all(|(result, n)| matches!(result, Ok(same) if same == 2 * n)));
        assert!((4..=5).contains(&starts()), "{}", starts());
    });
}

static SIXTEEN: Pool = Pool::process("sixteen").threads(16);

#[parallel(kind = "process", pool = SIXTEEN)]
fn triple(n: u32) -> Result<u32, TaskError> {
    Ok(3 * n)
}

#[test]
fn concurrent_first_starts_that_fail_fail_no_task() {
    with_workers_that("concurrent_first_starts_that_fail_fail_no_task", "exit at first", || {
        let tasks: Vec<_> = (0..1_000).map(triple::submit).collect();
        let all = join_all(tasks).expect("a worker starts");
        assert!(all.into_iter().zip(0..).all(|(result, n)| matches!(result, Ok(same) if same == 3 * n)));
    });
}

#[test]
fn a_timeout_applies_while_a_worker_starts() {
    with_workers_that("a_timeout_applies_while_a_worker_starts", "hang", || {
        let begun = Instant::now();
        let error = double_in_time(1).expect_err("its worker hangs");
        assert!(matches!(error, TaskError::TimedOut { after } if after.as_secs() == 1), "{error}");
        let error = double_in_time::submit(1).join().expect_err("it hangs too");
        assert!(matches!(error, TaskError::TimedOut { .. }), "{error}");
        // Without a timeout a worker has 30 s to become ready.
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
        assert_eq!(children(), 0);
    });
}

#[test]
fn a_task_can_be_cancelled_while_its_worker_starts() {
    with_workers_that("a_task_can_be_cancelled_while_its_worker_starts", "hang", || {
        let begun = Instant::now();
        for alone in [true, false] {
            let before = starts();
            let tasks: Vec<_> = (0..if alone { 1 } else { 50 }).map(double::submit).collect();
            while starts() == before {
                std::thread::yield_now();
            }
            tasks.iter().for_each(|task| _ = task.cancel());
            for task in tasks {
                assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            }
        }
        let before = starts();
        let task = double::submit(1);
        while starts() == before {
            std::thread::yield_now();
        }
        WORKERS.shutdown(Pending::Cancel);
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
        assert_eq!(children(), 0);
    });
}

#[test]
fn a_worker_that_hangs_at_its_start_delays_no_other_call() {
    with_workers_that("a_worker_that_hangs_at_its_start_delays_no_other_call", "hang once", || {
        let begun = Instant::now();
        let hangs = double::submit(1);
        while starts() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(double::submit(2).join().expect("a worker starts").expect("no error"), 4);
        assert_eq!(double(3).expect("a worker is there"), 6);
        hangs.cancel();
        assert!(matches!(hangs.join(), Err(TaskError::Cancelled)));
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    });
}

/// The number of child processes, including zombies.
fn children() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("it can be read").flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists.map(|list| list.split_whitespace().count()).sum()
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("it can be read").count()
}

fn limit_files(limit: u64) {
    // SAFETY: `now` is valid for the write and the read.
    unsafe {
        let mut now: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now), 0);
        now.rlim_cur = limit;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now), 0);
    }
}

#[test]
fn a_failed_start_leaves_neither_processes_nor_descriptors() {
    with_workers_that("a_failed_start_leaves_neither_processes_nor_descriptors", "live", || {
        // Creates everything that is created only once.
        assert_eq!(double(1).expect("there are enough files"), 2);
        WORKERS.shutdown(Pending::Run);
        let before = open_files();
        assert_eq!(children(), 0);
        let (mut failed, mut reasons) = (0, Vec::new());
        for limit in 3..before as u64 + 16 {
            let pool = Pool::process("few files").threads(1).build().expect("there are threads");
            limit_files(limit);
            let result = double::map([21]).on(&pool).collect::<Vec<_>>().pop().expect("one item");
            limit_files(1_000);
            drop(pool);
            match result {
                Ok(result) => assert_eq!(result, 42),
                Err(TaskError::WorkerDied { message, .. }) => {
                    failed += 1;
                    reasons.push(message);
                }
                Err(other) => panic!("{limit}: {other}"),
            }
            assert_eq!(children(), 0, "{limit}: {reasons:?}");
            // Over the portable transport the threads of the connection close it a moment later.
            let begun = Instant::now();
            while open_files() > before {
                assert!(begun.elapsed() < Duration::from_secs(20), "{limit}, {}: {reasons:?}", open_files());
                std::thread::yield_now();
            }
        }
        assert!(failed > 2, "{reasons:?}");
        // A process that dies before the worker's own code runs cannot report a reason; everything else is reported.
        let is_reported =
            |reason: &String| reason.contains("RLIMIT_NOFILE") || reason.contains("ended before it was ready");
        assert!(reasons.iter().all(is_reported), "{reasons:#?}");
    });
}
