//! Deadlines and priorities of submitted tasks.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{Pool, Priority, Task, TaskError, parallel};

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

static SINGLE: Pool = Pool::io("single").threads(1);
static OTHER: Pool = Pool::io("other").threads(1);

const LONG: Duration = Duration::from_secs(3_600);

#[parallel(kind = "io", pool = SINGLE, deadline = "5ms")]
fn soon(ran: Sender<()>) -> Result<u32, TaskError> {
    ran.send(()).ok();
    Ok(1)
}

#[parallel(kind = "io", pool = OTHER, deadline = "1h", timeout = "1h")]
fn someday(n: u32) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    Ok(n)
}

#[parallel(kind = "cpu")]
fn plain(ran: Sender<()>) -> usize {
    usize::from(ran.send(()).is_ok())
}

fn never_ran(ran: &Receiver<()>) -> bool {
    ran.recv().is_err()
}

#[test]
fn what_is_late_when_its_turn_comes_does_not_run() {
    let (first, release) = occupy(&SINGLE);
    let (sender, ran) = channel();
    // The only thread is occupied, so these end in the queue.
    let error = soon::submit(sender.clone()).join().unwrap_err();
    assert!(matches!(error, TaskError::TimedOut { after } if after == Duration::from_millis(5)), "{error}");
    assert_eq!(error.to_string(), "the task was not done within 5ms");
    assert!(matches!(soon(sender.clone()), Err(TaskError::TimedOut { .. })));
    assert!(matches!(soon::on(&SINGLE).call(sender.clone()), Err(TaskError::TimedOut { .. })));
    assert!(matches!(soon::try_submit(sender.clone()).unwrap().join(), Err(TaskError::TimedOut { .. })));
    let late = plain::on(&SINGLE).deadline(Instant::now() + Duration::from_millis(5)).submit(sender.clone());
    assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
    let in_time = plain::on(&SINGLE).deadline(LONG).submit(sender.clone());
    assert_eq!(SINGLE.stats().queued, 1, "tasks that are late leave the queue");
    drop(release);
    first.join().unwrap();
    assert_eq!(in_time.join().unwrap(), 1);
    assert_eq!(ran.recv(), Ok(()));
    drop(sender);
    assert!(never_ran(&ran));
}

#[test]
fn a_deadline_in_the_past_runs_nothing() {
    let pool = Pool::cpu("past").threads(1).build().unwrap();
    let (sender, ran) = channel();
    let past = [
        plain::on(&pool).deadline(Duration::ZERO).submit(sender.clone()),
        plain::on(&pool).deadline(Instant::now()).priority(Priority::High).try_submit(sender.clone()).unwrap(),
        pollster::block_on(plain::on(&pool).deadline(Instant::now()).submit_async(sender)),
    ];
    for task in past {
        let error = task.join().unwrap_err();
        assert_eq!(error.to_string(), "the deadline of the task had passed when it was submitted");
    }
    assert!(never_ran(&ran));
    assert_eq!((pool.stats().queued, pool.stats().failed), (0, 3));
}

#[test]
fn a_call_in_time_is_as_without_a_deadline() {
    assert_eq!(someday(1).unwrap(), 1);
    assert_eq!(someday::submit(2).join().unwrap().unwrap(), 2);
    assert_eq!(someday::on(&OTHER).deadline(Duration::MAX).call(3).unwrap(), 3);
    let results: Result<Vec<u32>, _> = someday::map(0..3).collect();
    assert_eq!(results.unwrap(), [0, 1, 2]);
}

#[test]
fn a_task_that_runs_is_asked_to_stop_at_its_deadline() {
    let pool = Pool::io("asked").threads(1).build().unwrap();
    let (started, starts) = channel();
    let task = pool.with_deadline(Duration::from_millis(200)).submit(move || {
        started.send(()).ok();
        while !fanfold::cancelled() {
            thread::yield_now();
        }
        "stopped"
    });
    // On a machine that stalls for that long it never starts.
    match starts.recv() {
        Ok(()) => assert_eq!(task.join().unwrap(), "stopped"),
        Err(_) => assert!(matches!(task.join(), Err(TaskError::TimedOut { .. }))),
    }
}

