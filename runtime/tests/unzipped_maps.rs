//! `unzip` of maps: both lists in input order from every source, and every value dropped once.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fanfold::Pool;

/// Few under Miri, which takes a second for some thousand.
const ITEMS: u64 = if cfg!(miri) { 300 } else { 20_000 };
/// The item that panics.
const BAD: u64 = ITEMS / 3;

fn pools() -> [Pool; 2] {
    [Pool::cpu("unzip-cpu"), Pool::io("unzip-io")].map(|pool| pool.threads(2).build().expect("threads"))
}

#[test]
fn both_lists_are_in_input_order() {
    let expected: (Vec<u64>, Vec<String>) = (0..ITEMS).map(|n| (n, n.to_string())).unzip();
    for pool in pools() {
        let indexed: (Vec<u64>, Vec<String>) = pool.map(0..ITEMS, |n| (n, n.to_string())).unzip();
        assert_eq!(indexed, expected);
        let pulled: (Vec<u64>, Vec<String>) = pool.map((0..ITEMS).filter(|_| true), |n| (n, n.to_string())).unzip();
        assert_eq!(pulled, expected);
        let flat: (Vec<u64>, Vec<String>) =
            pool.map(0..ITEMS / 2, |n| [2 * n, 2 * n + 1]).flat_map(|pair| pair).then(|n| (n, n.to_string())).unzip();
        assert_eq!(flat, expected);
        let (none, map): (Vec<u64>, BTreeMap<u64, u64>) = pool.map(0..0_u64, |n| (n, (n, n))).unzip();
        assert!(none.is_empty() && map.is_empty());
    }
}

#[test]
fn values_before_a_panic_are_dropped_once() {
    let value = Arc::new(());
    for pool in pools() {
        let pair = |n: u64| {
            assert!(n != BAD, "no {n}");
            (Arc::clone(&value), Arc::clone(&value))
        };
        let ended = catch_unwind(AssertUnwindSafe(|| pool.map(0..ITEMS, pair).unzip::<_, _, Vec<_>, Vec<_>>()));
        assert!(ended.is_err());
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

#[test]
fn flat_results_before_a_panic_of_their_iterator_are_dropped_once() {
    let value = Arc::new(());
    for pool in pools() {
        let values = |n: u64| (0..3).map(move |_| n);
        let clone = |n: u64| {
            assert!(n != BAD, "no {n}");
            Arc::clone(&value)
        };
        let flat = || pool.map(0..ITEMS, |n: u64| n).flat_map(|n| values(n).map(clone)).collect::<Vec<_>>();
        assert!(catch_unwind(AssertUnwindSafe(flat)).is_err());
        assert_eq!(Arc::strong_count(&value), 1);
        let kept = pool.map(0..BAD, |n: u64| n).flat_map(|n| values(n).map(clone)).filter(|_| true);
        assert_eq!(kept.collect::<Vec<_>>().len() as u64, 3 * BAD);
    }
}
