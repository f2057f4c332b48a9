//! User code that Fanfold calls: panic hooks, wakers, destructors, iterators, callbacks and thread hooks. Each may call
//! Fanfold, because no lock is held during the call.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::time::{Duration, Instant};

use fanfold::{Pool, TaskError, Until, as_completed, join_all, parallel, wait};
use futures_core::Stream;

/// Reaching this limit means that the test hangs.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Runs `work` on a thread of its own and panics if it does not end within [`TIME_LIMIT`].
fn must_end<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ends) = mpsc::channel();
    std::thread::spawn(move || done.send(catch_unwind(AssertUnwindSafe(work))).is_ok());
    match ends.recv_timeout(TIME_LIMIT) {
        Ok(Ok(result)) => result,
        Ok(Err(payload)) => std::panic::resume_unwind(payload),
        Err(why) => panic!("it hangs: {why}"),
    }
}

/// Runs `work` in a process of its own, because panic hooks are global. The child is this program, running `test` only.
fn in_child(test: &str, work: impl FnOnce()) {
    const INSIDE: &str = "FANFOLD_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return work();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program);
    let mut child = child.args([test, "--exact", "--nocapture"]).env(INSIDE, "1").spawn().expect("the program starts");
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().expect("it can be waited for") {
            Some(status) => break status,
            None if begun.elapsed() < TIME_LIMIT => std::thread::sleep(Duration::from_millis(2)),
            None => {
                child.kill().expect("it can be killed");
                child.wait().expect("it can be waited for");
                panic!("{test} hangs");
            }
        }
    };
    assert!(status.success(), "{test}: {status}");
}

/// Panics with a panic hook that runs `work` on this thread only.
fn in_hook(work: impl Fn() + Send + Sync + 'static) {
    let this = std::thread::current().id();
    std::panic::set_hook(Box::new(move |_| {
        if std::thread::current().id() == this {
            work();
        }
    }));
    assert!(catch_unwind(|| panic!("the hook is called")).is_err());
}

#[test]
fn a_panic_hook_joins_the_first_task() {
    in_child("a_panic_hook_joins_the_first_task", || {
        in_hook(|| Pool::io_default().submit(|| ()).join().expect("it runs"));
    });
}

#[test]
fn a_panic_hook_joins_a_task_that_panics() {
    in_child("a_panic_hook_joins_a_task_that_panics", || {
        in_hook(|| {
            let error = Pool::io_default().submit(|| panic!("in a task")).join().expect_err("it panics");
            assert!(error.to_string().contains("in a task"), "{error}");
        });
    });
}

#[test]
fn a_panic_hook_joins_tasks_that_submit_others_which_panic() {
    in_child("a_panic_hook_joins_tasks_that_submit_others_which_panic", || {
        let pool = Pool::cpu("nested").threads(2).build().expect("two threads");
        in_hook(move || {
            let outer = pool.submit(|| Pool::io_default().submit(|| panic!("inside")).join().is_err());
            assert!(outer.join().expect("it returns"));
            assert_eq!(pool.map(0..=1_000, |n| n).sum::<i32>(), 500_500);
        });
    });
}

#[test]
fn a_panic_hook_waits_for_a_thread_that_uses_the_first_pool() {
    in_child("a_panic_hook_waits_for_a_thread_that_uses_the_first_pool", || {
        in_hook(|| {
            let other = std::thread::spawn(|| Pool::io_default().submit(|| 7).join().expect("it runs"));
            assert_eq!(other.join().expect("it ends"), 7);
        });
        // The hook has ended. Some time later Fanfold's own hook is installed and panics carry their locations.
        let is_located = || match Pool::io_default().submit(|| panic!("in a task")).join() {
            Err(TaskError::Panicked { location, .. }) => location.is_some(),
            other => panic!("{other:?}"),
        };
        let begun = Instant::now();
        while !is_located() {
            assert!(begun.elapsed() < TIME_LIMIT, "Fanfold's own hook is never set");
        }
    });
}

#[test]
fn panic_locations_are_known_after_a_hook_makes_the_first_submit() {
    in_child("panic_locations_are_known_after_a_hook_makes_the_first_submit", || {
        in_hook(|| Pool::io_default().submit(|| ()).join().expect("it runs"));
        let error = Pool::io_default().submit(|| panic!("in a task")).join().expect_err("it panics");
        assert!(error.to_string().contains("foreign_code.rs:"), "{error}");
    });
}