#[parallel(kind = "io", chunks = 2, deadline = "20ms")]
fn soon_in_chunks(numbers: Vec<u32>, ran: Sender<()>) -> Result<Vec<u32>, TaskError> {
    ran.send(()).ok();
    Ok(numbers)
}

#[parallel(kind = "cpu", chunks = 2, deadline = "1h")]
fn someday_in_chunks(numbers: Vec<u32>, factor: u32) -> Result<Vec<u32>, TaskError> {
    Ok(numbers.into_iter().map(|n| n * factor).collect())
}

#[test]
fn chunked_calls_have_deadlines() {
    let pool = Pool::io("chunks").threads(1).build().unwrap();
    assert_eq!(someday_in_chunks(vec![1, 2, 3], 2).unwrap(), [2, 4, 6]);
    assert_eq!(someday_in_chunks::submit(vec![1, 2], 3).join().unwrap().unwrap(), [3, 6]);
    assert_eq!(someday_in_chunks::on(&pool).call(vec![1, 2], 4).unwrap(), [4, 8]);
    let late = someday_in_chunks::on(&pool).deadline(Duration::ZERO).call(vec![1], 1);
    assert!(matches!(late, Err(TaskError::TimedOut { .. })));

    let (first, release) = occupy(&pool);
    let (sender, ran) = channel();
    assert!(matches!(soon_in_chunks::on(&pool).call(vec![1], sender.clone()), Err(TaskError::TimedOut { .. })));
    let late = soon_in_chunks::on(&pool).submit(vec![1, 2], sender);
    assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
    assert!(never_ran(&ran));
    drop(release);
    first.join().unwrap();
}

/// Each chunk runs until it is asked to stop.
#[allow(clippy::needless_pass_by_value, reason = "each chunk has a sender of its own")]
#[parallel(kind = "io", chunks = 2)]
fn until_stopped(numbers: Vec<u32>, ran: Sender<()>) -> Vec<u32> {
    ran.send(()).ok();
    while !fanfold::cancelled() {
        thread::yield_now();
    }
    numbers
}

#[parallel(kind = "io", chunks = 2, deadline = "300ms")]
fn late_in_chunks(numbers: Vec<u32>, ran: Sender<()>) -> Result<Vec<u32>, TaskError> {
    Ok(until_stopped::serial(numbers, ran))
}

#[test]
fn a_late_task_whose_chunks_or_items_are_not_all_started_has_timed_out() {
    let pool = Pool::io("late").threads(1).build().unwrap();
    let limit = Duration::from_millis(300);
    let (sender, ran) = channel();
    let tasks = [
        until_stopped::on(&pool).deadline(limit).submit(vec![1, 2], sender.clone()),
        until_stopped::on(&pool).deadline(Instant::now() + limit).submit(vec![1, 2], sender.clone()),
    ];
    for task in tasks {
        let error = task.join().unwrap_err();
        assert!(matches!(error, TaskError::TimedOut { after } if after <= limit), "{error}");
    }
    let error = late_in_chunks::on(&pool).submit(vec![1, 2], sender.clone()).join().unwrap_err();
    assert!(matches!(error, TaskError::TimedOut { after } if after == limit), "{error}");
    assert!(matches!(late_in_chunks::on(&pool).call(vec![1, 2], sender), Err(TaskError::TimedOut { .. })));
    // Of each call one chunk at most has started: the first one sees the deadline, and the second one never starts.
    assert!(ran.iter().count() <= 4);
    assert_eq!((pool.stats().failed, pool.stats().cancelled), (4, 0));

    // A task that is cancelled before its deadline was cancelled.
    let (sender, ran) = channel();
    let task = until_stopped::on(&pool).deadline(LONG).submit(vec![1, 2], sender);
    ran.recv().expect("it starts");
    task.cancel();
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
}

