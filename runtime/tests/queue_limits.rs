//! Pools with a limit of waiting tasks: `queue_limit`, `try_submit`, `submit_async`.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{BuildError, Pool, Task, TaskError, parallel};

/// Occupies the only thread of a pool until the sender is dropped.
fn occupy(pool: &Pool) -> (Task<()>, Sender<()>) {
    let (release, released) = channel::<()>();
    let (started, starts) = channel();
    let task = pool.submit(move || {
        started.send(()).ok();
        released.recv().ok();
    });
    starts.recv().expect("it starts");
    (task, release)
}

fn single(limit: usize) -> Pool {
    Pool::io("bounded").threads(1).queue_limit(limit).build().expect("a thread")
}

/// Waits until the condition holds.
fn eventually(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never holds");
        thread::yield_now();
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<F: Future>(future: &mut std::pin::Pin<Box<F>>, wakes: &Arc<Wakes>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))))
}

#[test]
fn a_limit_of_0_is_refused() {
    let error = Pool::cpu("none").queue_limit(0).build().unwrap_err();
    assert!(matches!(error, BuildError::NoQueue));
    assert!(error.to_string().contains("`queue_limit` of 0"), "{error}");
}

#[test]
fn a_full_queue_gives_the_closure_back() {
    let pool = single(2);
    let (first, release) = occupy(&pool);
    let waiting = [pool.try_submit(|| 1).unwrap(), pool.try_submit(|| 2).unwrap()];
    let text = String::from("mine");
    let refused = pool.try_submit(move || text).unwrap_err();
    assert!(refused.to_string().contains("`bounded` is full, as its limit is 2"), "{refused}");
    assert_eq!(refused.into_inner()(), "mine");
    // A place is given back when a queued task is cancelled, and when one starts.
    assert!(waiting[1].cancel());
    let third = pool.try_submit(|| 3).unwrap();
    assert!(pool.try_submit(|| 4).is_err());
    drop(release);
    first.join().unwrap();
    assert_eq!(third.join().unwrap(), 3);
    eventually(|| pool.stats().queued == 0);
    assert_eq!(pool.try_submit(|| 5).unwrap().join().unwrap(), 5);
}

#[test]
fn submit_waits_for_a_place() {
    let pool = single(1);
    let (first, release) = occupy(&pool);
    let second = pool.submit(|| 2);
    thread::scope(|scope| {
        let (sender, submitted): (Sender<Task<u32>>, Receiver<_>) = channel();
        let pool = &pool;
        scope.spawn(move || sender.send(pool.submit(|| 3)));
        // It cannot be submitted while the first task runs.
        assert!(submitted.recv_timeout(Duration::from_millis(20)).is_err());
        drop(release);
        assert_eq!(submitted.recv().expect("it is submitted").join().unwrap(), 3);
    });
    first.join().unwrap();
    assert_eq!(second.join().unwrap(), 2);
}

#[test]
fn many_threads_submit_through_a_small_queue() {
    const EACH: usize = 500;
    let pool = Pool::cpu("narrow").threads(2).queue_limit(3).build().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for index in 0..4 {
            let (pool, ran) = (&pool, &ran);
            scope.spawn(move || {
                for n in 0..EACH {
                    let ran = Arc::clone(ran);
                    let work = move || ran.fetch_add(1, Ordering::Relaxed);
                    let task =
                        if index % 2 == 0 { pool.submit(work) } else { pollster::block_on(pool.submit_async(work)) };
                    if n % 3 == 0 {
                        task.join().unwrap();
                    }
                }
            });
        }
    });
    drop(pool);
    assert_eq!(ran.load(Ordering::Relaxed), 4 * EACH);
}

#[test]
fn a_worker_never_waits_for_a_place() {
    let pool = Arc::new(single(1));
    let own = Arc::clone(&pool);
    // Its tasks are more than the limit; if it waited, the only thread would wait for itself.
    let outer = pool.submit(move || {
        let inner: Vec<_> = (0..10).map(|n| own.submit(move || n)).collect();
        inner.into_iter().map(|task| task.join().unwrap()).sum::<u32>()
    });
    assert_eq!(outer.join().unwrap(), 45);
    // Nor does a worker of another pool.
    let (first, release) = occupy(&pool);
    let bounded = Arc::clone(&pool);
    let submitter = Pool::io_default().submit(move || (0..5).map(|n| bounded.submit(move || n)).collect::<Vec<_>>());
    let tasks = submitter.join().unwrap();
    drop(release);
    first.join().unwrap();
    assert_eq!(tasks.into_iter().map(|task| task.join().unwrap()).sum::<i32>(), 10);
}

