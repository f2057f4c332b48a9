//! Handles that cancel their tasks: `AbortHandle`, `CancelOnDrop`, `TaskSet`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use fanfold::{JoinTimeout, Pool, Task, TaskError, TaskSet, as_completed, cancelled, parallel};

/// Long enough for anything that should happen.
const LONG: Duration = Duration::from_secs(60);

fn io_pool(threads: usize) -> Pool {
    Pool::io("handles").threads(threads).build().expect("threads start")
}

/// A task that runs until it is asked to stop, and has started.
fn stoppable(pool: &Pool) -> Task<&'static str> {
    let (started, starts) = mpsc::channel();
    let task = pool.submit(move || {
        started.send(()).ok();
        while !cancelled() {
            thread::yield_now();
        }
        "stopped"
    });
    starts.recv().expect("it starts");
    task
}

#[test]
fn an_abort_handle_cancels_from_another_thread() {
    let pool = io_pool(1);
    let running = stoppable(&pool);
    let queued = pool.submit(|| unreachable!("it is cancelled"));
    let handles = [running.abort_handle(), queued.abort_handle()];
    assert_eq!(handles[0].id(), running.id());
    assert!(handles.iter().all(|handle| !handle.is_finished()));
    let aborted = thread::spawn(move || handles.map(|handle| (handle.clone().abort(), handle)));
    let [running_aborted, queued_aborted] = aborted.join().expect("no panic");
    assert!(queued_aborted.0, "it never runs");
    assert!(!running_aborted.0, "it runs");
    assert!(matches!(queued.join(), Err::<(), _>(TaskError::Cancelled)));
    assert_eq!(running.join().expect("it returns"), "stopped");
    assert!(running_aborted.1.is_finished() && queued_aborted.1.is_finished());
}

#[test]
fn an_abort_handle_reaches_a_detached_task_and_keeps_no_result() {
    let pool = io_pool(1);
    let result = Arc::new(());
    let (theirs, (sender, receiver)) = (Arc::clone(&result), mpsc::channel());
    let task = pool.submit(move || {
        sender.send(()).expect("the test waits");
        while !cancelled() {
            thread::yield_now();
        }
        sender.send(()).expect("the test waits");
        theirs
    });
    let handle = task.abort_handle();
    drop(task);
    receiver.recv().expect("it starts");
    assert!(!handle.is_finished() && !handle.abort());
    receiver.recv().expect("it sees that it is cancelled");
    drop(pool);
    assert!(handle.is_finished());
    assert_eq!(Arc::strong_count(&result), 1, "the result is dropped with the task");
}

#[test]
fn a_dropped_handle_cancels_queued_and_running_work() {
    let pool = io_pool(1);
    let (seen, sees) = mpsc::channel();
    let (started, starts) = mpsc::channel();
    let running = pool.submit(move || {
        started.send(()).expect("the test waits");
        while !cancelled() {
            thread::yield_now();
        }
        seen.send(()).expect("the test waits");
    });
    let running = running.cancel_on_drop();
    starts.recv().expect("it starts");
    let has_run = Arc::new(AtomicBool::new(false));
    let runs = Arc::clone(&has_run);
    let queued = pool.submit(move || runs.store(true, Ordering::SeqCst)).cancel_on_drop();
    drop(queued);
    assert_eq!(Arc::strong_count(&has_run), 1, "the closure is dropped at once");
    drop(running);
    sees.recv().expect("it sees that it is cancelled");
    drop(pool);
    assert!(!has_run.load(Ordering::SeqCst));
}

#[test]
fn a_handle_that_is_joined_awaited_or_taken_apart_cancels_nothing() {
    let pool = io_pool(1);
    assert_eq!(pool.submit(|| 7).cancel_on_drop().join().expect("no panic"), 7);
    assert_eq!(pollster::block_on(pool.submit(|| 8).cancel_on_drop()).expect("no panic"), 8);
    let (release, released) = mpsc::channel::<()>();
    let held = pool.submit(move || released.recv().is_err() && !cancelled()).cancel_on_drop().into_task();
    drop(release);
    assert!(held.join().expect("no panic"));
}

