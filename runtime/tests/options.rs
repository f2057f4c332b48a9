//! The options `timeout`, `retries`, and `init` with `#[worker]`.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use fanfold::{Pool, TaskError, cancelled, parallel};

static ONE: Pool = Pool::io("slow1").threads(1);

/// Runs until it is cancelled, and then sends the id of its thread.
#[parallel(kind = "io", timeout = "5ms", pool = ONE)]
fn runs_until_cancelled(sender: mpsc::Sender<thread::ThreadId>) -> Result<u32, TaskError> {
    while !cancelled() {
        thread::yield_now();
    }
    sender.send(thread::current().id()).ok();
    Ok(1)
}

#[parallel(kind = "cpu", timeout = "1m")]
fn half(n: u32) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    if n.is_multiple_of(2) { Ok(n / 2) } else { Err(format!("{n} is odd").into()) }
}

#[test]
fn a_call_past_its_timeout_fails_and_is_cancelled() {
    let (sender, receiver) = mpsc::channel();
    for _ in 0..3 {
        let error = runs_until_cancelled(sender.clone()).expect_err("it never ends");
        assert!(matches!(error, TaskError::TimedOut { after } if after == Duration::from_millis(5)), "{error:?}");
        receiver.recv().expect("it sees that it is cancelled");
    }
    let error = runs_until_cancelled::submit(sender.clone()).join().expect_err("it never ends");
    assert_eq!(error.to_string(), "the task was not done within 5ms");
    let all: Vec<Result<u32, TaskError>> = runs_until_cancelled::map(vec![sender.clone(), sender]).collect();
    assert!(all.iter().all(|item| matches!(item, Err(TaskError::TimedOut { .. }))));
    // A new thread replaced the pool's only one after each call, and the pool continues.
    assert_eq!(ONE.submit(|| 7).join().expect("no panic"), 7);
}

#[test]
fn a_call_within_its_timeout_gives_its_result_or_its_own_error() {
    assert_eq!(half(4).expect("even"), 2);
    assert_eq!(half(3).expect_err("odd").to_string(), "3 is odd");
    let all: Result<Vec<u32>, _> = half::map([2, 4, 6]).collect();
    assert_eq!(all.expect("all even"), [1, 2, 3]);
    assert!(half::map([2, 3]).collect::<Result<Vec<_>, _>>().is_err());
    assert_eq!(half::map(0..100).unordered().into_iter().flatten().count(), 50);
}

#[test]
fn dropping_a_pool_does_not_wait_for_a_timed_out_thread() {
    let pool = Pool::io("left").threads(1).build().expect("threads start");
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let timed_out: Vec<Result<bool, TaskError>> = pool
        .map([0], move |_| released.lock().expect("no panic").recv().is_ok())
        .timeout(Duration::from_millis(1))
        .into_iter()
        .collect();
    assert!(matches!(timed_out[..], [Err(TaskError::TimedOut { .. })]));
    assert_eq!(pool.submit(|| 1).join().expect("another thread is there"), 1);
    drop(pool);
    drop(release);
}

#[test]
fn a_timeout_may_pass_while_the_task_waits() {
    static PAUSES: Pool = Pool::io("pauses").threads(1);

    /// Waits between its tries when its time is up.
    #[parallel(kind = "io", timeout = "5ms", retries = 1, backoff = "50ms", pool = PAUSES)]
    fn refused() -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
        Err("refused".into())
    }

    /// Waits for a task when its time is up, and then for another.
    #[parallel(kind = "io", timeout = "5ms", pool = PAUSES)]
    fn waits(release: mpsc::Receiver<()>, over: mpsc::Sender<u32>) -> Result<u32, TaskError> {
        Pool::io_default().submit(move || release.recv().is_err()).join()?;
        let answer = PAUSES.submit(|| 5).join()?;
        over.send(answer).ok();
        Ok(answer)
    }

    let ended = |result: Result<u32, _>| assert!(matches!(result, Err(TaskError::TimedOut { .. })));
    let error = refused().expect_err("its time is up before the second try").downcast().expect("a task's error");
    ended(Err(*error));
    let (release, released) = mpsc::channel();
    let (over, ends) = mpsc::channel();
    ended(waits(released, over));
    // Another thread has taken its permit, and the pool still has one.
    assert_eq!(PAUSES.submit(|| PAUSES.stats().busy).join().expect("no panic"), 1);
    drop(release);
    assert_eq!(ends.recv(), Ok(5));
    assert_eq!(PAUSES.submit(|| 1).join().expect("no panic"), 1);
}

