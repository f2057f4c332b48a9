//! Functions of `kind = "process"` on a pool that is chosen at run time, and their deadlines.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::id;
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{Pool, Priority, TaskError, parallel};

fanfold::process_tests!();

const LONG: Duration = Duration::from_secs(3_600);

#[parallel(kind = "process")]
fn pid() -> u32 {
    id()
}

#[parallel(kind = "process")]
fn add(a: u32, b: u32) -> (u32, u32) {
    (id(), a + b)
}

#[parallel(kind = "process")]
fn square(n: u64) -> u64 {
    n * n
}

#[parallel(kind = "process", chunks = 3)]
fn pids(numbers: Vec<u32>) -> Vec<u32> {
    numbers.iter().map(|_| id()).collect()
}

#[parallel(kind = "process")]
fn sleep(seconds: u64) -> Result<u64, TaskError> {
    thread::sleep(Duration::from_secs(seconds));
    Ok(seconds)
}

#[parallel(kind = "process")]
fn sleep_plainly(seconds: u64) {
    thread::sleep(Duration::from_secs(seconds));
}

static SINGLE: Pool = Pool::process("single").threads(1);

#[parallel(kind = "process", pool = SINGLE, deadline = "1s")]
fn soon(seconds: u64) -> Result<u64, TaskError> {
    thread::sleep(Duration::from_secs(seconds));
    Ok(seconds)
}

#[parallel(kind = "process", pool = SINGLE, deadline = "1h", timeout = "50ms")]
fn short(seconds: u64) -> Result<u64, TaskError> {
    thread::sleep(Duration::from_secs(seconds));
    Ok(seconds)
}

#[parallel(kind = "process", chunks = 2, deadline = "1h")]
fn halves(numbers: Vec<u32>) -> Result<Vec<u32>, TaskError> {
    Ok(numbers.iter().map(|n| n / 2).collect())
}

fn pool() -> Pool {
    Pool::process("chosen").threads(1).build().expect("a pool of one process")
}

/// The message of a panic.
fn panic_of(call: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(call)).expect_err("it panics");
    *payload.downcast::<String>().expect("a message")
}

#[test]
fn all_ways_to_call_run_in_the_processes_of_the_pool() {
    let pool = pool();
    let worker = pid::on(&pool).call();
    assert_ne!(worker, id());
    assert_ne!(worker, pid(), "the direct call runs on the function's own pool");
    assert_eq!(pid::on(&pool).submit().join().unwrap(), worker);
    assert_eq!(pid::on(&pool).try_submit().unwrap().join().unwrap(), worker);
    assert_eq!(pollster::block_on(async { pid::on(&pool).submit_async().await.await }).unwrap(), worker);
    assert_eq!(add::on(&pool).call(1, 2), (worker, 3));
    assert_eq!(add::on(&pool).priority(Priority::High).submit(3, 4).join().unwrap(), (worker, 7));
    assert_eq!(add::on(&pool).priority(Priority::Low).call(3, 5), (worker, 8));
    let sums: Vec<(u32, u32)> = add::on(&pool).map([(1, 1), (2, 2)]).collect();
    assert_eq!(sums, [(worker, 2), (worker, 4)]);
    assert_eq!(square::on(&pool).map(0..100).into_iter().sum::<u64>(), 328_350);
    assert_eq!(pid::on(&pool).map([(); 3]).collect::<Vec<_>>(), [worker; 3]);
    assert_eq!(pids::on(&pool).call(vec![0; 5]), [worker; 5]);
    assert_eq!(pids::on(&pool).submit(vec![0; 4]).join().unwrap(), [worker; 4]);
}

#[parallel(kind = "process")]
#[allow(clippy::too_many_arguments, reason = "as many as `on` takes")]
fn twelve(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: String) -> (u32, String) {
    (id(), format!("{}{l}", [a, b, c, d, e, f, g, h, i, j, k].map(u32::from).iter().sum::<u32>()))
}

#[allow(clippy::needless_pass_by_value, reason = "it crosses to another process")]
#[parallel(kind = "process", chunks = 2)]
#[allow(clippy::too_many_arguments, reason = "as many as `on` takes")]
fn cut(a: Vec<u8>, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: String) -> Vec<String> {
    a.iter().map(|a| format!("{}{l}", [*a, b, c, d, e, f, g, h, i, j, k].map(u32::from).iter().sum::<u32>())).collect()
}

#[test]
fn functions_have_up_to_twelve_arguments() {
    let (pool, l) = (pool(), || "!".to_owned());
    let (worker, text) = twelve::on(&pool).call(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, l());
    assert_eq!((worker, &*text), (pid::on(&pool).call(), "66!"));
    let task = twelve::on(&pool).submit(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, l());
    assert_eq!(task.join().unwrap(), (worker, "66!".to_owned()));
    let task = twelve::on(&pool).try_submit(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, l()).unwrap();
    assert_eq!(task.join().unwrap(), (worker, "66!".to_owned()));
    let items = (0..5).map(|n| (n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, l()));
    let all: Vec<(u32, String)> = twelve::on(&pool).map(items).collect();
    assert!(all.iter().enumerate().all(|(n, (id, text))| *id == worker && *text == format!("{n}!")), "{all:?}");
    let sums = ["1!", "2!", "3!"];
    assert_eq!(cut::on(&pool).call(vec![1, 2, 3], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, l()), sums);
    assert_eq!(cut::on(&pool).submit(vec![1, 2, 3], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, l()).join().unwrap(), sums);
}

