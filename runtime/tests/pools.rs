//! Pools that a program builds: limits, names, hooks and shutdown.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{BuildError, Pending, Pool, TaskError, Until, parallel, wait};

static NONE: Pool = Pool::io("none").threads(0);

#[parallel(kind = "io", pool = NONE)]
fn never() {}

#[test]
fn a_pool_without_threads_is_refused() {
    for pool in [Pool::io("none").threads(0), Pool::cpu("none").threads(0)] {
        assert!(matches!(pool.build(), Err(BuildError::NoThreads)));
    }
    let payload = std::panic::catch_unwind(never).expect_err("it cannot start");
    let message = payload.downcast_ref::<String>().expect("a message");
    assert!(message.contains("`none`") && message.contains("at least 1"), "{message}");
}

#[test]
fn dropping_a_pool_runs_its_queue_and_joins_its_threads() {
    for pool in [Pool::io("owned").threads(3), Pool::cpu("owned").threads(3)] {
        let pool = pool.build().expect("threads start");
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..200 {
            let done = Arc::clone(&done);
            drop(pool.submit(move || done.fetch_add(1, Ordering::Relaxed)));
        }
        drop(pool);
        assert_eq!(done.load(Ordering::Relaxed), 200);
        // Every task has run and dropped its reference.
        assert_eq!(Arc::strong_count(&done), 1);
    }
}

#[test]
fn an_io_pool_grows_to_its_limit_and_no_further() {
    let pool = Pool::io("grown").threads(4).build().expect("threads start");
    let all = Arc::new(Barrier::new(4));
    let name = move |all: Arc<Barrier>| {
        all.wait();
        thread::current().name().unwrap_or_default().to_owned()
    };
    // The barrier opens for four tasks at a time: fewer threads would hang.
    let tasks: Vec<_> = (0..40).map(|_| Arc::clone(&all)).map(|all| pool.submit(move || name(all))).collect();
    let names: HashSet<String> = tasks.into_iter().map(|task| task.join().expect("no panic")).collect();
    assert_eq!(names.len(), 4);
    assert!(names.iter().all(|name| name.starts_with("fanfold-grown-")), "{names:?}");
}

#[test]
fn a_queued_task_can_be_cancelled_and_a_running_one_cannot() {
    let pool = Pool::io("cancel").threads(1).build().expect("threads start");
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let running = pool.submit(move || {
        started.send(()).expect("the test listens");
        released.recv().expect("the test releases");
        1
    });
    starts.recv().expect("it starts");
    let captured = Arc::new(());
    let held = Arc::clone(&captured);
    let queued = pool.submit(move || drop(held));
    assert!(running.is_running() && !queued.is_running());
    assert!(queued.cancel(), "no worker has started it");
    assert_eq!(Arc::strong_count(&captured), 1, "its arguments are dropped at once");
    assert!(queued.is_finished());
    assert!(!running.cancel(), "it runs already");
    release.send(()).expect("it waits");
    assert_eq!(running.join().expect("no panic"), 1);
    assert!(matches!(queued.join(), Err(TaskError::Cancelled)));
}

#[test]
fn a_closed_pool_refuses_new_work() {
    for pool in [Pool::io("closed").threads(2), Pool::cpu("closed").threads(2)] {
        let pool = pool.build().expect("threads start");
        let done = pool.submit(|| 1);
        pool.shutdown(Pending::Run);
        assert_eq!(done.join().expect("it was queued before"), 1);
        let refused = pool.submit(|| 2).join().expect_err("the pool is closed");
        assert!(matches!(refused, TaskError::PoolClosed));
        assert!(refused.to_string().contains("before `shutdown`"), "{refused}");
        let mapped = std::panic::catch_unwind(|| pool.map(0..3, |n| n).collect::<Vec<u32>>());
        assert!(mapped.is_err(), "a map has no other way to say so");
    }
}

#[test]
fn shutdown_can_cancel_queued_tasks() {
    let pool = Pool::io("cancelling").threads(1).build().expect("threads start");
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let running = pool.submit(move || {
        started.send(()).ok();
        released.recv().ok();
    });
    starts.recv().expect("it starts");
    let queued: Vec<_> = (0..10).map(|n| pool.submit(move || n)).collect();
    assert_eq!(pool.stats().queued, 10);
    assert_eq!(pool.stats().busy, 1);
    release.send(()).expect("it waits");
    pool.shutdown(Pending::Cancel);
    running.join().expect("it ran already");
    let ended = queued.into_iter().map(fanfold::Task::join).filter(Result::is_err).count();
    let stats = pool.stats();
    assert_eq!(stats.cancelled, ended as u64);
    assert_eq!(stats.done + stats.cancelled, 11);
    assert_eq!((stats.threads, stats.queued, stats.busy), (0, 0, 0));
}