#[test]
fn a_set_grows_while_results_are_taken() {
    #[parallel(kind = "cpu")]
    fn halves(n: u32) -> Vec<u32> {
        if n == 1 { Vec::new() } else { vec![n / 2; 2] }
    }
    let mut set: TaskSet<Vec<u32>> = [halves::submit(16)].into_iter().collect();
    let mut ended = 0;
    while let Some(more) = set.join_next() {
        ended += 1;
        set.extend(more.expect("no panic").into_iter().map(halves::submit));
    }
    assert_eq!(ended, 31);
    assert!(set.is_empty() && set.try_next().is_none());

    set.push(halves::submit(16));
    let awaited = pollster::block_on(async {
        let mut ended = 0;
        while let Some(more) = set.next().await {
            ended += 1;
            set.extend(more.expect("no panic").into_iter().map(halves::submit));
        }
        ended
    });
    assert_eq!(awaited, 31);
}

#[test]
fn a_set_gives_results_in_the_order_of_completion_with_their_ids() {
    let pool = io_pool(2);
    let (release, released) = mpsc::channel::<()>();
    let mut set = TaskSet::new();
    let slow = set.submit_on(&pool, move || released.recv().is_err());
    let quick = set.submit_on(&pool, || true);
    assert_eq!(set.len(), 2);
    let (id, result) = pollster::block_on(set.next_with_id()).expect("two tasks");
    assert_eq!((id, result.expect("no panic")), (quick, true));
    assert!(set.try_next().is_none(), "the other is held");
    drop(release);
    let (id, _) = pollster::block_on(set.next_with_id()).expect("one task is left");
    assert_eq!(id, slow);
    assert!(pollster::block_on(set.next_with_id()).is_none());
}

#[test]
fn a_dropped_set_cancels_what_is_left_and_a_detached_one_does_not() {
    let pool = io_pool(1);
    let mut set = TaskSet::new();
    let running = stoppable(&pool);
    let stops = running.abort_handle();
    set.push(running);
    let never = set.submit_on(&pool, || unreachable!("it is cancelled"));
    drop(set);
    let (sender, receiver) = mpsc::channel();
    let mut set = TaskSet::new();
    set.submit_on(&pool, move || sender.send(()).is_ok());
    set.detach_all();
    assert!(set.is_empty() && set.join_next().is_none());
    receiver.recv().expect("it runs, so the one before has stopped");
    set.submit_on(&pool, || true);
    assert!(set.join_next().expect("one task").expect("no panic"), "the key of the detached task is skipped");
    drop(pool);
    assert!(stops.is_finished() && never != stops.id());
}

#[test]
fn a_cancelled_set_keeps_its_results() {
    let pool = io_pool(1);
    let mut set = TaskSet::new();
    set.push(stoppable(&pool));
    set.submit_on(&pool, || unreachable!("it is cancelled"));
    set.cancel_all();
    let mut results = [set.join_next(), set.join_next()].map(|result| result.expect("two tasks"));
    results.sort_by_key(Result::is_ok);
    assert!(matches!(results, [Err(TaskError::Cancelled), Ok("stopped")]));
}

#[test]
fn a_worker_that_waits_for_a_set_runs_its_tasks() {
    static ONE: Pool = Pool::io("one").threads(1);
    let sum = ONE.submit(|| {
        let mut set: TaskSet<u32> = (0..100).map(|n| ONE.submit(move || n)).collect();
        std::iter::from_fn(|| set.join_next()).map(|n| n.expect("no panic")).sum::<u32>()
    });
    assert_eq!(sum.join().expect("no panic"), 4_950);
}

#[test]
fn a_second_cancel_of_a_task_that_never_runs_is_true_too() {
    let pool = io_pool(1);
    let busy = stoppable(&pool);
    let queued = pool.submit(|| unreachable!("it is cancelled"));
    let abort = queued.abort_handle();
    assert!(abort.abort());
    assert!(abort.abort() && queued.cancel() && abort.abort());
    assert!(matches!(queued.join(), Err::<(), _>(TaskError::Cancelled)));
    // One that has run, or runs, is another thing.
    assert!(!busy.cancel() && !busy.cancel());
    while !busy.is_finished() {
        thread::yield_now();
    }
    assert!(!busy.cancel());
    // Nor does one of a closed pool run, although this does not cancel it.
    pool.kill();
    let refused = pool.submit(|| 1);
    assert!(refused.cancel());
    assert!(matches!(refused.join(), Err(TaskError::PoolClosed)));
}

