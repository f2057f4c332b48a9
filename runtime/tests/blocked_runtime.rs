//! Calls that block a thread of a Tokio runtime: the warning, the panic, and what is not reported.
#![cfg(debug_assertions)]

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fanfold::{OnBlockedRuntime, Pool, Task, TaskError, configure, first, install, join_all, parallel, scope, submit};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};

#[parallel(kind = "cpu")]
fn square(n: u64) -> u64 {
    n * n
}

#[parallel(kind = "cpu", chunks = 2)]
fn squares(numbers: Vec<u64>) -> Vec<u64> {
    numbers.iter().map(|n| n * n).collect()
}

#[parallel(kind = "io", timeout = "20s")]
fn limited(n: u64) -> Result<u64, TaskError> {
    Ok(n * n)
}

#[parallel(kind = "io")]
async fn square_of_async(n: u64) -> u64 {
    square(n)
}

trait Area {
    fn area(&self) -> u64;
}

struct Side(u64);

impl Area for Side {
    #[parallel(kind = "cpu", companion = none)]
    fn area(&self) -> u64 {
        self.0 * self.0
    }
}

impl Side {
    #[parallel(kind = "io")]
    fn volume(&self) -> u64 {
        self.0.pow(3)
    }
}

/// Collects the messages of Fanfold's events.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Events {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "fanfold" {
            assert_eq!(*event.metadata().level(), tracing::Level::WARN);
            event.record(&mut Message(&self.0));
            WARNINGS.fetch_add(1, Ordering::SeqCst);
        }
    }
}

struct Message<'a>(&'a Mutex<Vec<String>>);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0.lock().expect("no panic").push(format!("{value:?}"));
        }
    }
}

/// Runs a closure in a task of the runtime's, on a worker thread.
fn in_task<T: Send + 'static>(runtime: &tokio::runtime::Runtime, work: impl FnOnce() -> T + Send + 'static) -> T {
    runtime.block_on(async { tokio::spawn(async { work() }).await.expect("no panic") })
}

/// The warnings so far.
static WARNINGS: AtomicUsize = AtomicUsize::new(0);

/// Works until the next warning.
fn until_warned() -> impl FnOnce() + Send + 'static {
    let (before, began) = (WARNINGS.load(Ordering::SeqCst), Instant::now());
    move || {
        while WARNINGS.load(Ordering::SeqCst) == before && began.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
    }
}

static LIMITED: Pool = Pool::io("limited").threads(1).queue_limit(1);

#[parallel(kind = "io", pool = LIMITED)]
fn queued(n: u64) -> u64 {
    n
}

/// Submits to a pool whose queue is full until the next warning.
fn submit_to_full_queue<T>(submit: impl FnOnce() -> Task<T>) {
    let (started, starts) = std::sync::mpsc::channel();
    let work = until_warned();
    let running = LIMITED.submit(move || {
        started.send(()).ok();
        work();
    });
    starts.recv().expect("it starts");
    let waiting = LIMITED.submit(|| ());
    let task = submit();
    while !task.is_finished() {
        std::thread::yield_now();
    }
    drop((running, waiting));
}

/// A task that has not ended when the wait for it begins: it ends after the next warning.
fn slow<T: Send + 'static>(value: T) -> Task<T> {
    let work = until_warned();
    submit(move || {
        work();
        value
    })
}

/// Waits that block their thread.
fn waits() -> Vec<(&'static str, fn())> {
    vec![
        ("collect", || drop(square::map(0..9).collect::<Vec<_>>())),
        ("for_each", || square::map(0..9).for_each(drop)),
        ("reduce", || assert_eq!(square::map(0..9).reduce(|| 0, |a, b| a + b), 204)),
        ("count", || assert_eq!(square::map(0..9).filter(|n| n % 2 == 0).count(), 5)),
        ("filter", || drop(square::map(0..9).filter(|n| n % 2 == 0).collect::<Vec<_>>())),
        ("any", || assert!(square::map(0..9).any(|n| n == 4))),
        ("for_each_init", || square::map(0..9).for_each_init(|| 0, |_, _| {})),
        ("for_each_ordered", || square::map(0..9).for_each_ordered(drop)),
        ("timeout", || drop(limited::map(0..9).collect::<Vec<_>>())),
        ("install", || assert_eq!(install(|| 3), 3)),
        ("scope", || drop(scope(|s| s.submit(|| 4).join()))),
        ("join", || drop(slow(5).join())),
        ("flatten", || drop(slow(Ok::<_, TaskError>(5)).flatten().join())),
        ("cancel_on_drop", || drop(slow(5).cancel_on_drop().join())),
        ("join_all", || drop(join_all([slow(5)]))),
        ("first", || drop(first([slow(5)]))),
        ("submit of a closure", || submit_to_full_queue(|| LIMITED.submit(|| ()))),
        ("submit of a function", || submit_to_full_queue(|| queued::submit(1))),
    ]
}