#[test]
fn shutdown_with_a_limit_waits_and_then_cancels() {
    static OWN: Pool = Pool::io("own").threads(1);
    for pool in [Pool::io("limited").threads(1), Pool::cpu("limited").threads(1)] {
        let pool = pool.build().expect("threads start");
        let (started, starts) = mpsc::channel();
        let (asked, is_asked) = mpsc::channel();
        let running = pool.submit(move || {
            started.send(()).expect("the test waits");
            while !fanfold::cancelled() {
                std::thread::yield_now();
            }
            asked.send(()).expect("the test waits");
            7
        });
        starts.recv().expect("it starts");
        let queued = pool.submit(|| unreachable!("it is cancelled"));
        assert!(!pool.shutdown(Duration::from_millis(1)), "the time is over");
        assert!(matches!(queued.join(), Err::<(), _>(TaskError::Cancelled)));
        is_asked.recv().expect("it is asked to stop");
        assert_eq!(running.join().expect("it returns"), 7);
        assert!(matches!(pool.submit(|| ()).join(), Err(TaskError::PoolClosed)));
        assert!(pool.shutdown(Duration::from_secs(20)), "nothing is left");
    }
    let pool = Pool::io("in_time").threads(1).build().expect("threads start");
    let tasks: Vec<_> = (0..100).map(|n| pool.submit(move || n)).collect();
    assert!(pool.shutdown(Duration::from_secs(20)), "all run in time");
    assert_eq!(fanfold::join_all(tasks).expect("all ran"), (0..100).collect::<Vec<_>>());
    // On its own worker it does not wait for the task that calls it.
    assert!(OWN.submit(|| OWN.shutdown(Duration::from_secs(20))).join().expect("no panic"));
}

#[test]
fn a_killed_pool_cancels_and_does_not_wait() {
    let pool = Pool::cpu("killed").threads(1).build().expect("threads start");
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let running = pool.submit(move || {
        started.send(()).expect("the test waits");
        released.recv().ok();
        fanfold::cancelled()
    });
    starts.recv().expect("it starts");
    let queued = pool.submit(|| unreachable!("it is cancelled"));
    pool.kill();
    assert!(matches!(queued.join(), Err::<(), _>(TaskError::Cancelled)));
    assert!(running.is_running(), "no thread can be killed");
    drop(release);
    assert!(running.join().expect("it returns"), "it was asked to stop");
    pool.kill();
    assert!(matches!(pool.submit(|| ()).join(), Err(TaskError::PoolClosed)));
}

#[test]
fn hooks_may_capture_and_are_dropped_with_the_pool() {
    for pool in [Pool::io("capturing").threads(2), Pool::cpu("capturing").threads(2)] {
        let threads = Arc::new(AtomicUsize::new(0));
        let (begun, ended, text) = (Arc::clone(&threads), Arc::clone(&threads), "a longer capture".to_owned());
        let pool = pool
            .on_start(move || assert!(begun.fetch_add(text.len(), Ordering::SeqCst) < 32))
            .on_stop(move || assert!(ended.fetch_sub(16, Ordering::SeqCst) > 0))
            .build()
            .expect("threads start");
        assert_ne!(
            pool.submit({
                let threads = Arc::clone(&threads);
                move || threads.load(Ordering::SeqCst)
            })
            .join()
            .expect("no panic"),
            0
        );
        drop(pool);
        assert_eq!(threads.load(Ordering::SeqCst), 0, "as many threads have ended as have started");
        // The last thread drops them as it ends.
        let deadline = Instant::now() + Duration::from_secs(20);
        while Arc::strong_count(&threads) > 1 {
            assert!(Instant::now() < deadline, "the captures are dropped");
            std::thread::yield_now();
        }
    }
    // A pool that was never started drops them, too.
    let captured = Arc::new(());
    let theirs = Arc::clone(&captured);
    drop(Pool::io("unused").on_start(move || drop(Arc::clone(&theirs))));
    assert_eq!(Arc::strong_count(&captured), 1);
}

