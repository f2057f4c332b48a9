//! Maps as async streams: `Map::stream`.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};
use std::time::Duration;

use fanfold::{Pool, TaskError, parallel};

#[parallel(kind = "cpu")]
fn square(n: u64) -> u64 {
    n * n
}

#[parallel(kind = "io", timeout = "10ms")]
fn slow(n: u32) -> Result<u32, TaskError> {
    while n == 1 && !fanfold::cancelled() {
        std::thread::yield_now();
    }
    Ok(n)
}

fn is_pending(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn results_come_in_order_and_end_for_good() {
    pollster::block_on(async {
        let mut squares = square::map(0..1_000).stream();
        for n in 0..1_000 {
            assert_eq!(squares.next().await, Some(n * n));
        }
        for _ in 0..3 {
            assert_eq!(squares.next().await, None);
        }
        let mut none = square::map(Vec::new()).stream();
        assert_eq!((none.next().await, none.next().await), (None, None));
    });
}

#[test]
fn unordered_results_come_as_they_are_ready() {
    let pool = Pool::io("meets").threads(2).build().unwrap();
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let wait = move |n: u32| {
        if n == 0 {
            released.lock().unwrap().recv().ok();
        }
        n
    };
    pollster::block_on(async {
        let mut results = pool.map(0..3, wait).unordered().stream();
        assert_eq!(results.next().await, Some(1));
        assert_eq!(results.next().await, Some(2));
        assert!(is_pending(results.next()));
        drop(release);
        assert_eq!(results.next().await, Some(0));
        assert_eq!((results.next().await, results.next().await), (None, None));
    });
}

#[test]
fn a_poll_does_not_wait() {
    let pool = Pool::io("held").threads(1).build().unwrap();
    let barrier = Arc::new(Barrier::new(2));
    let held = Arc::clone(&barrier);
    let mut results = pool
        .map(0..10_u32, move |n| {
            if n == 0 {
                held.wait();
            }
            n
        })
        .stream();
    // The only worker waits for this thread.
    assert!(is_pending(results.next()));
    assert!(is_pending(results.next()));
    barrier.wait();
    // A future that was dropped has lost no result.
    let all = pollster::block_on(async {
        let mut all = Vec::new();
        while let Some(n) = results.next().await {
            all.push(n);
        }
        all
    });
    assert!(all.into_iter().eq(0..10));
}

#[test]
fn a_dropped_stream_stops_the_rest() {
    let pool = Pool::io("drops").threads(1).build().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let (started, starts) = channel();
    let counted = Arc::clone(&ran);
    let mut results = pool
        .map(0.., move |_: u32| {
            counted.fetch_add(1, Ordering::Relaxed);
            started.send(()).ok();
            while !fanfold::cancelled() {
                std::thread::yield_now();
            }
        })
        .buffer(10)
        .stream();
    assert!(is_pending(results.next()));
    starts.recv().unwrap();
    assert!(format!("{results:?}").contains("pending: 10"), "{results:?}");
    drop(results);
    drop(pool);
    assert_eq!(ran.load(Ordering::Relaxed), 1);
}

#[test]
fn a_panic_resumes_in_its_place() {
    let mut results = Pool::io_default().map(0..5, |n| if n == 2 { panic!("the third") } else { n }).stream();
    let before = pollster::block_on(async { (results.next().await, results.next().await) });
    let next = std::panic::AssertUnwindSafe(|| pollster::block_on(results.next()));
    let panicked = std::panic::catch_unwind(next);
    assert_eq!(before, (Some(0), Some(1)));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"the third"));
}

#[test]
fn a_time_out_is_a_result() {
    let results = pollster::block_on(async {
        let mut stream = slow::map(0..3).stream();
        [stream.next().await, stream.next().await, stream.next().await, stream.next().await]
    });
    assert!(matches!(
        results,
        [Some(Ok(0)), Some(Err(TaskError::TimedOut { after })), Some(Ok(2)), None] if after == Duration::from_millis(10)
    ));
}

#[test]
fn a_stream_can_be_sent_and_combined() {
    use futures_util::StreamExt;
    let stream = square::map(0..100).stream().map(|n| n + 1);
    let all: Vec<u64> = std::thread::spawn(move || pollster::block_on(stream.collect())).join().unwrap();
    assert_eq!(all.last(), Some(&9_802));
}

#[test]
fn a_timed_map_is_awaited_in_order_and_stops_at_its_first_failure() {
    pollster::block_on(async {
        let all: Result<Vec<u32>, TaskError> = slow::map([0, 2, 3]).unordered().collect_async().await;
        assert_eq!(all.unwrap(), [0, 2, 3]);
        let late: Result<Vec<u32>, TaskError> = slow::map([0, 1, 2]).collect_async().await;
        assert!(matches!(late, Err(TaskError::TimedOut { .. })));
        let each: Vec<Result<u32, TaskError>> = slow::map([0, 1, 2]).collect_async().await;
        assert!(matches!(each[..], [Ok(0), Err(TaskError::TimedOut { .. }), Ok(2)]));
    });
}

#[test]
fn filtered_and_flattened_results_are_streamed_in_order() {
    pollster::block_on(async {
        let words = fanfold::map(["a b", "", "c", "d e f"], |line: &str| line.to_owned())
            .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .filter(|word| word != "e");
        let mut words = words.stream();
        for expected in ["a", "b", "c", "d", "f"] {
            assert_eq!(words.next().await.as_deref(), Some(expected));
        }
        for _ in 0..3 {
            assert_eq!(words.next().await, None);
        }
        let odd = square::map(0..1_000).filter(|n| n % 2 == 1).stream();
        let collected: Vec<u64> = futures_util::StreamExt::collect(odd).await;
        assert!(collected.into_iter().eq((0..1_000).map(|n| n * n).filter(|n| n % 2 == 1)));
    });
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_poll_ends_where_no_result_is_kept() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    let woken = || wakes.0.swap(0, Ordering::SeqCst) > 0;
    let mut none = square::map(0..5_000).chunk_size(5_000).buffer(5_000).filter(|_| false).stream();
    let mut polls = 0;
    while pin!(none.next()).poll(&mut context).is_pending() {
        polls += 1;
        // Each such poll wakes its task: at once, or when more results are there.
        while !woken() {
            std::thread::yield_now();
        }
    }
    // A poll takes 1,024 items at most.
    assert!(polls >= 4, "{polls}");
}

#[test]
fn a_future_of_a_flat_stream_loses_no_result_when_it_is_dropped() {
    pollster::block_on(async {
        let (release, released) = channel::<()>();
        let released = std::sync::Mutex::new(released);
        let pool = Pool::io("flat").threads(1).build().unwrap();
        let wait = move |n: u32| {
            released.lock().unwrap().recv().unwrap();
            n
        };
        let mut twice = pool.map(0..2, wait).flat_map(|n| [n, n + 10]).stream();
        assert!(is_pending(twice.next()));
        release.send(()).unwrap();
        assert_eq!(twice.next().await, Some(0));
        assert_eq!(twice.next().await, Some(10));
        assert!(is_pending(twice.next()));
        release.send(()).unwrap();
        assert_eq!((twice.next().await, twice.next().await, twice.next().await), (Some(1), Some(11), None));
    });
}
