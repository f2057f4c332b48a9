//! Code that is not Fanfold's runs where Fanfold calls it: panic hooks, wakers, destructors, iterators, callbacks and
//! thread hooks. All of it may call Fanfold, as no lock is held meanwhile.

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

/// Long enough for everything but a hang.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs `work` on a thread of its own; that it hangs is an error after [`LIMIT`].
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ends) = mpsc::channel();
    std::thread::spawn(move || done.send(catch_unwind(AssertUnwindSafe(work))).is_ok());
    match ends.recv_timeout(LIMIT) {
        Ok(Ok(result)) => result,
        Ok(Err(payload)) => std::panic::resume_unwind(payload),
        Err(why) => panic!("it hangs: {why}"),
    }
}

/// Runs `work` in a process of its own, as hooks are the process': this program, told to run `test` alone.
fn in_child(test: &str, work: impl FnOnce()) {
    const INSIDE: &str = "FANFOLD_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return work();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program);
    let mut child = child.args([test, "--exact", "--nocapture"]).env(INSIDE, "1").spawn().expect("it can be started");
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().expect("it can be waited for") {
            Some(status) => break status,
            None if begun.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(2)),
            None => {
                child.kill().expect("it can be killed");
                child.wait().expect("it can be waited for");
                panic!("{test} hangs");
            }
        }
    };
    assert!(status.success(), "{test}: {status}");
}

/// Panics with a hook that calls `work`, on this thread alone.
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
        // The hook has ended, and panics are told of with their places some time later.
        let located = || match Pool::io_default().submit(|| panic!("in a task")).join() {
            Err(TaskError::Panicked { location, .. }) => location.is_some(),
            other => panic!("{other:?}"),
        };
        let begun = Instant::now();
        while !located() {
            assert!(begun.elapsed() < LIMIT, "Fanfold's own hook is never set");
        }
    });
}

#[test]
fn places_are_told_after_a_hook_was_the_first_to_submit() {
    in_child("places_are_told_after_a_hook_was_the_first_to_submit", || {
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
                // Run on this very thread, its panic would end the program.
                assert!(pool.submit(|| panic!("while the hook waits")).join().is_err());
                assert_eq!(pool.stats().limit, 1);
            }
        }));
        assert!(pool.submit(|| panic!("in a task")).join().is_err());
        let _ = std::panic::take_hook();
    });
}

#[test]
fn a_panic_hook_uses_the_pool_that_could_not_start() {
    in_child("a_panic_hook_uses_the_pool_that_could_not_start", || {
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

/// A waker that submits and joins a task whenever it is cloned, woken or dropped.
mod busy {
    use super::*;

    pub(super) static CALLS: AtomicUsize = AtomicUsize::new(0);
    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

    /// Something else that is done each time.
    type Also = dyn Fn() + Send + Sync;

    pub(super) fn waker(also: Arc<Box<Also>>) -> Waker {
        // SAFETY: the data is a reference count of the `Arc`, which each function of the table takes over or leaves.
        unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(also).cast(), &TABLE)) }
    }

    fn call(also: *const ()) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        assert_eq!(Pool::io_default().submit(|| 7).join().expect("it runs"), 7);
        // SAFETY: the waker that calls this holds a reference count.
        unsafe { (*also.cast::<Box<Also>>())() };
    }

    fn clone(also: *const ()) -> RawWaker {
        call(also);
        // SAFETY: as above; the clone gets a count of its own.
        unsafe { Arc::increment_strong_count(also.cast::<Box<Also>>()) };
        RawWaker::new(also, &TABLE)
    }

    fn wake(also: *const ()) {
        call(also);
        release(also);
    }

    fn wake_by_ref(also: *const ()) {
        call(also);
    }

    fn release(also: *const ()) {
        call(also);
        // SAFETY: the waker gives its count back.
        drop(unsafe { Arc::from_raw(also.cast::<Box<Also>>()) });
    }
}

#[test]
fn wakers_of_a_task_submit_and_join() {
    in_time(|| {
        let (release, released) = mpsc::channel::<()>();
        let mut task = pin!(Pool::io_default().submit(move || released.recv().is_err()));
        // Another waker each time: the one before is dropped.
        for _ in 0..3 {
            let waker = busy::waker(Arc::new(Box::new(|| ())));
            assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(release);
        while task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            std::thread::yield_now();
        }
    });
}