#[test]
fn a_deadline_ends_what_the_task_waits_for_and_no_task_around_it() {
    let (outer, inner) = (Pool::io("outer"), Pool::io("inner").threads(1));
    let (outer, inner) = (Arc::new(outer.threads(1).build().unwrap()), Arc::new(inner.build().unwrap()));
    let (sender, ran) = channel();
    let (pool, started) = (Arc::clone(&inner), sender.clone());
    // The chunks are parts of the late task, though they run elsewhere.
    let late = outer.with_deadline(Duration::from_millis(300)).submit(move || {
        until_stopped::on(&pool).call(vec![1, 2], started);
        unreachable!("the task has ended in the call");
    });
    assert!(matches!(late.join(), Err::<(), _>(TaskError::TimedOut { .. })));

    // The error of a late inner call is a value of the outer task, which is in time.
    let pool = Arc::clone(&inner);
    let in_time = outer.with_deadline(LONG).submit(move || {
        let late = until_stopped::on(&pool).deadline(Duration::from_millis(300)).submit(vec![1, 2], sender).join();
        (late, fanfold::cancelled())
    });
    let (late, was_cancelled) = in_time.join().unwrap();
    assert!(matches!(late, Err(TaskError::TimedOut { .. })) && !was_cancelled);
    assert!(ran.iter().count() <= 2);
}

/// Runs tasks of these priorities on one thread, and returns their order.
fn order(pool: &Pool, priorities: &[Priority]) -> Vec<Priority> {
    let (first, release) = occupy(pool);
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = priorities
        .iter()
        .map(|priority| {
            let (order, priority) = (Arc::clone(&order), *priority);
            pool.with_priority(priority).submit(move || order.lock().unwrap().push(priority))
        })
        .collect();
    drop(release);
    first.join().unwrap();
    // Not joined in this order: the last one is the last to run.
    while pool.stats().done < 1 + tasks.len() as u64 {
        thread::yield_now();
    }
    Arc::into_inner(order).map_or_else(Vec::new, |order| order.into_inner().unwrap())
}

#[test]
fn tasks_start_in_the_order_of_their_priorities() {
    use Priority::{High, Low, Normal};
    for pool in [Pool::io("io").threads(1), Pool::cpu("cpu").threads(1)] {
        let pool = pool.build().unwrap();
        assert_eq!(order(&pool, &[Low, Normal, High, Low, Normal, High]), [High, High, Normal, Normal, Low, Low]);
    }
}

#[test]
fn no_priority_keeps_lower_ones_waiting_without_end() {
    use Priority::{High, Low, Normal};
    let pool = Pool::io("fair").threads(1).build().unwrap();
    let priorities: Vec<_> = [Low].into_iter().chain([Normal; 8]).chain([High; 70]).collect();
    let order = order(&pool, &priorities);
    let place = |priority| order.iter().position(|other| *other == priority);
    assert_eq!((order.len(), place(Normal), place(Low)), (79, Some(7), Some(63)));
}

#[test]
fn cancelled_and_closed_tasks_with_priorities_are_dropped() {
    let pool = Pool::io("dropped").threads(1).build().unwrap();
    let (first, release) = occupy(&pool);
    let kept = Arc::new(());
    let submit = |priority| {
        let kept = Arc::clone(&kept);
        pool.with_priority(priority).submit(move || drop(kept))
    };
    let cancelled: Vec<_> =
        (0..5_000).map(|n| submit(if n % 2 == 0 { Priority::High } else { Priority::Low })).collect();
    let left = [submit(Priority::Low), submit(Priority::High)];
    assert!(cancelled.iter().all(Task::cancel));
    assert_eq!((pool.stats().queued, Arc::strong_count(&kept)), (2, 3));
    drop(release);
    first.join().unwrap();
    assert!(left.into_iter().all(|task| task.join().is_ok()));
    let (second, release) = occupy(&pool);
    let queued = submit(Priority::Low);
    thread::scope(|scope| {
        let killed = scope.spawn(|| pool.kill());
        assert!(queued.join().is_err());
        drop(release);
        killed.join().unwrap();
    });
    second.join().ok();
    assert_eq!(Arc::strong_count(&kept), 1);
}
