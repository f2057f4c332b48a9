//! Async functions of `kind = "io"`, and tasks awaited under several executors.
#![allow(clippy::items_after_statements, reason = "each function is defined in the test that calls it")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fanfold::{TaskError, Until, as_completed, join_all, parallel, wait};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};

/// Uses a timer, so it needs a runtime.
#[parallel(kind = "io")]
async fn double(n: u32) -> u32 {
    tokio::time::sleep(Duration::from_micros(1)).await;
    n * 2
}

#[parallel(kind = "io")]
async fn length(text: &str) -> usize {
    tokio::task::yield_now().await;
    text.len()
}

#[parallel(kind = "io")]
async fn holds_until_released(guard: Arc<()>, release: oneshot::Receiver<()>) -> bool {
    let released = release.await.is_ok();
    drop(guard);
    released
}

#[parallel(kind = "cpu")]
fn square(n: u64) -> u64 {
    n * n
}

fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn on_smol<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(async_executor::Executor::new().run(future))
}

#[test]
fn a_task_is_awaited_under_any_executor() {
    assert_eq!(on_tokio(async { square::submit(7).await.unwrap() }), 49);
    assert_eq!(on_smol(async { square::submit(8).await.unwrap() }), 64);
    assert_eq!(pollster::block_on(square::submit(9)).unwrap(), 81);
    let multi = tokio::runtime::Runtime::new().unwrap();
    let sum = multi.block_on(async {
        let tasks: Vec<_> = (0..100).map(square::submit).collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, (0..100).map(|n| n * n).sum::<u64>());
}

#[test]
fn results_stream_as_they_end_under_any_executor() {
    let all = || async {
        let mut results: Vec<_> = as_completed((0..20).map(square::submit)).stream().collect().await;
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result.unwrap()).sum::<u64>()
    };
    let expected: u64 = (0..20).map(|n| n * n).sum();
    assert_eq!(on_tokio(all()), expected);
    assert_eq!(on_smol(all()), expected);
    assert_eq!(pollster::block_on(all()), expected);
}

#[test]
fn a_direct_call_is_a_future_for_any_executor() {
    assert_eq!(on_tokio(double(1)), 2);
    assert_eq!(on_smol(double(2)), 4);
    assert_eq!(pollster::block_on(double(3)), 6);
    assert_eq!(on_tokio(double::serial(4)), 8);
}

#[test]
fn a_direct_call_borrows_and_starts_when_polled() {
    let text = String::from("abc");
    assert_eq!(pollster::block_on(length(&text)), 3);

    static CALLS: AtomicUsize = AtomicUsize::new(0);
    #[parallel(kind = "io")]
    async fn count() {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
    drop(count());
    assert_eq!(CALLS.load(Ordering::Relaxed), 0);
    pollster::block_on(count());
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
}

#[test]
fn futures_of_direct_calls_can_be_spawned_on_tokio() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        assert_eq!(tokio::spawn(double(4)).await.unwrap(), 8);
        let all = tokio::spawn(double::map([1, 2, 3]).stream().collect::<Vec<_>>());
        assert_eq!(all.await.unwrap(), [2, 4, 6]);
    });
}

#[test]
fn a_submitted_call_needs_no_runtime_in_the_caller() {
    assert_eq!(double::submit(5).join().unwrap(), 10);
    let tasks = (0..50).map(double::submit);
    assert_eq!(join_all(tasks).unwrap(), (0..50).map(|n| n * 2).collect::<Vec<_>>());
}