#[test]
fn wakers_of_a_stream_of_tasks_submit_and_join_and_look_at_its_tasks() {
    in_time(|| {
        for limit in [None, Some(Duration::from_hours(1)), Some(Duration::from_millis(1))] {
            let (release, released) = mpsc::channel::<()>();
            let slow = Pool::io_default().submit(move || released.recv().is_err());
            let all = as_completed([slow]);
            let stream = if let Some(limit) = limit { all.timeout(limit).stream() } else { all.stream() };
            // The waker wants the list that its stream is in: it ends another task of it.
            let (other, others) = mpsc::channel::<()>();
            let others = std::sync::Mutex::new(Some(others));
            let quick = Pool::io_default().submit(|| ());
            let also = Arc::new(Box::new(move || {
                let _ = other.send(());
                drop(others.lock().unwrap().take());
                let _ = quick.is_finished();
            }) as Box<dyn Fn() + Send + Sync>);
            let mut stream = pin!(stream);
            let mut polled = Poll::Pending;
            for _ in 0..3 {
                let waker = busy::waker(Arc::clone(&also));
                polled = stream.as_mut().poll_next(&mut Context::from_waker(&waker));
            }
            drop(release);
            let begun = Instant::now();
            while polled.is_pending() {
                assert!(begun.elapsed() < LIMIT, "it never ends");
                polled = stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop()));
            }
        }
        assert!(busy::CALLS.load(Ordering::Relaxed) > 0);
    });
}