#[test]
fn the_hook_of_a_worker_joins_another_task_of_its_pool() {
    in_child("the_hook_of_a_worker_joins_another_task_of_its_pool", || {
        static INNER: AtomicBool = AtomicBool::new(false);
        let pool: &'static Pool = Box::leak(Box::new(Pool::io("one").threads(1).build().expect("one thread")));
        std::panic::set_hook(Box::new(|_| {
            if !INNER.swap(true, Ordering::Relaxed) {
                // If this thread ran the task itself, the panic inside the hook would abort the program.
                assert!(pool.submit(|| panic!("while the hook waits")).join().is_err());
                assert_eq!(pool.stats().limit, 1);
            }
        }));
        assert!(pool.submit(|| panic!("in a task")).join().is_err());
        let _ = std::panic::take_hook();
    });
}

#[test]
fn a_panic_hook_may_use_the_pool_whose_start_failed() {
    in_child("a_panic_hook_may_use_the_pool_whose_start_failed", || {
        static NONE: Pool = Pool::io("none").threads(0);
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        in_hook(|| {
            let asks = std::thread::spawn(|| catch_unwind(|| NONE.stats()).is_err());
            assert!(asks.join().expect("it ends"));
        });
        let this = std::thread::current().id();
        std::panic::set_hook(Box::new(move |_| {
            if std::thread::current().id() == this {
                CALLS.fetch_add(1, Ordering::Relaxed);
                let asks = std::thread::spawn(|| catch_unwind(|| NONE.stats()).is_err());
                assert!(asks.join().expect("it ends"));
            }
        }));
        assert!(catch_unwind(|| NONE.stats()).is_err());
        let _ = std::panic::take_hook();
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    });
}

/// A waker that submits and joins a task when it is cloned, woken or dropped.
mod submitting_waker {
    use super::*;

    pub(super) static CALLS: AtomicUsize = AtomicUsize::new(0);
    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

    /// An additional action on each call.
    type Action = dyn Fn() + Send + Sync;

    pub(super) fn waker(action: Arc<Box<Action>>) -> Waker {
        // SAFETY: the data is one reference count of the `Arc`; each function of the table consumes or borrows it as
        // the contract of `RawWakerVTable` requires.
        unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(action).cast(), &TABLE)) }
    }

    fn call(action: *const ()) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        assert_eq!(Pool::io_default().submit(|| 7).join().expect("it runs"), 7);
        // SAFETY: the waker that is used here holds a reference count, so the action is alive.
        unsafe { (*action.cast::<Box<Action>>())() };
    }

    fn clone(action: *const ()) -> RawWaker {
        call(action);
        // SAFETY: the waker that is cloned holds a reference count; the clone gets one of its own.
        unsafe { Arc::increment_strong_count(action.cast::<Box<Action>>()) };
        RawWaker::new(action, &TABLE)
    }

    fn wake(action: *const ()) {
        call(action);
        release(action);
    }

    fn wake_by_ref(action: *const ()) {
        call(action);
    }

    fn release(action: *const ()) {
        call(action);
        // SAFETY: the waker that is dropped owns one reference count, which ends here.
        drop(unsafe { Arc::from_raw(action.cast::<Box<Action>>()) });
    }
}

#[test]
fn wakers_of_a_task_submit_and_join() {
    must_end(|| {
        let (release, released) = mpsc::channel::<()>();
        let mut task = pin!(Pool::io_default().submit(move || released.recv().is_err()));
        // Each round uses another waker, so the previous one is dropped.
        for _ in 0..3 {
            let waker = submitting_waker::waker(Arc::new(Box::new(|| ())));
            assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(release);
        while task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            std::thread::yield_now();
        }
    });
}

