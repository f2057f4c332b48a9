//! Maps of two functions in one pass, and the ends `outcomes`, `find_first`, `any`, `all`, `count`, `min_by`, `max_by`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfold::{Pool, TaskError, parallel, zip};

static IO: Pool = Pool::io("composed-io").threads(3);
static CPU: Pool = Pool::cpu("composed-cpu").threads(2);
static ONE: Pool = Pool::cpu("composed-one").threads(1);

fn pools() -> [&'static Pool; 4] {
    [&IO, &CPU, &ONE, Pool::cpu_default()]
}

#[parallel(kind = "cpu")]
fn half(n: u32) -> Result<u32, String> {
    if n.is_multiple_of(2) { Ok(n / 2) } else { Err(format!("{n} is odd")) }
}

#[parallel(kind = "cpu")]
fn square(n: u32) -> u32 {
    n * n
}

#[test]
fn a_second_function_runs_on_the_workers_in_the_same_pass() {
    for pool in pools() {
        // What lies between the functions need not be `Send`.
        let sums: Vec<u32> =
            pool.map(0..500, |n: u32| Rc::new(n).as_ref() + 1).then(|n| n * 2).then(|n| n - 1).collect();
        assert!(sums.into_iter().eq((0..500).map(|n| 2 * n + 1)));
    }
    let quarters: Result<Vec<u32>, String> = square::map([2, 4]).then(half::serial).collect();
    assert_eq!(quarters, Ok(vec![2, 8]));
    let odd: Result<Vec<u32>, String> = square::map([2, 3, 5]).then(half::serial).collect();
    assert_eq!(odd, Err(String::from("9 is odd")));
}

#[test]
fn one_failure_keeps_no_other_item_from_running() {
    for pool in pools() {
        let fails = |n: u32| if n.is_multiple_of(7) { panic!("no {n}") } else { n };
        let outcomes = pool.map(0..200, fails).outcomes();
        assert_eq!(outcomes.len(), 200);
        for (n, outcome) in (0..200).zip(outcomes) {
            match outcome {
                Ok(value) => assert_eq!(value, n),
                Err(TaskError::Panicked { message, .. }) => assert_eq!(message, format!("no {n}")),
                Err(other) => panic!("{other}"),
            }
            assert_eq!(n.is_multiple_of(7), n % 7 == 0);
        }
    }
    let outcomes = half::map([4, 3]).outcomes();
    assert_eq!(outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [Ok(2), Err(String::from("3 is odd"))]);
    assert!(CPU.map(0..0, |n: u32| n).outcomes().is_empty());
}

#[test]
fn the_first_match_is_found_for_any_order_of_the_workers() {
    for pool in pools() {
        for first in [0, 1, 77, 9_999] {
            let found = pool.map(0..10_000, |n: u32| n).find_first(|n| *n >= first);
            assert_eq!(found, Some(first));
        }
        assert_eq!(pool.map(0..1_000, |n: u32| n).find_first(|n| *n == 1_000), None);
        assert_eq!(pool.map(0_u64.., |n: u64| n * n).find_first(|n| *n > 5_000), Some(71 * 71));
    }
}

#[test]
fn any_all_and_count_look_at_the_results() {
    for pool in pools() {
        let squares = || pool.map(0..1_000, |n: u32| n * n);
        assert!(squares().any(|n| n == 900) && !squares().any(|n| n == 901));
        assert!(squares().all(|n| n < 1_000_000) && !squares().all(|n| n < 998_001));
        assert_eq!(squares().count(), 1_000);
        assert_eq!(squares().find_any(|n| *n == 900), Some(900));
        assert!(!pool.map(0..0, |n: u32| n).any(|_| true) && pool.map(0..0, |n: u32| n).all(|_| false));
    }
}

#[test]
fn the_least_and_the_greatest_are_those_of_an_iterator() {
    for pool in pools() {
        let keys: Vec<u32> = (0..2_000).map(|n| n * 7_919 % 100).collect();
        let pairs = || pool.map(zip(0.., &keys), |(place, key): (usize, &u32)| (*key, place));
        let serial = || keys.iter().copied().zip(0..);
        assert_eq!(pairs().min_by(|a, b| a.0.cmp(&b.0)), serial().min_by(|a, b| a.0.cmp(&b.0)));
        assert_eq!(pairs().max_by(|a, b| a.0.cmp(&b.0)), serial().max_by(|a, b| a.0.cmp(&b.0)));
        assert_eq!(pool.map(0..0, |n: u32| n).min_by(u32::cmp), None);
        assert_eq!(pool.map(0..0, |n: u32| n).max_by(u32::cmp), None);
    }
}

#[test]
fn a_predicate_that_panics_ends_the_map_and_drops_every_value() {
    struct Counted(Arc<AtomicUsize>, usize);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    for pool in pools() {
        let alive = Arc::new(AtomicUsize::new(0));
        let make = |n: usize| {
            alive.fetch_add(1, Ordering::Relaxed);
            Counted(Arc::clone(&alive), n)
        };
        let stop = |place: usize| assert_ne!(place, 200, "stop");
        let is_stop = |value: &Counted| {
            stop(value.1);
            false
        };
        let then = |value: Counted| {
            stop(value.1);
            value
        };
        let compare = |a: &Counted, b: &Counted| {
            stop(a.1.max(b.1));
            a.1.cmp(&b.1)
        };
        let map = || pool.map(0..300, make);
        let ends: [&dyn Fn() -> bool; 4] = [
            &|| map().find_first(is_stop).is_some(),
            &|| map().any(|value| is_stop(&value)),
            &|| map().then(then).outcomes().is_empty(),
            &|| map().min_by(compare).is_some(),
        ];
        for (index, end) in ends.into_iter().enumerate() {
            // `outcomes` alone goes on.
            assert_eq!(catch_unwind(AssertUnwindSafe(end)).is_ok(), index == 2);
            assert_eq!(alive.load(Ordering::Relaxed), 0, "{index}");
        }
    }
}

/// A future is polled where it stands: the calling thread runs no item of an awaited map.
#[test]
fn an_awaited_map_runs_on_workers_alone() {
    let here = std::thread::current().id();
    for pool in pools() {
        let elsewhere = pool.map((0..500).collect::<Vec<u32>>(), move |n: u32| {
            assert_ne!(std::thread::current().id(), here);
            n + 1
        });
        let sums: Vec<u32> = pollster::block_on(elsewhere.collect_async()).expect("no panic");
        assert!(sums.into_iter().eq(1..=500));
    }
    let squares = square::map(0..100).then(|n| n + 1).collect_async::<Vec<u32>>();
    assert!(squares.join().expect("no panic").into_iter().eq((0..100).map(|n| n * n + 1)));
    let parsed = half::map(vec![2, 3]).collect_async::<Result<Vec<u32>, String>>().join().expect("no panic");
    assert_eq!(parsed, Err(String::from("3 is odd")));
}

#[test]
fn an_awaited_map_ends_with_the_panic_or_never_begins() {
    let fails = CPU.map(vec![1, 0], |n: u32| 4 / n).collect_async::<Vec<u32>>();
    assert!(matches!(pollster::block_on(fails), Err(TaskError::Panicked { .. })));
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let blocks = ONE.submit(move || receiver.recv().is_err());
    let queued = ONE.map(vec![1], |_: u32| panic!("it was cancelled")).collect_async::<Vec<()>>();
    assert!(queued.cancel());
    drop(sender);
    assert_eq!(blocks.join().ok(), Some(true));
    assert!(matches!(queued.join(), Err(TaskError::Cancelled)));
}