/// A waker whose clone, wake and drop block until another task of the same list has ended.
#[test]
fn a_waker_waits_for_another_task_of_its_stream() {
    in_time(|| {
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
        // On its first call, which is a clone inside `poll_next`, it lets a task end and waits until its worker is
        // through with the list.
        let also = Arc::new(Box::new(move || {
            if let Some(go) = go.lock().unwrap().take() {
                go.send(()).expect("the task waits");
                while seen.load(Ordering::Acquire) == 0 || Pool::io_default().stats().busy > 1 {
                    std::thread::yield_now();
                }
            }
        }) as Box<dyn Fn() + Send + Sync>);
        let mut stream = pin!(as_completed(tasks).stream());
        let waker = busy::waker(also);
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

/// A value whose destructor uses a pool.
struct Busy(&'static Pool, Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        let Self(pool, count) = self;
        assert!(pool.stats().limit > 0);
        assert_eq!(pool.submit(|| 7).join().expect("it runs"), 7);
        assert_eq!(pool.map(0..4, |n: u32| n).sum::<u32>(), 6);
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn busy_pools() -> [&'static Pool; 3] {
    static ONE: Pool = Pool::io("busy-one").threads(1);
    static CPU: Pool = Pool::cpu("busy-cpu").threads(1);
    [&ONE, &CPU, Pool::cpu_default()]
}

#[test]
fn destructors_of_arguments_results_errors_and_items_use_their_own_pool() {
    in_time(|| {
        for pool in busy_pools() {
            let count = Arc::new(AtomicUsize::new(0));
            let busy = || Busy(pool, Arc::clone(&count));
            // A detached result, an argument, and one of a task that is cancelled.
            drop(pool.submit({
                let busy = busy();
                move || busy
            }));
            let (release, released) = mpsc::channel::<()>();
            let blocker = pool.submit(move || released.recv().is_err());
            // The one thread of its own pool is taken.
            let queued = pool.submit({
                let busy = Busy(Pool::io_default(), Arc::clone(&count));
                move || drop(busy)
            });
            queued.cancel();
            drop(release);
            assert!(blocker.join().expect("it returns"));
            // Errors of a map that stops: all but the first in order are dropped.
            let failed: Result<Vec<()>, Busy> = pool.map(0..64, |_| Err(busy())).chunk_size(1).collect();
            drop(failed.expect_err("all of them fail"));
            // Results of a map that panics.
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                pool.map(0..64, |n| if n == 63 { panic!("the last one") } else { busy() })
                    .chunk_size(1)
                    .collect::<Vec<_>>()
            }));
            assert!(panicked.is_err());
            // Results that an iterator did not give out.
            let count_too = Arc::clone(&count);
            let mut results = pool.map(0..100, move |_| Busy(pool, Arc::clone(&count_too))).buffer(20).into_iter();
            drop(results.next());
            drop(results);
            // Results that nobody took.
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
                assert!(begun.elapsed() < LIMIT, "{} are left", Arc::strong_count(&count) - 1);
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn a_queue_of_busy_arguments_is_cancelled_with_its_pool() {
    in_time(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let pool = Pool::io("cancelled").threads(1).build().expect("one thread");
        let (release, released) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel();
        let blocker = pool.submit(move || {
            started.send(()).expect("somebody waits");
            released.recv().is_err()
        });
        starts.recv().expect("it starts");
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let busy = Busy(Pool::io_default(), Arc::clone(&count));
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
fn iterators_submit_join_and_map_while_they_are_pulled() {
    in_time(|| {
        for pool in busy_pools() {
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
fn callbacks_submit_and_join_wherever_they_run() {
    in_time(|| {
        for pool in busy_pools() {
            let (told, tells) = mpsc::channel();
            let call = || {
                let told = told.clone();
                move |_: &fanfold::Outcome<'_>| {
                    let joined = Pool::io_default().submit(|| 7).join().is_ok();
                    let of_own = pool.submit(|| 7).join().is_ok();
                    told.send((joined, of_own, pool.stats().limit > 0)).expect("the test waits");
                }
            };
            let (release, released) = mpsc::channel::<()>();
            let task = pool.submit(move || released.recv().is_err());
            task.on_done(call());
            drop(release);
            assert_eq!(tells.recv(), Ok((true, true, true)));
            // On this thread, as the task has ended.
            task.on_done(call());
            assert_eq!(tells.recv(), Ok((true, true, true)));
            let late = slow::submit();
            late.on_done(call());
            assert_eq!(tells.recv(), Ok((true, true, true)));
            assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
        }
    });
}

#[parallel(kind = "io", timeout = "1ms")]
fn slow() -> Result<(), TaskError> {
    // Not over before its time: it waits to be told.
    while !fanfold::cancelled() {
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_callback_of_a_task_that_timed_out_waits_for_others_that_time_out() {
    in_time(|| {
        let (told, tells) = mpsc::channel();
        let chain = move |_: &fanfold::Outcome<'_>| {
            let (second, third) = (slow::submit(), slow::submit());
            let told_too = told.clone();
            second.on_done(move |_| told_too.send(slow::submit().join().is_err()).expect("the test waits"));
            told.send(third.join().is_err()).expect("the test waits");
            told.send(second.wait(LIMIT)).expect("the test waits");
        };
        let first = slow::submit();
        first.on_done(chain);
        for _ in 0..3 {
            assert_eq!(tells.recv(), Ok(true));
        }
    });
}

#[test]
fn thread_hooks_use_their_own_pool_and_others() {
    static POOL: Pool = Pool::io("hooked").threads(2).on_start(hook).on_stop(hook);
    static CALLS: AtomicUsize = AtomicUsize::new(0);

    fn hook() {
        assert!(POOL.stats().limit == 2);
        assert_eq!(Pool::io_default().submit(|| 7).join().expect("it runs"), 7);
        drop(POOL.submit(|| ()));
        CALLS.fetch_add(1, Ordering::Relaxed);
    }

    in_time(|| {
        assert_eq!(POOL.submit(|| 7).join().expect("it runs"), 7);
        POOL.shutdown(fanfold::Pending::Run);
        assert!(CALLS.load(Ordering::Relaxed) >= 2);
    });
}

/// Awaits nothing, and wakes its task from within.
struct Once(bool);

impl Future for Once {
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
    Once(false).await;
    Pool::io_default().submit(|| 7).await.expect("it runs")
}

#[cfg(feature = "tokio")]
#[test]
fn wakers_of_an_async_function_submit_and_join() {
    in_time(|| {
        let mut task = pin!(awaits::submit());
        let waker = busy::waker(Arc::new(Box::new(|| ())));
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

    /// Submits and joins whatever happens to a span.
    struct Busy;

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    fn call() {
        thread_local! {
            static INSIDE: Cell<bool> = const { Cell::new(false) };
        }
        // What it does happens to its own span, too.
        if !INSIDE.replace(true) {
            CALLS.fetch_add(1, Ordering::Relaxed);
            assert!(busy_pools().iter().all(|pool| pool.stats().limit > 0));
            assert_eq!(Pool::io_default().submit(|| 7).join().expect("it runs"), 7);
            INSIDE.set(false);
        }
    }

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Busy {
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
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Busy)).expect("the only one");
            for pool in busy_pools() {
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
