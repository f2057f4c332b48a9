//! The cost of calls on many tasks or items is linear, not quadratic. It is the processor time of the calling thread at
//! two sizes: the best of three runs, with a bound far from both.
#![cfg(unix)]

use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::Duration;

use fanfold::{Pool, Task, TaskError, Until, as_completed, first, join_all, wait};
use fanfold::{channel, channel_bounded};

/// The factor between the two sizes. Linear work takes this factor longer, quadratic work its square.
const FACTOR: usize = 8;

/// The processor time that this thread has used.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the write.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec.try_into().expect("positive"), time.tv_nsec.try_into().expect("below a second"))
}

/// Checks that the work which `prepare` returns for a size takes less than quadratic time.
#[track_caller]
fn assert_linear<W: FnOnce()>(size: usize, prepare: impl Fn(usize) -> W) {
    let best = |size| {
        let runs = (0..3).map(|_| {
            let work = prepare(size);
            let before = thread_time();
            work();
            thread_time().saturating_sub(before)
        });
        runs.min().expect("three runs")
    };
    let (small, large) = (best(size), best(size * FACTOR));
    // Three times the linear cost, far below the quadratic one, so that noise does not matter.
    let bound = small.max(Duration::from_micros(200)) * 3 * u32::try_from(FACTOR).expect("small");
    assert!(large < bound, "{large:?} for {} against {small:?} for {size}", size * FACTOR);
}

/// Tasks queued behind a task that runs until the sender is dropped.
fn queued(pool: &Pool, size: usize) -> (mpsc::Sender<()>, Vec<Task<()>>) {
    let (release, released) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel();
    drop(pool.submit(move || {
        let _ = started.send(());
        let _ = released.recv();
    }));
    starts.recv().expect("it starts");
    (release, (0..size).map(|_| pool.submit(|| ())).collect())
}

fn one_thread(name: &'static str) -> &'static Pool {
    Box::leak(Box::new(Pool::io(name).threads(1).build().expect("one thread")))
}

#[test]
fn timing_out_on_tasks_is_linear() {
    let pool = one_thread("timed");
    assert_linear(4_000, |size| {
        let (release, tasks) = queued(pool, size);
        move || {
            let timed = as_completed(tasks).timeout(Duration::ZERO);
            assert_eq!(timed.filter(|(_, result)| matches!(result, Err(TaskError::TimedOut { .. }))).count(), size);
            drop(release);
        }
    });
}

#[test]
fn callbacks_of_one_task_are_linear() {
    let pool = one_thread("callbacks");
    assert_linear(4_000, |size| {
        let (release, released) = mpsc::channel::<()>();
        let task = pool.submit(move || released.recv().is_err());
        move || {
            (0..size).for_each(|_| task.on_done(|_| ()));
            drop(release);
        }
    });
}

#[test]
fn every_wait_for_tasks_is_linear() {
    let pool = one_thread("ways");
    assert_linear(2_000, |size| {
        let (release, tasks) = queued(pool, size);
        move || {
            let (done, pending) = wait(&tasks, Until::All, Some(Duration::ZERO));
            assert_eq!((done.len(), pending.len()), (0, size));
            drop(release);
            assert_eq!(wait(&tasks, Until::All, None).0.len(), size);
            assert_eq!(join_all(tasks).expect("all return").len(), size);
        }
    });
    assert_linear(2_000, |size| {
        let (release, tasks) = queued(pool, size);
        move || {
            drop(release);
            first(tasks).expect("the first one");
        }
    });
    assert_linear(2_000, |size| {
        let (release, tasks) = queued(pool, size);
        move || {
            assert!(tasks.iter().all(Task::cancel));
            drop(release);
        }
    });
}

#[test]
fn unordered_results_with_a_large_buffer_are_linear() {
    assert_linear(2_000, |size| {
        move || {
            let results = Pool::io_default().map(0..size, |n| n).unordered().buffer(size);
            assert_eq!(results.into_iter().count(), size);
        }
    });
}

#[test]
fn unordered_results_on_a_worker_are_linear() {
    let pool = one_thread("nested");
    let run = |size| {
        pool.submit(move || {
            let before = thread_time();
            assert_eq!(pool.map(0..size, |n| n).unordered().buffer(size).into_iter().count(), size);
            thread_time().saturating_sub(before)
        })
    };
    let best = |size| (0..3).map(|_| run(size).join().expect("it returns")).min().expect("three runs");
    let (small, large) = (best(2_000), best(2_000 * FACTOR));
    let bound = small.max(Duration::from_micros(200)) * 3 * u32::try_from(FACTOR).expect("small");
    assert!(large < bound, "{large:?} against {small:?}");
}

/// Polls all futures once, and drops the last one first.
fn poll_and_drop<F: Future>(mut waits: Vec<Pin<Box<F>>>) {
    let mut context = Context::from_waker(Waker::noop());
    for wait in &mut waits {
        assert!(wait.as_mut().poll(&mut context).is_pending());
    }
    waits.into_iter().rev().for_each(drop);
}

#[test]
fn giving_up_waits_for_a_channel_is_linear() {
    assert_linear(2_000, |size| {
        move || {
            let (_sender, receiver) = channel::<u32>();
            poll_and_drop((0..size).map(|_| Box::pin(receiver.recv_async())).collect());
        }
    });
    assert_linear(2_000, |size| {
        move || {
            let (sender, _receiver) = channel_bounded(1);
            sender.send(1).expect("there is a place");
            poll_and_drop((0..size).map(|n| Box::pin(sender.send_async(n))).collect());
        }
    });
}