#[test]
fn a_call_that_sees_the_cancellation_may_end_at_once() {
    static CANCELLED: Pool = Pool::io("cancelled_soon").threads(1);

    #[parallel(kind = "io", timeout = "200us", pool = CANCELLED)]
    fn until_cancelled() -> Result<u32, TaskError> {
        while !cancelled() {}
        Ok(1)
    }

    for _ in 0..if cfg!(miri) { 10 } else { 1_000 } {
        assert!(matches!(until_cancelled(), Err(TaskError::TimedOut { .. })));
    }
    assert_eq!(CANCELLED.submit(|| CANCELLED.stats().busy).join().expect("no panic"), 1);
}

#[test]
fn a_pause_between_tries_ends_when_the_task_is_cancelled() {
    static PAUSING: Pool = Pool::io("pausing").threads(1);

    #[parallel(kind = "io", retries = 1, backoff = "1h", pool = PAUSING)]
    fn refused(sender: mpsc::Sender<()>) -> Result<(), &'static str> {
        sender.send(()).expect("the test listens");
        Err("refused")
    }

    let (sender, receiver) = mpsc::channel();
    let task = refused::submit(sender);
    receiver.recv().expect("it runs");
    // During the pause its permit is free for other tasks.
    while PAUSING.stats().busy > 0 {
        std::thread::yield_now();
    }
    assert!(!task.cancel(), "it runs already");
    assert_eq!(task.join().expect("no panic"), Err("refused"));
    assert!(receiver.recv().is_err(), "there was no second try");
}

#[test]
fn retries_stop_at_the_first_success_and_at_the_last_failure() {
    #[parallel(kind = "io", retries = 3, backoff = "1us")]
    fn flaky(calls: Arc<AtomicUsize>, succeed_at: usize) -> Result<usize, String> {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        if call >= succeed_at { Ok(call) } else { Err(format!("call {call}")) }
    }
    let calls = Arc::new(AtomicUsize::new(0));
    assert_eq!(flaky(Arc::clone(&calls), 3), Ok(3));
    let calls = Arc::new(AtomicUsize::new(0));
    assert_eq!(flaky(Arc::clone(&calls), 9), Err(String::from("call 4")));
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    let calls = Arc::new(AtomicUsize::new(0));
    assert_eq!(flaky::submit(Arc::clone(&calls), 2).join().expect("no panic"), Ok(2));
    let each: Vec<_> = (0..3).map(|n| (Arc::new(AtomicUsize::new(0)), n)).collect();
    assert_eq!(flaky::map(each).collect::<Result<Vec<_>, _>>(), Ok(vec![1, 1, 2]));
}

static MADE: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// State that is not `Send`: it stays on its worker thread.
struct Connection {
    calls: Rc<Cell<u32>>,
}