#[test]
fn wakers_of_a_task_stream_may_use_the_streams_own_tasks() {
    must_end(|| {
        for limit in [None, Some(Duration::from_secs(3_600)), Some(Duration::from_millis(1))] {
            let (release, released) = mpsc::channel::<()>();
            let slow = Pool::io_default().submit(move || released.recv().is_err());
            let all = as_completed([slow]);
            let stream = if let Some(limit) = limit { all.timeout(limit).stream() } else { all.stream() };
            // The waker ends another task of the same stream, which needs the stream's list of tasks.
            let (other, others) = mpsc::channel::<()>();
            let others = std::sync::Mutex::new(Some(others));
            let quick = Pool::io_default().submit(|| ());
            let action = Arc::new(Box::new(move || {
                let _ = other.send(());
                drop(others.lock().unwrap().take());
                let _ = quick.is_finished();
            }) as Box<dyn Fn() + Send + Sync>);
            let mut stream = pin!(stream);
            let mut polled = Poll::Pending;
            for _ in 0..3 {
                let waker = submitting_waker::waker(Arc::clone(&action));
                polled = stream.as_mut().poll_next(&mut Context::from_waker(&waker));
            }
            drop(release);
            let begun = Instant::now();
            while polled.is_pending() {
                assert!(begun.elapsed() < TIME_LIMIT, "it never ends");
                polled = stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop()));
            }
        }
        assert!(submitting_waker::CALLS.load(Ordering::Relaxed) > 0);
    });
}

/// A waker whose clone, wake and drop block until another task of the same stream has ended.
#[test]
fn a_waker_waits_for_another_task_of_its_stream() {
    must_end(|| {
        let (first_go, first) = mpsc::channel::<()>();
        let (second_go, second) = mpsc::channel::<()>();
        let tasks = [
            Pool::io_default().submit(move || first.recv().is_ok()),
            Pool::io_default().submit(move || second.recv().is_ok()),
        ];
        let ended = Arc::new(AtomicUsize::new(0));
        for task in &tasks {
            let ended = Arc::clone(&ended);
            task.on_done(move |_| {
                ended.fetch_add(1, Ordering::Release);
            });
        }
        let seen = Arc::clone(&ended);
        let go = std::sync::Mutex::new(Some(first_go));
        // The first call is a clone inside `poll_next`. It lets a task end and waits until that task's worker has
        // updated the stream's list.
        let action = Arc::new(Box::new(move || {
            if let Some(go) = go.lock().unwrap().take() {
                go.send(()).expect("the task waits");
                while seen.load(Ordering::Acquire) == 0 || Pool::io_default().stats().busy > 1 {
                    std::thread::yield_now();
                }
            }
        }) as Box<dyn Fn() + Send + Sync>);
        let mut stream = pin!(as_completed(tasks).stream());
        let waker = submitting_waker::waker(action);
        let mut results = Vec::new();
        let mut second_go = Some(second_go);
        while results.len() < 2 {
            match stream.as_mut().poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some((key, result))) => {
                    results.push((key, result.expect("it returns")));
                    let _ = second_go.take().map(|go| go.send(()));
                }
                Poll::Ready(None) => panic!("two tasks"),
                Poll::Pending => std::thread::yield_now(),
            }
        }
        assert_eq!(results, [(0, true), (1, true)]);
    });
}

