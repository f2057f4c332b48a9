//! `map`: iterating, folding, bounded buffers, and maps that end early.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfold::{Pool, parallel, zip};

#[parallel(kind = "cpu")]
fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn the_timeout_applies_to_each_item_for_any_chunk_size() {
    let slow = |n: u32| {
        while n == 2 && !fanfold::cancelled() {
            std::thread::yield_now();
        }
        n
    };
    let map = Pool::io_default().map(0..10_u32, slow).chunk_size(5).timeout(std::time::Duration::from_secs(1));
    let results: Vec<Option<u32>> = map.into_iter().map(Result::ok).collect();
    let expected: Vec<Option<u32>> = (0..10).map(|n| (n != 2).then_some(n)).collect();
    assert_eq!(results, expected);
}

#[test]
fn iterating_is_lazy_and_gives_results_in_input_order() {
    let pulled = std::cell::Cell::new(0);
    let source = (0..).inspect(|_| pulled.set(pulled.get() + 1));
    let mut squares = square::map(source).buffer(10).into_iter();
    assert_eq!(pulled.get(), 0, "nothing runs before the first result is asked for");
    for n in 0..1_000 {
        assert_eq!(squares.next(), Some(n * n));
        assert!(pulled.get() <= n + 1 + 10, "pulled {} after {n}", pulled.get());
    }
}

/// An item that counts how many of it are alive.
struct Item(Arc<AtomicUsize>);

impl Drop for Item {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn a_million_items_stream_through_a_small_buffer() {
    let held = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, peak) = (Arc::clone(&held), Arc::clone(&most));
    let items = std::iter::repeat_with(move || {
        peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Item(Arc::clone(&now))
    });
    let count = Pool::cpu_default().map(items, |item| item).into_iter().take(1_000_000).count();
    assert_eq!(count, 1_000_000);
    assert!(most.load(Ordering::Relaxed) < 100_000, "{most:?} items at once");
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn unordered_gives_each_result_once() {
    for pool in [Pool::cpu_default(), Pool::io_default()] {
        let results: Vec<u64> = pool.map(0..5_000_u64, |n| n).unordered().into_iter().collect();
        assert_eq!(results.len(), 5_000);
        assert_eq!(results.into_iter().collect::<HashSet<_>>(), (0..5_000).collect());
    }
}

#[test]
fn dropping_an_iterated_map_drops_every_item_once() {
    let alive = Arc::new(());
    for unordered in [false, true] {
        let items = std::iter::repeat_n((), 1_000).map(|()| Arc::clone(&alive));
        let pool = Pool::io("dropped").threads(2).build().expect("threads start");
        let map = pool.map(items, |item| item);
        let map = if unordered { map.unordered() } else { map };
        assert_eq!(map.into_iter().take(10).count(), 10);
        drop(pool);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}

#[test]
fn a_panicking_item_panics_in_next() {
    let mut results = Pool::cpu_default()
        .map(0..100_u32, |n| {
            assert!(n != 50, "fifty");
            n
        })
        .into_iter();
    assert_eq!(results.by_ref().take(50).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| results.next())).expect_err("it panics");
    assert!(payload.downcast_ref::<&str>() == Some(&"fifty"));
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn folds_are_equal_on_every_run_and_for_any_number_of_threads() {
    let tenth = |n: u32| 1.0 / f64::from(n + 1);
    let expected = Pool::cpu_default().map(0..100_000, tenth).reduce(|| 0.0, |a, b| a + b);
    for threads in [1, 2, 5] {
        let pool = Pool::cpu("folds").threads(threads).build().expect("threads start");
        for _ in 0..3 {
            let sum = pool.map(0..100_000, tenth).reduce(|| 0.0, |a, b| a + b);
            assert_eq!(sum.to_bits(), expected.to_bits());
            assert_eq!(pool.map(0..100_000, tenth).sum::<f64>().to_bits(), expected.to_bits());
            // The same for an iterator of unknown length.
            let streamed = pool.map((0..100_000).filter(|_| true), tenth).reduce(|| 0.0, |a, b| a + b);
            assert_eq!(streamed.to_bits(), expected.to_bits());
        }
    }
    let words = Pool::cpu_default().map(0..5_000, |n: u32| n.to_string());
    assert_eq!(words.reduce(String::new, |a, b| a + &b), (0..5_000).map(|n| n.to_string()).collect::<String>());
    assert_eq!(square::map(0..0).sum::<u64>(), 0);
    assert_eq!(square::map(0..10).on(Pool::io_default()).sum::<u64>(), 285);
}

#[test]
fn pools_map_closures_over_vectors_ranges_and_zips() {
    let pool = Pool::io("map").threads(3).build().expect("threads start");
    let numbers = vec![1, 2, 3];
    assert_eq!(pool.map(&numbers, |n| n * 2).collect::<Vec<i32>>(), [2, 4, 6]);
    assert_eq!(pool.map(numbers.clone(), |n| n + 1).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(pool.map(zip(&numbers, 10..), |(a, b)| a + b).collect::<Vec<_>>(), [11, 13, 15]);
    let borrowed = String::from("borrowed");
    assert_eq!(pool.map(0..3, |n| borrowed.len() + n).collect::<Vec<_>>(), [8, 9, 10]);
}

#[test]
fn a_panic_in_the_middle_drops_every_item_and_result_once() {
    let alive = Arc::new(());
    for panic_at in [0, 1, 500, 999] {
        let items: Vec<_> = (0..1_000).map(|n| (n, Arc::clone(&alive))).collect();
        let caught = std::panic::catch_unwind(|| {
            Pool::cpu_default()
                .map(items, |(n, item)| {
                    assert!(n != panic_at, "item {n}");
                    item
                })
                .chunk_size(7)
                .collect::<Vec<_>>()
        });
        assert!(caught.is_err());
        assert_eq!(Arc::strong_count(&alive), 1);
    }
    let items: Vec<_> = (0..1_000).map(|n| (n, Arc::clone(&alive))).collect();
    let failed: Result<Vec<_>, i32> =
        Pool::cpu_default().map(items, |(n, item)| if n == 700 { Err(n) } else { Ok(item) }).collect();
    assert_eq!(failed, Err(700));
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_map_that_is_never_run_drops_its_items() {
    let alive = Arc::new(());
    let items = vec![Arc::clone(&alive); 10];
    drop(Pool::cpu_default().map(items.clone(), |item| item));
    drop(Pool::cpu_default().map(items, |item| item).into_iter());
    assert_eq!(Arc::strong_count(&alive), 1);
}