#[test]
fn a_submitted_call_runs_on_the_callers_runtime() {
    #[parallel(kind = "io")]
    async fn home() -> tokio::runtime::Id {
        tokio::runtime::Handle::current().id()
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (here, there) = runtime.block_on(async { (tokio::runtime::Handle::current().id(), home::submit().await) });
    assert_eq!(here, there.unwrap());
    assert_ne!(home::submit().join().unwrap(), here);
}

#[test]
fn joining_on_a_multi_thread_runtime_does_not_block_its_worker() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let sum = runtime.block_on(async {
        // Runs on the runtime's one worker, which also polls the submitted calls.
        let inside = tokio::spawn(async {
            let one = double::submit(1).join().unwrap();
            let (done, pending) = wait(&[double::submit(2)], Until::All, None);
            assert_eq!((done, pending), (vec![0], vec![]));
            let rest: u32 = as_completed((0..10).map(double::submit)).map(|(_, result)| result.unwrap()).sum();
            let mapped: u32 = double::map(0..10).into_iter().sum();
            one + rest + mapped
        });
        inside.await.unwrap()
    });
    assert_eq!(sum, 2 + 90 + 90);
}

#[test]
fn joining_on_a_single_thread_runtime_panics_with_advice() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let message = |payload: Box<dyn std::any::Any + Send>| *payload.downcast::<&str>().unwrap();
    let quietly = |work: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(message);
    runtime.block_on(async {
        let join = quietly(&|| drop(double::submit(1).join()));
        assert!(join.unwrap_err().contains("`.await` the task"));
        let collect = quietly(&|| drop(double::map([1]).collect::<Vec<_>>()));
        assert!(collect.unwrap_err().contains("`stream()`"));
        // A task on pool threads does not depend on the runtime.
        assert_eq!(square::submit(3).join().unwrap(), 9);
        assert_eq!(double::submit(3).await.unwrap(), 6);
    });
}

#[test]
fn a_panic_is_reported_with_its_location() {
    #[parallel(kind = "io")]
    async fn fails(n: u32) -> u32 {
        tokio::task::yield_now().await;
        assert!(n < 3, "{n} is too much");
        n
    }
    let error = fails::submit(5).join().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("5 is too much") && text.contains("fails"), "{text}");
    assert!(text.contains(file!()), "{text}");

    let direct = std::panic::catch_unwind(|| pollster::block_on(fails(4))).unwrap_err();
    assert_eq!(direct.downcast_ref::<String>().unwrap(), "4 is too much");
    let mapped = std::panic::catch_unwind(|| fails::map(0..9).collect::<Vec<_>>()).unwrap_err();
    assert_eq!(mapped.downcast_ref::<String>().unwrap(), "3 is too much");
}

#[test]
fn cancelling_drops_a_running_call_at_its_await() {
    let guard = Arc::new(());
    let (_release, released) = oneshot::channel();
    let (begun, begins) = std::sync::mpsc::channel();

    #[parallel(kind = "io")]
    async fn signals_start(begun: std::sync::mpsc::Sender<()>, guard: Arc<()>, release: oneshot::Receiver<()>) -> bool {
        begun.send(()).unwrap();
        holds_until_released::serial(guard, release).await
    }
    let task = signals_start::submit(begun, Arc::clone(&guard), released);
    begins.recv().unwrap();
    assert!(!task.cancel(), "it runs already");
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[test]
fn a_timeout_around_a_handle_that_cancels_drops_the_call() {
    let guard = Arc::new(());
    let (_release, released) = oneshot::channel();
    on_tokio(async {
        let call = holds_until_released::submit(Arc::clone(&guard), released).cancel_on_drop();
        assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
        let is_dropped = async {
            while Arc::strong_count(&guard) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), is_dropped).await.expect("the call is dropped");
    });
}

#[test]
fn an_abort_handle_reaches_a_detached_call() {
    let guard = Arc::new(());
    let (_release, released) = oneshot::channel();
    on_tokio(async {
        let task = holds_until_released::submit(Arc::clone(&guard), released);
        tokio::task::yield_now().await;
        let handle = task.abort_handle();
        drop(task);
        assert!(!handle.is_finished());
        assert!(!handle.abort(), "it runs already");
        while Arc::strong_count(&guard) > 1 {
            tokio::task::yield_now().await;
        }
        while !handle.is_finished() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn cancelling_before_the_first_poll_drops_the_arguments() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let guard = Arc::new(());
        let (_release, released) = oneshot::channel();
        let task = holds_until_released::submit(Arc::clone(&guard), released);
        assert!(task.cancel());
        assert_eq!(Arc::strong_count(&guard), 1);
        assert!(matches!(task.await, Err(TaskError::Cancelled)));
    });
}