/// A value whose destructor submits to a pool and joins.
struct SubmitsOnDrop(&'static Pool, Arc<AtomicUsize>);

impl Drop for SubmitsOnDrop {
    fn drop(&mut self) {
        let Self(pool, count) = self;
        assert!(pool.stats().limit > 0);
        assert_eq!(pool.submit(|| 7).join().expect("it runs"), 7);
        assert_eq!(pool.map(0..4, |n: u32| n).sum::<u32>(), 6);
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn pools() -> [&'static Pool; 3] {
    static ONE: Pool = Pool::io("busy-one").threads(1);
    static CPU: Pool = Pool::cpu("busy-cpu").threads(1);
    [&ONE, &CPU, Pool::cpu_default()]
}

#[test]
fn destructors_of_arguments_results_errors_and_items_use_their_own_pool() {
    must_end(|| {
        for pool in pools() {
            let count = Arc::new(AtomicUsize::new(0));
            let busy = || SubmitsOnDrop(pool, Arc::clone(&count));
            // A detached result, an argument, and an argument of a cancelled task.
            drop(pool.submit({
                let busy = busy();
                move || busy
            }));
            let (release, released) = mpsc::channel::<()>();
            let blocker = pool.submit(move || released.recv().is_err());
            // The pool's only thread is busy.
            let queued = pool.submit({
                let busy = SubmitsOnDrop(Pool::io_default(), Arc::clone(&count));
                move || drop(busy)
            });
            queued.cancel();
            drop(release);
            assert!(blocker.join().expect("it returns"));
            // Errors of a map that stops: all but the first in input order are dropped.
            let failed: Result<Vec<()>, SubmitsOnDrop> = pool.map(0..64, |_| Err(busy())).chunk_size(1).collect();
            drop(failed.expect_err("all of them fail"));
            // Results of a map that panics.
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                pool.map(0..64, |n| if n == 63 { panic!("the last one") } else { busy() })
                    .chunk_size(1)
                    .collect::<Vec<_>>()
            }));
            assert!(panicked.is_err());
            // Results that an iterator did not yield.
            let count_too = Arc::clone(&count);
            let mut results =
                pool.map(0..100, move |_| SubmitsOnDrop(pool, Arc::clone(&count_too))).buffer(20).into_iter();
            drop(results.next());
            drop(results);
            // Results of tasks that are never joined.
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    pool.submit({
                        let busy = busy();
                        move || busy
                    })
                })
                .collect();
            let _ = wait(&tasks, Until::All, None);
            drop(as_completed(tasks).timeout(Duration::ZERO).next());
            let begun = Instant::now();
            while Arc::strong_count(&count) > 1 {
                assert!(begun.elapsed() < TIME_LIMIT, "{} are left", Arc::strong_count(&count) - 1);
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn arguments_of_a_cancelled_queue_may_use_their_own_pool() {
    must_end(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let pool = Pool::io("cancelled").threads(1).build().expect("one thread");
        let (release, released) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel();
        let blocker = pool.submit(move || {
            started.send(()).expect("the test waits");
            released.recv().is_err()
        });
        starts.recv().expect("it starts");
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let busy = SubmitsOnDrop(Pool::io_default(), Arc::clone(&count));
                pool.submit(move || drop(busy))
            })
            .collect();
        tasks[0].on_done(move |_| drop(release));
        pool.shutdown(fanfold::Pending::Cancel);
        assert!(blocker.join().expect("it returns"));
        assert_eq!(count.load(Ordering::Relaxed), 50);
        assert!(tasks.into_iter().all(|task| matches!(task.join(), Err(TaskError::Cancelled))));
    });
}

#[test]
fn iterators_may_submit_join_and_map_while_they_are_advanced() {
    must_end(|| {
        for pool in pools() {
            let items = || {
                (0..3_000_u32).inspect(move |n| {
                    if n % 500 == 0 {
                        assert_eq!(pool.submit(|| 7).join().expect("it runs"), 7);
                        assert_eq!(pool.map(0..4, |n: u32| n).sum::<u32>(), 6);
                        assert!(pool.stats().limit > 0);
                    }
                })
            };
            assert_eq!(pool.map(items().filter(|_| true), |n| n).collect::<Vec<_>>().len(), 3_000);
            assert_eq!(pool.map(items(), |n| n).unordered().into_iter().count(), 3_000);
            assert_eq!(pool.map(items(), u64::from).sum::<u64>(), 2_999 * 1_500);
            let tasks = items().take(20).map(|n| pool.submit(move || n));
            assert_eq!(join_all(tasks).expect("all return").len(), 20);
        }
    });
}

#[test]
fn callbacks_may_submit_and_join_on_any_thread() {
    must_end(|| {
        for pool in pools() {
            let (sender, receiver) = mpsc::channel();
            let call = || {
                let sender = sender.clone();
                move |_: &fanfold::Outcome<'_>| {
                    let joined = Pool::io_default().submit(|| 7).join().is_ok();
                    let of_own = pool.submit(|| 7).join().is_ok();
                    sender.send((joined, of_own, pool.stats().limit > 0)).expect("the test waits");
                }
            };
            let (release, released) = mpsc::channel::<()>();
            let task = pool.submit(move || released.recv().is_err());
            task.on_done(call());
            drop(release);
            assert_eq!(receiver.recv(), Ok((true, true, true)));
            // Runs on this thread, because the task has ended.
            task.on_done(call());
            assert_eq!(receiver.recv(), Ok((true, true, true)));
            let timed_out = slow::submit();
            timed_out.on_done(call());
            assert_eq!(receiver.recv(), Ok((true, true, true)));
            assert!(matches!(timed_out.join(), Err(TaskError::TimedOut { .. })));
        }
    });
}