static STARTED: AtomicUsize = AtomicUsize::new(0);
static STOPPED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn hooks_run_once_on_each_thread() {
    for pool in [Pool::io("hooked").threads(2), Pool::cpu("hooked").threads(2)] {
        STARTED.store(0, Ordering::SeqCst);
        STOPPED.store(0, Ordering::SeqCst);
        let start = || {
            STARTED.fetch_add(1, Ordering::SeqCst);
        };
        let stop = || {
            STOPPED.fetch_add(1, Ordering::SeqCst);
        };
        let pool = pool.on_start(start).on_stop(stop).build().expect("threads start");
        let both = Arc::new(Barrier::new(2));
        let meet = || {
            let both = Arc::clone(&both);
            pool.submit(move || both.wait().is_leader())
        };
        let (one, two) = (meet(), meet());
        one.join().expect("no panic");
        two.join().expect("no panic");
        assert_eq!(STARTED.load(Ordering::SeqCst), 2);
        drop(pool);
        assert_eq!(STOPPED.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn a_slow_start_hook_delays_only_its_own_thread() {
    static SLOW: AtomicUsize = AtomicUsize::new(0);
    static GATE: Barrier = Barrier::new(2);
    for (n, pool) in [Pool::io("slow").threads(3), Pool::cpu("slow").threads(1)].into_iter().enumerate() {
        SLOW.store(0, Ordering::SeqCst);
        let hook = || {
            // Only the hook of the second thread blocks.
            if SLOW.fetch_add(1, Ordering::SeqCst) == 1 {
                GATE.wait();
                GATE.wait();
            }
        };
        let pool = Arc::new(pool.on_start(hook).build().expect("threads start"));
        let (release, released) = mpsc::channel::<()>();
        let inner = Arc::clone(&pool);
        let first = pool.submit(move || {
            // A cpu pool starts another thread when this one waits.
            let waits =
                (n == 1).then(|| drop(wait(&[inner.submit(|| ())], Until::All, Some(Duration::from_millis(1)))));
            released.recv().ok();
            waits
        });
        let second = (n == 0).then(|| pool.submit(|| ()));
        GATE.wait();
        release.send(()).expect("it waits");
        first.join().expect("no panic");
        for _ in 0..200 {
            assert!(
                pool.submit(|| ()).wait(Duration::from_secs(20)),
                "a thread sleeps, and another one is in its hook"
            );
        }
        GATE.wait();
        assert!(second.is_none_or(|task| task.join().is_ok()));
    }
}

#[test]
fn stats_count_how_tasks_end() {
    let pool = Pool::cpu("counted").threads(2).build().expect("threads start");
    let tasks: Vec<_> = (0..10).map(|n| pool.submit(move || assert!(n != 3, "three"))).collect();
    tasks.into_iter().for_each(|task| drop(task.join()));
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed, stats.cancelled, stats.limit), (9, 1, 0, 2));
}

#[test]
fn usize_max_threads_means_no_limit() {
    let pool = Pool::io("unlimited").threads(usize::MAX).build().expect("threads start");
    assert_eq!(pool.map(0..10_u32, |n| n + 1).into_iter().sum::<u32>(), 55);
    assert_eq!(pool.map(0..10_u32, |n| n + 1).sum::<u32>(), 55);
    let joined = pool.submit(|| Pool::io_default().submit(|| 7).join());
    assert_eq!(joined.join().expect("no panic").expect("no panic"), 7);
}

#[test]
fn a_cpu_pool_of_too_many_threads_is_refused() {
    static FAR_TOO_MANY: Pool = Pool::cpu("many").threads(usize::MAX);
    let refused = Pool::cpu("many").threads(100_000).build().expect_err("it would start 100,000 threads");
    assert!(matches!(refused, fanfold::BuildError::TooManyThreads { threads: 100_000, most: 1_024.. }));
    assert!(refused.to_string().contains("use an io pool for tasks that wait"), "{refused}");
    let payload = std::panic::catch_unwind(|| FAR_TOO_MANY.submit(|| ())).expect_err("a static pool panics");
    let message = payload.downcast_ref::<String>().expect("a formatted message");
    assert!(message.contains("a cpu pool has at most"), "{message}");
    assert_eq!(Pool::io("many").threads(100_000).build().expect("a thread starts").submit(|| 7).join().ok(), Some(7));
}

#[test]
fn hooks_may_wait_for_tasks() {
    static ANSWERS: std::sync::Mutex<Vec<usize>> = std::sync::Mutex::new(Vec::new());
    fn submit_and_join() {
        let busy = Pool::io_default().submit(|| Pool::io_default().submit(|| ()).join().is_ok());
        ANSWERS.lock().expect("no panic").push(usize::from(busy.join().expect("no panic")));
    }

    for pool in [Pool::io("hook_waits").threads(1), Pool::cpu("hook_waits").threads(1)] {
        let pool = pool.on_start(submit_and_join).on_stop(submit_and_join).build().expect("threads start");
        assert_eq!(pool.submit(|| 1).join().expect("no panic"), 1);
        drop(pool);
    }
    assert_eq!(*ANSWERS.lock().expect("no panic"), [1; 4]);
}

#[test]
fn a_scope_panics_when_a_closed_pool_did_not_run_its_task() {
    let pool = Pool::io("closed").threads(1).build().expect("a thread starts");
    pool.shutdown(Pending::Run);
    let scope = || fanfold::scope(|s| drop(s.submit_on(&pool, || ())));
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(scope)).expect_err("the task was not joined");
    let message = payload.downcast_ref::<&str>().expect("a message");
    assert!(message.contains("did not run and was not joined: its pool was closed"), "{message}");
    let joined = fanfold::scope(|s| s.submit_on(&pool, || ()).join());
    assert!(matches!(joined, Err(TaskError::PoolClosed)));
}

#[test]
fn a_pool_name_with_nul_is_refused() {
    let named = Pool::cpu("with a \0 in it").build();
    assert!(matches!(named, Err(BuildError::BadName)));
}