#[cfg(feature = "tokio")]
#[test]
fn a_second_cancel_of_a_future_that_was_not_polled_is_true_too() {
    #[parallel(kind = "io")]
    async fn never() {
        unreachable!("it is cancelled");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let task = never::submit();
        assert!(task.cancel() && task.cancel());
        assert!(matches!(task.await, Err(TaskError::Cancelled)));
    });
}

#[test]
fn emptying_a_set_wakes_who_polls_it() {
    use futures_core::Stream;
    use std::pin::Pin;
    use std::task::{Context, Poll, Wake};

    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let mut set = TaskSet::new();
    let (end, ends) = mpsc::channel::<()>();
    let pool = io_pool(1);
    set.submit_on(&pool, move || ends.recv().is_err());
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Arc::clone(&woken).into();
    assert!(Pin::new(&mut set).poll_next(&mut Context::from_waker(&waker)).is_pending());
    set.detach_all();
    assert!(woken.0.load(Ordering::SeqCst));
    assert!(matches!(Pin::new(&mut set).poll_next(&mut Context::from_waker(&waker)), Poll::Ready(None)));
    drop(end);
}

#[test]
fn a_set_waits_with_a_limit_and_tells_which_task_ended() {
    let mut set = TaskSet::new();
    let (end, ends) = mpsc::channel::<()>();
    let pool = io_pool(2);
    let slow = set.submit_on(&pool, move || ends.recv().is_err());
    assert!(set.join_next_timeout(Duration::ZERO).is_none());
    assert!(set.join_next_timeout(Duration::from_millis(1)).is_none());
    assert_eq!(set.len(), 1);
    let fast = set.submit_on(&pool, || false);
    let (id, result) = set.join_next_with_id().expect("two tasks");
    assert_eq!((id, result.expect("no panic")), (fast, false));
    drop(end);
    assert!(set.join_next_timeout(LONG).expect("one task").expect("no panic"));
    assert!(set.join_next_timeout(Duration::MAX).is_none() && set.join_next_with_id().is_none());
    assert_ne!(slow, fast);
}

#[test]
fn a_handle_that_cancels_on_drop_does_what_a_task_does() {
    let pool = io_pool(1);
    let running = stoppable(&pool).cancel_on_drop();
    assert!(running.is_running() && !running.is_finished());
    assert_eq!(running.abort_handle().id(), running.id());
    let running = running.join_timeout(Duration::from_millis(1)).expect_err("it runs until it is cancelled");
    let running = running.into_task().expect("its time was over");
    let queued = pool.submit(|| 1).cancel_on_drop();
    assert!(queued.cancel() && queued.is_finished());
    assert!(matches!(queued.join_timeout(LONG), Err(JoinTimeout::Failed(TaskError::Cancelled))));
    assert!(!running.cancel());
    assert_eq!(running.join_timeout(LONG).expect("it returns"), "stopped");
}

#[test]
fn as_completed_cancels_what_cancels_on_drop_if_its_iterator_panics() {
    let pool = io_pool(1);
    let running = stoppable(&pool);
    let queued: Task<&'static str> = pool.submit(|| unreachable!("it is cancelled"));
    let handles = [running.abort_handle(), queued.abort_handle()];
    let mut tasks = [running, queued].map(Task::cancel_on_drop).into_iter();
    let tasks = std::iter::from_fn(move || Some(tasks.next().expect("no more tasks")));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| as_completed(tasks))).is_err());
    while !handles.iter().all(fanfold::AbortHandle::is_finished) {
        thread::yield_now();
    }
}

#[test]
fn as_completed_cancels_what_cancels_on_drop() {
    let pool = io_pool(2);
    let tasks = [stoppable(&pool), stoppable(&pool)];
    let first = tasks[0].abort_handle();
    let mut ended = as_completed(tasks.map(Task::cancel_on_drop));
    assert!(!first.abort());
    assert!(matches!(ended.next(), Some((0, Ok("stopped")))));
    drop(ended);
    // Otherwise the pool would wait for the second for ever.
    pool.shutdown(fanfold::Pending::Run);

    let pool = io_pool(1);
    let slow = [("a", stoppable(&pool).cancel_on_drop())];
    let mut late = as_completed(slow).timeout(Duration::from_millis(1));
    assert!(matches!(late.next(), Some(("a", Err(TaskError::TimedOut { .. })))));
    pool.shutdown(fanfold::Pending::Run);
    drop(late);
}