#[parallel(kind = "io", timeout = "1ms")]
fn slow() -> Result<(), TaskError> {
    // Runs until it is cancelled, so it never ends before its time limit.
    while !fanfold::cancelled() {
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_callback_of_a_timed_out_task_may_wait_for_other_timeouts() {
    must_end(|| {
        let (sender, receiver) = mpsc::channel();
        let chain = move |_: &fanfold::Outcome<'_>| {
            let (second, third) = (slow::submit(), slow::submit());
            let nested_sender = sender.clone();
            second.on_done(move |_| nested_sender.send(slow::submit().join().is_err()).expect("the test waits"));
            sender.send(third.join().is_err()).expect("the test waits");
            sender.send(second.wait(TIME_LIMIT)).expect("the test waits");
        };
        let first = slow::submit();
        first.on_done(chain);
        for _ in 0..3 {
            assert_eq!(receiver.recv(), Ok(true));
        }
    });
}

#[test]
fn thread_hooks_may_use_their_own_pool_and_others() {
    static POOL: Pool = Pool::io("hooked").threads(2).on_start(hook).on_stop(hook);
    static CALLS: AtomicUsize = AtomicUsize::new(0);

    fn hook() {
        assert!(POOL.stats().limit == 2);
        assert_eq!(Pool::io_default().submit(|| 7).join().expect("it runs"), 7);
        drop(POOL.submit(|| ()));
        CALLS.fetch_add(1, Ordering::Relaxed);
    }

    must_end(|| {
        assert_eq!(POOL.submit(|| 7).join().expect("it runs"), 7);
        POOL.shutdown(fanfold::Pending::Run);
        assert!(CALLS.load(Ordering::Relaxed) >= 2);
    });
}

/// A future that wakes its own task during its first poll and is ready at the second.
struct WakesItself(bool);

impl Future for WakesItself {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(feature = "tokio")]
#[parallel(kind = "io")]
async fn awaits() -> u32 {
    WakesItself(false).await;
    Pool::io_default().submit(|| 7).await.expect("it runs")
}

#[cfg(feature = "tokio")]
#[test]
fn wakers_of_an_async_function_submit_and_join() {
    must_end(|| {
        let mut task = pin!(awaits::submit());
        let waker = submitting_waker::waker(Arc::new(Box::new(|| ())));
        let mut polled = task.as_mut().poll(&mut Context::from_waker(&waker));
        drop(waker);
        while polled.is_pending() {
            std::thread::yield_now();
            polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        assert!(matches!(polled, Poll::Ready(Ok(7))));
    });
}

#[cfg(feature = "tracing")]
mod spans {
    use std::cell::Cell;

    use tracing::span::{Attributes, Id};
    use tracing::{Subscriber, info_span};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
    use tracing_subscriber::registry::LookupSpan;

    use super::*;

    /// A subscriber that submits and joins on every span event.
    struct SubmitsOnDrop;

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    fn call() {
        thread_local! {
            static INSIDE: Cell<bool> = const { Cell::new(false) };
        }
        // The tasks submitted here have span events too.
        if !INSIDE.replace(true) {
            CALLS.fetch_add(1, Ordering::Relaxed);
            assert!(pools().iter().all(|pool| pool.stats().limit > 0));
            assert_eq!(Pool::io_default().submit(|| 7).join().expect("it runs"), 7);
            INSIDE.set(false);
        }
    }

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SubmitsOnDrop {
        fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            call();
        }

        fn on_enter(&self, _: &Id, _: Context<'_, S>) {
            call();
        }

        fn on_exit(&self, _: &Id, _: Context<'_, S>) {
            call();
        }

        fn on_close(&self, _: Id, _: Context<'_, S>) {
            call();
        }
    }

    #[test]
    fn a_subscriber_to_spans_submits_and_joins() {
        in_child("spans::a_subscriber_to_spans_submits_and_joins", || {
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(SubmitsOnDrop))
                .expect("the only one");
            for pool in pools() {
                let span = info_span!("request").entered();
                let task = pool.submit(|| 7);
                assert_eq!(pool.map(0..100, |n: u32| n).chunk_size(1).collect::<Vec<_>>().len(), 100);
                assert_eq!(pool.map(0..100, |n: u32| n).into_iter().count(), 100);
                drop(span);
                assert_eq!(task.join().expect("it runs"), 7);
                // The task holds the last handle to its span.
                drop(info_span!("detached").in_scope(|| pool.submit(|| ())));
                pool.submit(|| ()).join().expect("it runs");
            }
            assert!(CALLS.load(Ordering::Relaxed) > 12);
        });
    }
}
