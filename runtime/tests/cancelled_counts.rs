//! Tasks that stop because they are asked to are counted as cancelled.

use std::sync::mpsc::channel;

use fanfold::{Pool, Task, cancelled};

/// A task that runs `work` once `sender` was dropped, and has started.
fn held<T: Send + 'static>(
    pool: &Pool,
    work: impl FnOnce() -> T + Send + 'static,
) -> (std::sync::mpsc::Sender<()>, Task<T>) {
    let (release, released) = channel::<()>();
    let (started, starts) = channel();
    let task = pool.submit(move || {
        started.send(()).ok();
        released.recv().ok();
        work()
    });
    starts.recv().expect("it starts");
    (release, task)
}

fn counts(pool: &Pool) -> (u64, u64, u64) {
    let stats = pool.stats();
    (stats.done, stats.failed, stats.cancelled)
}

#[test]
fn what_stops_through_cancelled_counts_as_cancelled() {
    for pool in [Pool::io("io"), Pool::cpu("cpu")] {
        let pool = pool.threads(1).build().unwrap();
        let (release, stops) = held(&pool, cancelled);
        assert!(!stops.cancel());
        drop(release);
        assert!(stops.join().unwrap());
        assert_eq!(counts(&pool), (0, 0, 1));

        // Asked to stop, it does not look.
        let (release, goes_on) = held(&pool, || 7);
        assert!(!goes_on.cancel());
        drop(release);
        assert_eq!(goes_on.join().unwrap(), 7);
        assert_eq!(counts(&pool), (1, 0, 1));

        // It looks, and was not asked.
        let (release, looks) = held(&pool, cancelled);
        drop(release);
        assert!(!looks.join().unwrap());
        assert_eq!(counts(&pool), (2, 0, 1));

        let (release, panics) = held(&pool, || assert!(!cancelled(), "stopped by a panic"));
        assert!(!panics.cancel());
        drop(release);
        assert!(panics.join().is_err());
        assert_eq!(counts(&pool), (2, 1, 1));
    }
}

#[test]
fn what_stops_at_the_end_of_its_pool_counts_as_cancelled() {
    let pool = Pool::io("ends").threads(1).build().unwrap();
    let (release, stops) = held(&pool, || {
        while !cancelled() {
            std::thread::yield_now();
        }
    });
    drop(release);
    pool.kill();
    stops.join().unwrap();
    assert_eq!(counts(&pool), (0, 0, 1));
}

#[test]
fn helpers_see_it_for_their_callers_task() {
    let pool = Pool::cpu("helps").threads(2).build().unwrap();
    let (release, stops) = held(&pool, || {
        let looks = || {
            while !cancelled() {
                std::thread::yield_now();
            }
        };
        fanfold::join(looks, || ())
    });
    assert!(!stops.cancel());
    drop(release);
    stops.join().unwrap();
    assert_eq!(counts(&pool), (0, 0, 1));
}