#[test]
fn a_runtime_that_ends_ends_its_tasks() {
    let guard = Arc::new(());
    let (_release, released) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let entered = runtime.enter();
    let task = holds_until_released::submit(Arc::clone(&guard), released);
    drop(entered);
    drop(runtime);
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    assert_eq!(Arc::strong_count(&guard), 1);
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[parallel(kind = "io", timeout = "5ms")]
async fn waits_if_asked(guard: &Arc<()>, forever: bool) -> Result<u32, Failed> {
    let _held = Arc::clone(guard);
    if forever {
        std::future::pending::<()>().await;
    }
    Ok(1)
}

#[test]
fn a_timeout_drops_the_future() {
    let guard = Arc::new(());
    assert_eq!(pollster::block_on(waits_if_asked(&guard, false)).unwrap(), 1);
    let timed_out = pollster::block_on(waits_if_asked(&guard, true)).unwrap_err();
    assert!(
        matches!(timed_out.downcast_ref(), Some(TaskError::TimedOut { after }) if *after == Duration::from_millis(5))
    );
    assert_eq!(Arc::strong_count(&guard), 1);

    let mapped: Vec<_> = waits_if_asked::map([(&guard, false), (&guard, true), (&guard, false)]).collect();
    assert_eq!(mapped.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[test]
fn a_submitted_call_runs_out_of_time() {
    #[parallel(kind = "io", timeout = "5ms")]
    async fn never(guard: Arc<()>) -> Result<u32, Failed> {
        let forever = std::future::pending().await;
        drop(guard);
        forever
    }
    let guard = Arc::new(());
    assert!(matches!(never::submit(Arc::clone(&guard)).join(), Err(TaskError::TimedOut { .. })));
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[test]
fn failed_calls_are_retried() {
    #[parallel(kind = "io", retries = 3, backoff = "1us")]
    async fn third_time(calls: &AtomicUsize) -> Result<usize, usize> {
        tokio::task::yield_now().await;
        match calls.fetch_add(1, Ordering::Relaxed) {
            2 => Ok(2),
            n => Err(n),
        }
    }
    let calls = AtomicUsize::new(0);
    assert_eq!(pollster::block_on(third_time(&calls)), Ok(2));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    let calls = AtomicUsize::new(3);
    assert_eq!(third_time::map([&calls]).collect::<Result<Vec<_>, _>>(), Err(6));
}

#[test]
fn a_map_bounds_the_futures_in_flight() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static MOST_RUNNING: AtomicUsize = AtomicUsize::new(0);

    #[parallel(kind = "io")]
    async fn counted(n: usize) -> usize {
        MOST_RUNNING.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_micros(50)).await;
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        n
    }
    let results: Vec<usize> = counted::map(0..100).buffer(7).collect();
    assert_eq!(results, (0..100).collect::<Vec<_>>());
    assert_eq!(MOST_RUNNING.load(Ordering::SeqCst), 7);
}

#[test]
fn a_map_borrows_its_items() {
    let texts = [String::from("a"), String::from("bcd")];
    let lengths: Vec<usize> = length::map(texts.iter().map(String::as_str)).collect();
    assert_eq!(lengths, [1, 3]);
}

#[test]
fn a_map_stops_pulling_at_the_first_failure() {
    #[parallel(kind = "io")]
    async fn parse(text: &str) -> Result<i32, std::num::ParseIntError> {
        text.parse()
    }
    let pulled = AtomicUsize::new(0);
    let endless = ["1", "2", "three"].into_iter().chain(std::iter::repeat("4"));
    let items = endless.inspect(|_| _ = pulled.fetch_add(1, Ordering::Relaxed));
    assert!(parse::map(items).buffer(4).collect::<Result<Vec<_>, _>>().is_err());
    assert!(pulled.into_inner() <= 3 + 4);
}

#[test]
fn an_infinite_source_can_be_iterated() {
    assert_eq!(double::map(0..).buffer(3).into_iter().take(5).collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
}

#[test]
fn unordered_results_come_in_completion_order() {
    #[parallel(kind = "io")]
    async fn after(gate: &Notify, first: bool) -> bool {
        if first {
            gate.notify_one();
        } else {
            gate.notified().await;
        }
        first
    }
    let gate = Notify::new();
    // The first item ends only after the second.
    let order: Vec<bool> = after::map([(&gate, false), (&gate, true)]).unordered().into_iter().collect();
    assert_eq!(order, [true, false]);
    let order: Vec<bool> = after::map([(&gate, false), (&gate, true)]).unordered().collect();
    assert_eq!(order, [false, true], "`collect` keeps input order");
}

#[test]
fn a_map_applies_the_timeout_to_each_item() {
    #[parallel(kind = "io")]
    async fn maybe_never(n: u32) -> u32 {
        if n == 1 { std::future::pending().await } else { n }
    }
    let results: Vec<_> = maybe_never::map(0..3).timeout(Duration::from_millis(5)).collect();
    assert!(matches!(results[..], [Ok(0), Err(TaskError::TimedOut { .. }), Ok(2)]));
}

#[test]
fn dropping_a_stream_drops_the_futures_in_flight() {
    let guard = Arc::new(());
    let (_release, released) = oneshot::channel();
    let mut stream = holds_until_released::map([(Arc::clone(&guard), released)]).stream();
    let polled = pin!(stream.next()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending));
    assert_eq!(Arc::strong_count(&guard), 2);
    drop(stream);
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[test]
fn async_functions_of_every_signature_compile_and_run() {
    #[parallel(kind = "io")]
    async fn generic<T: Clone + Send + Sync, const N: usize>(value: &T) -> [T; N] {
        std::array::from_fn(|_| value.clone())
    }
    assert_eq!(pollster::block_on(generic::<_, 2>(&7)), [7, 7]);
    assert_eq!(generic::submit::<u8, 1>(&3).join().unwrap(), [3]);

    #[parallel(kind = "io")]
    async fn shown(value: impl std::fmt::Display + Send) -> String {
        value.to_string()
    }
    assert_eq!(pollster::block_on(shown(1.5)), "1.5");
    assert_eq!(shown::submit("x").join().unwrap(), "x");

    #[parallel(kind = "io")]
    async fn longest<'a>(a: &'a str, mut b: &'a str) -> &'a str {
        if a.len() > b.len() {
            b = a;
        }
        tokio::task::yield_now().await;
        b
    }
    assert_eq!(pollster::block_on(longest("aa", "b")), "aa");

    #[parallel(kind = "io")]
    async unsafe fn dangerous() -> u8 {
        1
    }
    // SAFETY: the function has no preconditions.
    assert_eq!(unsafe { dangerous::submit() }.join().unwrap(), 1);

    #[parallel(kind = "io")]
    async fn early(n: u32) -> Option<u32> {
        let n = n.checked_sub(1)?;
        if n == 0 {
            return None;
        }
        Some(n)
    }
    assert_eq!(early::map(0..4).collect::<Vec<_>>(), [None, None, Some(1), Some(2)]);
    assert_eq!(early::map(2..4).collect::<Option<Vec<_>>>(), Some(vec![1, 2]));
}

#[test]
fn socket_requests_need_no_runtime_in_the_caller() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for socket in listener.incoming().take(20) {
            let mut socket = socket.unwrap();
            let mut byte = [0];
            std::io::Read::read_exact(&mut socket, &mut byte).unwrap();
            std::io::Write::write_all(&mut socket, &[byte[0] + 1]).unwrap();
        }
    });
    #[parallel(kind = "io")]
    async fn ask(address: std::net::SocketAddr, byte: u8) -> std::io::Result<u8> {
        let mut socket = tokio::net::TcpStream::connect(address).await?;
        socket.write_all(&[byte]).await?;
        socket.read_u8().await
    }
    let answers = ask::map((0..20).map(|byte| (address, byte))).buffer(5).collect::<Result<Vec<u8>, _>>().unwrap();
    assert_eq!(answers, (1..=20).collect::<Vec<_>>());
    server.join().unwrap();
}

