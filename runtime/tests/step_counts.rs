//! What a call on many tasks or items takes grows with their number, and not with its square. Steps are the processor time
//! of the one thread that makes the call, at two sizes: the best of three, and a bound far from both.
#![cfg(unix)]

use std::sync::mpsc;
use std::time::Duration;

use fanfold::{Pool, Task, TaskError, Until, as_completed, first, join_all, wait};

/// How much larger the second size is. Linear work takes as many times as long, quadratic work the square of it.
const MORE: usize = 8;

/// The processor time that this thread has had.
fn used() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec.try_into().expect("positive"), time.tv_nsec.try_into().expect("below a second"))
}

/// Checks that `work`, which prepares something of a size and gives what is measured, is not quadratic.
#[track_caller]
fn is_linear<W: FnOnce()>(size: usize, prepare: impl Fn(usize) -> W) {
    let best = |size| {
        let runs = (0..3).map(|_| {
            let work = prepare(size);
            let before = used();
            work();
            used().saturating_sub(before)
        });
        runs.min().expect("three runs")
    };
    let (small, large) = (best(size), best(size * MORE));
    // Halfway between the size and its square, by factors: noise of several times is no matter.
    let bound = small.max(Duration::from_micros(200)) * 3 * u32::try_from(MORE).expect("small");
    assert!(large < bound, "{large:?} for {} against {small:?} for {size}", size * MORE);
}

/// Tasks behind one that runs until the sender is dropped.
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

fn one(name: &'static str) -> &'static Pool {
    Box::leak(Box::new(Pool::io(name).threads(1).build().expect("one thread")))
}

#[test]
fn giving_up_on_tasks() {
    let pool = one("late");
    is_linear(4_000, |size| {
        let (release, tasks) = queued(pool, size);
        move || {
            let late = as_completed(tasks).timeout(Duration::ZERO);
            assert_eq!(late.filter(|(_, result)| matches!(result, Err(TaskError::TimedOut { .. }))).count(), size);
            drop(release);
        }
    });
}

#[test]
fn callbacks_of_one_task() {
    let pool = one("callbacks");
    is_linear(4_000, |size| {
        let (release, released) = mpsc::channel::<()>();
        let task = pool.submit(move || released.recv().is_err());
        move || {
            (0..size).for_each(|_| task.on_done(|_| ()));
            drop(release);
        }
    });
}

#[test]
fn waiting_for_tasks_in_every_way() {
    let pool = one("ways");
    is_linear(2_000, |size| {
        let (release, tasks) = queued(pool, size);
        move || {
            let (done, pending) = wait(&tasks, Until::All, Some(Duration::ZERO));
            assert_eq!((done.len(), pending.len()), (0, size));
            drop(release);
            assert_eq!(wait(&tasks, Until::All, None).0.len(), size);
            assert_eq!(join_all(tasks).expect("all return").len(), size);
        }
    });
    is_linear(2_000, |size| {
        let (release, tasks) = queued(pool, size);
        move || {
            drop(release);
            first(tasks).expect("the first one");
        }
    });
    is_linear(2_000, |size| {
        let (release, tasks) = queued(pool, size);
        move || {
            assert!(tasks.iter().all(Task::cancel));
            drop(release);
        }
    });
}

#[test]
fn unordered_results_with_a_large_buffer() {
    is_linear(2_000, |size| {
        move || {
            let results = Pool::io_default().map(0..size, |n| n).unordered().buffer(size);
            assert_eq!(results.into_iter().count(), size);
        }
    });
}

#[test]
fn unordered_results_on_a_worker() {
    let pool = one("nested");
    let run = |size| {
        pool.submit(move || {
            let before = used();
            assert_eq!(pool.map(0..size, |n| n).unordered().buffer(size).into_iter().count(), size);
            used().saturating_sub(before)
        })
    };
    let best = |size| (0..3).map(|_| run(size).join().expect("it returns")).min().expect("three runs");
    let (small, large) = (best(2_000), best(2_000 * MORE));
    let bound = small.max(Duration::from_micros(200)) * 3 * u32::try_from(MORE).expect("small");
    assert!(large < bound, "{large:?} against {small:?}");
}