#[test]
fn a_pool_of_threads_is_refused_with_the_remedy() {
    let threads = Pool::io("threads").threads(1).build().unwrap();
    for message in [
        panic_of(|| _ = pid::on(&threads).call()),
        panic_of(|| drop(pid::on(&threads).submit())),
        panic_of(|| drop(pid::on(&threads).map([()]))),
        panic_of(|| drop(pids::on(&threads).call(vec![1]))),
    ] {
        assert!(message.contains("has no processes: give it a `Pool::process`"), "{message}");
        assert!(message.contains("pid"), "{message}");
    }
}

#[test]
fn a_call_of_a_killed_pool_says_so() {
    let pool = pool();
    pool.kill();
    for message in [
        panic_of(|| _ = pid::on(&pool).call()),
        panic_of(|| drop(pids::on(&pool).call(vec![1, 2]))),
        panic_of(|| drop(square::on(&pool).map(0..5).collect::<Vec<_>>())),
    ] {
        assert!(message.contains("its pool was closed"), "{message}");
    }
    assert!(matches!(pid::on(&pool).submit().join(), Err(TaskError::PoolClosed)));
}

#[parallel(kind = "process", chunks = 2)]
fn sleep_all(seconds: Vec<u64>) -> Vec<u64> {
    seconds.iter().for_each(|seconds| thread::sleep(Duration::from_secs(*seconds)));
    seconds
}

#[test]
fn a_call_on_a_pool_that_is_killed_meanwhile_says_so() {
    let calls: [fn(&Pool); 3] = [
        |pool| drop(sleep_all::on(pool).call(vec![3600, 3600])),
        |pool| sleep_plainly::on(pool).call(3600),
        |pool| drop(square_slowly::on(pool).map([1, 2]).collect::<Vec<_>>()),
    ];
    for call in calls {
        let pool = pool();
        let message = thread::scope(|scope| {
            let caller = scope.spawn(|| panic_of(|| call(&pool)));
            while pool.stats().busy == 0 {
                thread::yield_now();
            }
            pool.kill();
            caller.join().expect("its panic is caught")
        });
        assert!(message.contains("its pool was closed"), "{message}");
    }
}

#[parallel(kind = "process")]
fn square_slowly(n: u64) -> u64 {
    thread::sleep(Duration::from_secs(3_600));
    n * n
}

#[test]
fn a_deadline_in_the_past_starts_no_call() {
    let pool = pool();
    for task in [
        square::on(&pool).deadline(Duration::ZERO).submit(1),
        square::on(&pool).deadline(Instant::now()).priority(Priority::High).try_submit(1).unwrap(),
        pollster::block_on(square::on(&pool).deadline(Instant::now()).submit_async(1)),
    ] {
        assert!(matches!(task.join(), Err(TaskError::TimedOut { .. })));
    }
    assert!(matches!(sleep::on(&pool).deadline(Duration::ZERO).call(0), Err(TaskError::TimedOut { .. })));
    assert!(matches!(pids::on(&pool).deadline(Duration::ZERO).submit(vec![1]).join(), Err(TaskError::TimedOut { .. })));
    let message = panic_of(|| sleep_plainly::on(&pool).deadline(Duration::ZERO).call(0));
    assert!(message.contains("deadline"), "{message}");
    assert_eq!(pool.stats().done, 0);
}

#[test]
fn a_call_in_time_is_as_without_a_deadline() {
    let pool = pool();
    assert_eq!(square::on(&pool).deadline(LONG).submit(3).join().unwrap(), 9);
    assert_eq!(square::on(&pool).deadline(Duration::MAX).call(4), 16);
    assert_eq!(halves(vec![2, 4, 6]).unwrap(), [1, 2, 3]);
    assert_eq!(halves::submit(vec![2, 4]).join().unwrap().unwrap(), [1, 2]);
    assert_eq!(halves::on(&pool).call(vec![8]).unwrap(), [4]);
}

#[test]
fn a_queued_call_ends_at_its_deadline_and_never_starts() {
    let pool = pool();
    let running = sleep::on(&pool).submit(3600);
    while !running.is_running() {
        thread::yield_now();
    }
    let late = square::on(&pool).deadline(Duration::from_millis(20)).submit(2);
    assert!(matches!(late.join(), Err(TaskError::TimedOut { after }) if after == Duration::from_millis(20)));
    assert_eq!(pool.stats().queued, 0);
    running.cancel();
    assert!(running.join().is_err());
}

#[test]
fn the_worker_of_a_call_that_runs_at_its_deadline_is_killed() {
    let pool = pool();
    let limit = Duration::from_millis(300);
    // On a machine that stalls for that long it never starts, which is the same error.
    let late = sleep::on(&pool).deadline(limit).submit(3600);
    assert!(matches!(late.join(), Err(TaskError::TimedOut { after }) if after == limit));
    let late = sleep::on(&pool).deadline(limit).call(3600);
    assert!(matches!(late, Err(TaskError::TimedOut { after }) if after == limit));
    assert_eq!(square::on(&pool).call(5), 25, "the pool goes on");
}

#[test]
fn the_options_deadline_and_timeout_hold_together() {
    let after = |result| match result {
        Err(TaskError::TimedOut { after }) => after,
        other => panic!("{other:?}"),
    };
    assert_eq!(after(short(3600)), Duration::from_millis(50));
    assert_eq!(after(soon::submit(3600).join().flatten_error()), Duration::from_secs(1));
    assert_eq!(after(soon(3600)), Duration::from_secs(1));
}

/// The error of the task, or of its result.
trait FlattenError<T> {
    fn flatten_error(self) -> Result<T, TaskError>;
}

impl<T> FlattenError<T> for Result<Result<T, TaskError>, TaskError> {
    fn flatten_error(self) -> Result<T, TaskError> {
        self.and_then(|result| result)
    }
}