#[test]
fn cpu_tasks_are_awaited_without_blocking_the_runtime() {
    let all = on_tokio(async {
        let tasks: Vec<_> = (0..4).map(square::submit).collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(all, 14);
}

#[parallel(kind = "cpu")]
fn through_a_worker(n: u32) -> u32 {
    double::submit(n).join().expect("no panic")
}

#[parallel(kind = "io")]
async fn calls_in_place(n: u32) -> u32 {
    through_a_worker(n)
}

#[parallel(kind = "io")]
async fn waits_in_a_scope(n: u32) -> u32 {
    fanfold::scope(|s| s.submit(|| through_a_worker(n)).join().expect("no panic"))
}

#[test]
fn blocking_async_functions_leave_their_runtime_a_thread() {
    let many = u32::try_from(4 * std::thread::available_parallelism().expect("known").get()).expect("few");
    let calls = join_all((0..many).map(calls_in_place::submit)).expect("no panic");
    assert!(calls.into_iter().eq((0..many).map(|n| n * 2)));
    let scopes = join_all((0..many).map(waits_in_a_scope::submit)).expect("no panic");
    assert!(scopes.into_iter().eq((0..many).map(|n| n * 2)));
}

#[parallel(kind = "io")]
async fn half(n: u32) -> Result<u32, String> {
    tokio::task::yield_now().await;
    if n.is_multiple_of(2) { Ok(n / 2) } else { Err(format!("{n} is odd")) }
}

#[tokio::test]
async fn a_map_is_awaited_in_the_only_thread_of_a_runtime() {
    let halves: Vec<Result<u32, String>> = half::map(0..3).unordered().collect_async().await;
    assert_eq!(halves, [Ok(0), Err("1 is odd".to_owned()), Ok(1)]);
    let first: Result<Vec<u32>, String> = half::map(0..1_000).buffer(5).collect_async().await;
    assert_eq!(first, Err("1 is odd".to_owned()));
    assert_eq!(half::map(std::iter::empty()).collect_async::<Vec<_>>().await, []);
}

#[test]
fn a_task_that_was_not_polled_by_its_deadline_never_starts() {
    #[parallel(kind = "io", deadline = "20ms")]
    async fn late(ran: Arc<AtomicUsize>) -> Result<usize, TaskError> {
        Ok(ran.fetch_add(1, Ordering::Relaxed))
    }
    #[parallel(kind = "io", deadline = "1h")]
    async fn in_time(n: u32) -> u32 {
        tokio::task::yield_now().await;
        n
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ran = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let task = late::submit(Arc::clone(&ran));
        // This is the only thread that could poll it.
        while !task.is_finished() {
            std::thread::yield_now();
        }
        assert!(matches!(task.await, Err(TaskError::TimedOut { after }) if after == Duration::from_millis(20)));
        assert_eq!(ran.load(Ordering::Relaxed), 0);
        assert_eq!(late(Arc::clone(&ran)).await.expect("a direct call starts when it is polled"), 0);
        assert_eq!(in_time::submit(7).await.expect("it is in time"), 7);
    });
}

#[test]
fn an_async_map_has_the_adaptors_of_its_iterator() {
    let map = || double::map(0..100);
    assert!(map().filter(|n| n % 3 == 0).eq((0..100).map(|n| n * 2).filter(|n| n % 3 == 0)));
    assert!(map().filter_map(|n| (n > 50).then_some(n)).eq((26..100).map(|n| n * 2)));
    assert!(map().enumerate().all(|(number, n)| n as usize == 2 * number));
    assert_eq!((map().count(), map().find_first(|n| *n > 10)), (100, Some(12)));
    assert!(map().any(|n| n == 198) && !map().all(|n| n < 198));
    assert_eq!(map().then(|n| n / 2).sum::<u32>(), (0..100).sum::<u32>());
}