/// One test, as the policy is that of the whole process.
#[test]
fn calls_that_block_a_worker_of_a_runtime_are_reported() {
    let events = Events::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(events.clone())).expect("no other");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    configure().blocked_runtime(OnBlockedRuntime::Warn).apply().expect("it can always be set");

    // Once for each place.
    let line = line!() + 2;
    for n in 0..3 {
        assert_eq!(in_task(&runtime, move || square(n)), n * n);
    }
    let warned = events.take();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].starts_with("`blocked_runtime::square` blocks a thread of the async runtime"), "{warned:?}");
    assert!(warned[0].contains(&format!("tests/blocked_runtime.rs:{line}:")), "{warned:?}");
    for call in [
        || drop(squares(vec![1, 2, 3])),
        || drop(limited(2)),
        || assert_eq!(Side(2).volume(), 8),
        || assert_eq!(Side(2).area(), 4),
    ] {
        in_task(&runtime, call);
        assert_eq!(events.take().len(), 1);
    }
    // Other waits, each at its own place.
    for (name, wait) in waits() {
        in_task(&runtime, wait);
        let warned = events.take();
        assert_eq!(warned.len(), 1, "{name}: {warned:?}");
        assert!(warned[0].contains("tests/blocked_runtime.rs:"), "{name}: {warned:?}");
    }
    assert_eq!(in_task(&runtime, || tokio::task::block_in_place(|| install(|| 3))), 3);
    in_task(&runtime, || {
        let task = square::submit(2);
        while !task.is_finished() {
            std::thread::yield_now();
        }
        assert_eq!(task.join().expect("no panic"), 4, "it does not wait");
    });
    assert_eq!(events.take(), Vec::<String>::new());

    // The thread of a runtime of one thread.
    let single = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    assert_eq!(single.block_on(async { square(3) }), 9);
    assert_eq!(events.take().len(), 1);

    // Where blocking is right.
    assert_eq!(square(2), 4);
    assert_eq!(runtime.block_on(async { square(2) }), 4, "tasks run on other threads");
    let blocking = async { tokio::task::spawn_blocking(|| square(2)).await.expect("no panic") };
    assert_eq!(runtime.block_on(blocking), 4);
    let blocking = async { tokio::task::spawn_blocking(|| square(2)).await.expect("no panic") };
    assert_eq!(single.block_on(blocking), 4);
    assert_eq!(in_task(&runtime, || tokio::task::block_in_place(|| square(2))), 4);
    assert_eq!(runtime.block_on(async { square::submit(2).await.expect("no panic") }), 4);
    assert_eq!(square_of_async::submit(2).join().expect("no panic"), 4, "Fanfold's own runtime replaces the thread");
    let entered = single.enter();
    assert_eq!(square(2), 4, "a runtime that is only entered runs nothing here");
    drop(entered);
    assert_eq!(events.take(), Vec::<String>::new());

    // A panic, at each call.
    configure().blocked_runtime(OnBlockedRuntime::Panic).apply().expect("it can always be set");
    for _ in 0..2 {
        let caught = in_task(&runtime, || std::panic::catch_unwind(AssertUnwindSafe(|| square(2))));
        let payload = caught.expect_err("it blocks a worker");
        let message = payload.downcast_ref::<String>().expect("a formatted message");
        assert!(message.contains("await its `submit(..)`"), "{message}");
    }
    assert_eq!(in_task(&runtime, || tokio::task::block_in_place(|| square(2))), 4);

    configure().blocked_runtime(OnBlockedRuntime::Ignore).apply().expect("it can always be set");
    assert_eq!(in_task(&runtime, || square(2)), 4);
    assert_eq!(events.take(), Vec::<String>::new());
}