impl Connection {
    fn open() -> Self {
        MADE.fetch_add(1, Ordering::SeqCst);
        Self { calls: Rc::default() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

static TWO: Pool = Pool::io("state2").threads(2);

#[parallel(kind = "io", init = Connection::open, pool = TWO)]
fn count(both: Arc<Barrier>, #[worker] connection: &mut Connection) -> u32 {
    both.wait();
    connection.calls.set(connection.calls.get() + 1);
    connection.calls.get()
}

#[test]
fn state_is_made_once_for_each_worker_and_kept() {
    let both = Arc::new(Barrier::new(2));
    for round in 1..=5 {
        // Two calls run at a time, so each worker gets one in each round.
        let tasks = [count::submit(Arc::clone(&both)), count::submit(Arc::clone(&both))];
        for task in tasks {
            assert_eq!(task.join().expect("no panic"), round);
        }
    }
    assert_eq!(MADE.load(Ordering::SeqCst), 2);
    let counts: HashSet<u32> = count::map(vec![Arc::clone(&both); 2]).collect();
    assert_eq!(counts, HashSet::from([6]));
    TWO.shutdown(fanfold::Pending::Run);
    assert_eq!(DROPPED.load(Ordering::SeqCst), 2, "dropped when its worker ends");
}

#[test]
fn a_nested_call_gets_a_state_of_its_own() {
    static NEST: Pool = Pool::io("nest1").threads(1);
    #[parallel(kind = "io", init = Vec::new, pool = NEST)]
    fn nested(depth: u32, #[worker] seen: &mut Vec<u32>) -> usize {
        seen.push(depth);
        let below =
            if depth == 0 { 0 } else { nested(depth - 1) + nested::submit(depth - 1).join().expect("no panic") };
        assert_eq!(seen.last(), Some(&depth), "no nested call has changed it");
        below + 1
    }
    assert_eq!(nested(4), 31);
}

#[test]
fn the_default_cpu_pool_keeps_state_only_on_its_workers() {
    #[parallel(kind = "cpu", init = String::new)]
    fn name(_n: u32, #[worker] first: &mut String) -> String {
        let own = thread::current().name().unwrap_or_default().to_owned();
        if first.is_empty() {
            first.clone_from(&own);
        }
        assert_eq!(*first, own);
        own
    }
    let names: HashSet<String> = name::map(0..1_000).collect();
    assert!(names.iter().all(|name| name.starts_with("fanfold-cpu-")), "{names:?}");
    assert!(name(1).starts_with("fanfold-cpu-"));
    let mut own = String::from(thread::current().name().unwrap_or_default());
    assert_eq!(name::serial(1, &mut own.clone()), own);
    own.clear();
}

#[test]
fn a_failing_initializer_is_an_error_of_every_task() {
    fn refuse() -> Result<u8, &'static str> {
        Err("no database")
    }
    fn panic() -> u8 {
        panic!("no memory")
    }
    #[parallel(kind = "io", init = refuse)]
    fn refused(n: u32, #[worker] state: &mut u8) -> u32 {
        n + u32::from(*state)
    }
    #[parallel(kind = "cpu", init = panic)]
    fn panicked(n: u32, #[worker] state: &mut u8) -> u32 {
        n + u32::from(*state)
    }
    for task in (0..20).map(refused::submit).collect::<Vec<_>>() {
        let error = task.join().expect_err("there is no state");
        assert!(matches!(error, TaskError::Init { .. }), "{error:?}");
        assert!(error.to_string().contains("refused`") && error.to_string().ends_with("no database"), "{error}");
    }
    for task in (0..20).map(panicked::submit).collect::<Vec<_>>() {
        let error = task.join().expect_err("there is no state");
        assert!(error.to_string().ends_with("it panicked: no memory"), "{error}");
    }
    let payload = std::panic::catch_unwind(|| refused(1)).expect_err("a direct call has no other way");
    let message = payload.downcast_ref::<String>().expect("a message");
    assert!(message.ends_with("no database"), "{message}");
    let payload = std::panic::catch_unwind(|| refused::map(0..3).collect::<Vec<_>>()).expect_err("nor has a map");
    assert!(payload.downcast_ref::<String>().is_some_and(|message| message.ends_with("no database")));
    let payload = std::panic::catch_unwind(|| refused::map(0..3).into_iter().count()).expect_err("nor an iterator");
    assert!(payload.downcast_ref::<String>().is_some_and(|message| message.ends_with("no database")));
    let in_place = fanfold::Pool::io_default().submit(|| {
        let payload = std::panic::catch_unwind(|| refused(1)).expect_err("nor has a call on a worker of its pool");
        payload.downcast_ref::<String>().cloned()
    });
    assert!(in_place.join().unwrap().is_some_and(|message| message.ends_with("no database")));
}

#[test]
fn a_failing_initializer_is_returned_where_the_result_can_hold_it() {
    fn refuse() -> Result<u8, &'static str> {
        Err("no database")
    }
    #[parallel(kind = "io", init = refuse, timeout = "1h")]
    fn refused(n: u32, #[worker] state: &mut u8) -> Result<u32, TaskError> {
        Ok(n + u32::from(*state))
    }
    let is_init_error = |result: &Result<u32, TaskError>| matches!(result, Err(TaskError::Init { .. }));
    assert!(is_init_error(&refused(1)));
    let all: Vec<_> = refused::map(0..3).collect();
    assert_eq!((all.len(), all.iter().all(is_init_error)), (3, true), "{all:?}");
    // Each failed item frees its place in the buffer.
    assert_eq!(refused::map(0..30).buffer(2).into_iter().filter(is_init_error).count(), 30);
}
