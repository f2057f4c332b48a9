//! Waits for several tasks in async code, without a runtime: `join_all_async`, `first_async`, `wait_async`.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fanfold::{Pool, Task, TaskError, Until, cancelled, first_async, join_all_async, wait_async};

fn io_pool(threads: usize) -> Pool {
    Pool::io("waits").threads(threads).build().expect("threads start")
}

/// A task that runs until the sender is dropped, and says whether it was cancelled meanwhile.
fn held(pool: &Pool) -> (mpsc::Sender<()>, Task<bool>) {
    let (release, released) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel();
    let task = pool.submit(move || {
        started.send(()).ok();
        released.recv().ok();
        cancelled()
    });
    starts.recv().expect("it starts");
    (release, task)
}

fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn all_results_come_in_the_order_of_the_tasks() {
    let pool = io_pool(2);
    let results = pollster::block_on(join_all_async((0..100).map(|n| pool.submit(move || n))));
    assert_eq!(results.expect("no panic"), (0..100).collect::<Vec<_>>());
    assert!(pollster::block_on(join_all_async(Vec::<Task<u8>>::new())).expect("no task fails").is_empty());
}

#[test]
fn the_first_error_cancels_the_other_tasks() {
    let pool = io_pool(1);
    let panics = pool.submit(|| panic!("no"));
    let (release, waits) = held(&pool);
    let never = pool.submit(|| unreachable!("it is cancelled"));
    let abort = never.abort_handle();
    let error = pollster::block_on(join_all_async([never, panics])).expect_err("one panics");
    assert!(matches!(error, TaskError::Panicked { .. }), "{error}");
    assert!(abort.is_finished());
    drop(release);
    assert!(!waits.join().expect("no panic"), "it is no task of the wait");
}

#[test]
fn dropping_the_future_cancels_the_tasks() {
    let pool = io_pool(1);
    for wait_for_first in [true, false] {
        let (release, task) = held(&pool);
        let stops = task.abort_handle();
        let queued = pool.submit(|| unreachable!("it is cancelled"));
        let never = queued.abort_handle();
        if wait_for_first {
            let mut wait = pin!(first_async([task, queued]));
            assert!(is_pending(&mut wait));
        } else {
            let mut wait = pin!(join_all_async([task, queued]));
            assert!(is_pending(&mut wait));
        }
        // The futures are dropped at the end of their blocks.
        assert!(never.is_finished() && !stops.is_finished());
        drop(release);
    }
    drop(pool);
}

#[test]
fn the_first_result_cancels_the_other_tasks() {
    let pool = io_pool(2);
    let (release, task) = held(&pool);
    let (observer, outcome) = mpsc::channel();
    task.on_done(move |outcome| observer.send(outcome.is_ok()).expect("the test waits"));
    let panics = pool.submit(|| panic!("no"));
    let quick = pool.submit(|| true);
    assert!(pollster::block_on(first_async([task, panics, quick])).expect("one returns"));
    drop(release);
    assert!(outcome.recv().expect("it ends"), "it has seen that it is cancelled, and returned");
    let none = pollster::block_on(first_async(Vec::<Task<u8>>::new()));
    assert!(matches!(none, Err(TaskError::Cancelled)));
}

#[test]
fn waiting_says_which_tasks_are_done() {
    let pool = io_pool(2);
    let (release, task) = held(&pool);
    let tasks = [task, pool.submit(|| false)];
    let done = pollster::block_on(wait_async(&tasks, Until::First, None));
    assert_eq!(done, (vec![1], vec![0]));
    let timed_out = pollster::block_on(wait_async(&tasks, Until::All, Some(Duration::from_millis(1))));
    assert_eq!(timed_out, (vec![1], vec![0]));
    {
        let mut wait = pin!(wait_async(&tasks, Until::All, None));
        assert!(matches!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    }
    assert!(tasks[0].is_running(), "a dropped wait leaves the tasks as they are");
    drop(release);
    assert_eq!(pollster::block_on(wait_async(&tasks, Until::All, None)), (vec![0, 1], vec![]));
    assert_eq!(pollster::block_on(wait_async::<u8>(&[], Until::First, None)), (vec![], vec![]));

    let (release, held) = held(&pool);
    let failing = [held, pool.submit(|| true), pool.submit(|| panic!("no"))];
    let (done, pending) = pollster::block_on(wait_async(&failing, Until::FirstError, None));
    assert!(done.contains(&2) && pending.contains(&0), "{done:?} {pending:?}");
    drop(release);
}

#[test]
fn what_was_awaited_panics_if_it_is_polled_again() {
    let pool = io_pool(1);
    let polled_again = |mut task: Task<u32>| {
        assert!(matches!(pollster::block_on(&mut task), Ok(7)));
        catch_unwind(AssertUnwindSafe(|| is_pending(&mut task))).is_err()
    };
    assert!(polled_again(pool.submit(|| 7)));
    let mut map = pool.map([3, 4], |n: u32| n).collect_async::<Vec<u32>>();
    assert!(matches!(pollster::block_on(&mut map), Ok(all) if all == [3, 4]));
    assert!(catch_unwind(AssertUnwindSafe(|| is_pending(&mut map))).is_err());
    let mut kept = pool.submit(|| 8).cancel_on_drop();
    assert!(matches!(pollster::block_on(&mut kept), Ok(8)));
    assert!(catch_unwind(AssertUnwindSafe(|| is_pending(&mut kept))).is_err());
    let mut results = pool.map([1], |n: u32| n).stream();
    pollster::block_on(async {
        assert_eq!((results.next().await, results.next().await, results.next().await), (Some(1), None, None));
    });
    assert_eq!(pool.submit(|| 9).join().expect("the pool goes on"), 9);
}