#[test]
fn submit_async_awaits_its_turn() {
    let pool = single(1);
    let (first, release) = occupy(&pool);
    let second = pool.submit(|| 2);
    let (early, late) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let mut third = Box::pin(pool.submit_async(|| 3));
    let mut fourth = Box::pin(pool.submit_async(|| 4));
    assert!(poll(&mut third, &early).is_pending());
    assert!(poll(&mut fourth, &late).is_pending());
    // One that is dropped lets the next go ahead.
    drop(third);
    assert!(second.cancel());
    eventually(|| late.0.load(Ordering::Relaxed) > 0);
    assert_eq!(early.0.load(Ordering::Relaxed), 0);
    let Poll::Ready(fourth) = poll(&mut fourth, &late) else { panic!("it has its place") };
    // One that is dropped with its place passes the place on.
    let mut fifth = Box::pin(pool.submit_async(|| 5));
    assert!(poll(&mut fifth, &early).is_pending());
    assert!(fourth.cancel());
    drop(fifth);
    let sixth = pool.try_submit(|| 6).unwrap();
    drop(release);
    first.join().unwrap();
    assert_eq!(sixth.join().unwrap(), 6);
}

#[test]
fn a_place_counts_towards_the_deadline() {
    let pool = single(1);
    let (first, release) = occupy(&pool);
    let second = pool.submit(|| 2);
    let late = pool.with_deadline(Duration::from_millis(5)).submit(|| unreachable!("it has no place"));
    assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
    let late = pollster::block_on(pool.with_deadline(Duration::from_millis(5)).submit_async(|| unreachable!()));
    assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
    drop(release);
    first.join().unwrap();
    assert_eq!(second.join().unwrap(), 2);
}

#[test]
fn a_closed_pool_lets_no_submission_wait() {
    let pool = single(1);
    let (first, release) = occupy(&pool);
    let second = pool.submit(|| 2);
    thread::scope(|scope| {
        let third = scope.spawn(|| pool.submit(|| 3).join());
        let closed = scope.spawn(|| pool.kill());
        // The queued task is dropped, and gives its place back.
        let third = third.join().unwrap();
        assert!(matches!(third, Ok(3) | Err(TaskError::PoolClosed | TaskError::Cancelled)), "{third:?}");
        drop(release);
        closed.join().unwrap();
    });
    first.join().ok();
    assert!(second.join().is_err());
}

static SINGLE: Pool = Pool::io("single").threads(1).queue_limit(1);

#[parallel(kind = "io", pool = SINGLE)]
fn shout(word: &str, times: usize) -> String {
    word.to_uppercase().repeat(times)
}

struct Greeter(String);

impl Greeter {
    #[parallel(kind = "io", pool = SINGLE)]
    fn greet(&self, name: String) -> String {
        format!("{} {name}", self.0)
    }
}

#[parallel(kind = "cpu", chunks = 2)]
fn halves(numbers: Vec<u32>) -> Vec<usize> {
    vec![numbers.len()]
}

#[test]
fn functions_with_a_pool_give_their_arguments_back() {
    let (first, release) = occupy(&SINGLE);
    let greeter = Arc::new(Greeter("hello".into()));
    let waiting = shout::try_submit("a", 3).unwrap();
    assert_eq!(shout::try_submit("b", 2).unwrap_err().into_inner(), ("b", 2));
    assert_eq!(shout::on(&SINGLE).try_submit("c", 1).unwrap_err().into_inner(), ("c", 1));
    let (same, name) = Greeter::greet_try_submit(Arc::clone(&greeter), "you".into()).unwrap_err().into_inner();
    assert!(Arc::ptr_eq(&same, &greeter) && name == "you");
    let wakes = Arc::new(Wakes::default());
    let mut pending = Box::pin(shout::submit_async("d", 1));
    assert!(poll(&mut pending, &wakes).is_pending());
    drop(release);
    first.join().unwrap();
    assert_eq!(waiting.join().unwrap(), "AAA");
    assert_eq!(pollster::block_on(pending).join().unwrap(), "D");
    assert_eq!(pollster::block_on(greeter.greet_submit_async("me".into())).join().unwrap(), "hello me");
    assert_eq!(pollster::block_on(halves::on(&SINGLE).submit_async(vec![0; 4])).join().unwrap(), [2, 2]);
}

#[test]
fn a_future_of_a_submission_can_be_sent() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let future = is_send(shout::on(Pool::io_default()).submit_async("x", 1));
    let task = thread::spawn(move || pollster::block_on(future)).join().unwrap();
    assert_eq!(task.join().unwrap(), "X");
}

#[test]
fn direct_calls_and_maps_do_not_wait_for_places() {
    let pool = Arc::new(Pool::cpu("maps").threads(2).queue_limit(1).build().unwrap());
    assert_eq!(pool.map(0..1_000_u64, |n| n).sum::<u64>(), 499_500);
    assert_eq!(pool.map(0..100_u64, |n| n).into_iter().sum::<u64>(), 4_950);
    let barrier = Arc::new(Barrier::new(2));
    let meeting = [Arc::clone(&barrier), barrier].map(|barrier| pool.submit(move || barrier.wait().is_leader()));
    assert_eq!(meeting.into_iter().filter(|_| true).map(|task| u32::from(task.join().unwrap())).sum::<u32>(), 1);
}
