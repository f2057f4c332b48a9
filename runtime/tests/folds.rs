//! `fold` and `reduce` into accumulators: the same result on every run, merged on the workers, and nothing leaks.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfold::{Pending, Pool};

static IO: Pool = Pool::io("folds-io").threads(2);
static CPU: Pool = Pool::cpu("folds-cpu").threads(3);
static ONE: Pool = Pool::cpu("folds-one").threads(1);

fn pools() -> [&'static Pool; 4] {
    [&IO, &CPU, &ONE, Pool::cpu_default()]
}

type Counts = HashMap<u64, u64>;

fn counted(mut counts: Counts, key: u64) -> Counts {
    *counts.entry(key).or_default() += 1;
    counts
}

fn merged(mut all: Counts, more: Counts) -> Counts {
    more.into_iter().for_each(|(key, count)| *all.entry(key).or_default() += count);
    all
}

/// Lengths around the number of blocks and the windows of iterators.
const LENGTHS: [usize; 13] = [0, 1, 2, 3, 31, 32, 33, 100, 1_023, 1_024, 1_025, 4_500, 20_000];

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn counts_are_those_of_a_loop() {
    for pool in pools() {
        for items in [0_u64, 1, 1_000, 20_000] {
            let expected: Counts = (0..items).map(|n| n * n % 1_000).fold(Counts::new(), counted);
            let key = |n: u64| n * n % 1_000;
            assert_eq!(pool.map(0..items, key).fold(Counts::new, counted).reduce(merged), expected);
            let pulled = (0..items).filter(|_| true);
            assert_eq!(pool.map(pulled, key).fold(Counts::new, counted).reduce(merged), expected);
            let owned: Vec<u64> = (0..items).collect();
            assert_eq!(pool.map(&owned, |n: &u64| key(*n)).fold(Counts::new, counted).reduce(merged), expected);
            assert_eq!(pool.map(owned, key).fold(Counts::new, counted).reduce(merged), expected);
            let ones = pool.map(0..items, |n| Counts::from([(key(n), 1)]));
            assert_eq!(ones.reduce(Counts::new, merged), expected);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn results_are_folded_and_merged_in_input_order() {
    let word = |n: usize| format!("{n} ");
    for pool in pools() {
        for length in LENGTHS {
            let expected: String = (0..length).map(word).collect();
            let join = |all: String, more: String| all + &more;
            let push = |all: String, n: usize| all + &word(n);
            assert_eq!(pool.map(0..length, |n| n).fold(String::new, push).reduce(join), expected);
            let pulled = pool.map((0..length).filter(|_| true), |n| n);
            assert_eq!(pulled.fold(String::new, push).reduce(join), expected);
            assert_eq!(pool.map(0..length, word).reduce(String::new, join), expected);
            let pulled = pool.map((0..length).filter(|_| true), word);
            assert_eq!(pulled.reduce(String::new, join), expected);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn floats_are_equal_on_every_run_and_for_any_number_of_threads() {
    let inverse = |n: u32| 1.0 / f64::from(n + 1);
    let folds = |pool: &Pool| {
        let add = |sum: f64, x: f64| sum + x;
        let known = pool.map(0..20_000, inverse).fold(|| 0.0, add).reduce(add);
        let pulled = pool.map((0..20_000).filter(|_| true), inverse).fold(|| 0.0, add).reduce(add);
        let boxed = |a: Box<f64>, b: Box<f64>| Box::new(*a + *b);
        let owned = pool.map(0..20_000, |n| Box::new(inverse(n))).reduce(Box::default, boxed);
        [known, pulled, *owned].map(f64::to_bits)
    };
    let expected = folds(Pool::cpu_default());
    for threads in [1, 2, 3, 5] {
        let pool = Pool::cpu("fold-floats").threads(threads).build().expect("threads start");
        for _ in 0..5 {
            assert_eq!(folds(&pool), expected);
        }
    }
}

#[test]
fn accumulators_are_merged_on_workers() {
    // 32 blocks are one whole tree, so the caller has nothing to merge.
    let names = |mut all: Vec<String>, mut more: Vec<String>| {
        all.append(&mut more);
        all.push(std::thread::current().name().unwrap_or_default().to_owned());
        all
    };
    let merges = CPU.map(0..3_200, |n: u32| n).fold(Vec::new, |names, _| names).reduce(names);
    assert_eq!(merges.len(), 31);
    assert!(merges.iter().all(|name| name.contains("folds-cpu")), "{merges:?}");
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn every_closure_may_call_the_pool() {
    for pool in pools() {
        let nested = || pool.map(0..100_u64, |n| n).sum::<u64>();
        let sum = pool.map(0..200_u64, |_| nested()).fold(nested, |sum, n| sum + n + nested()).reduce(|a, b| {
            assert_eq!(nested(), 4_950);
            a + b
        });
        assert_eq!(sum, 4_950 * (2 * 200 + 32));
    }
}

/// Counts the live values.
#[derive(Clone, Default)]
struct Live(Arc<AtomicUsize>);

struct Value {
    n: usize,
    live: Live,
}

impl Live {
    fn value(&self, n: usize) -> Value {
        self.0.fetch_add(1, Ordering::Relaxed);
        Value { n, live: self.clone() }
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.live.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn a_panic_anywhere_is_resumed_and_nothing_leaks() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Place {
        Function,
        Init,
        Fold,
        Merge,
    }
    for pool in pools() {
        for place in [Place::Function, Place::Init, Place::Fold, Place::Merge] {
            for fails_at in [0, 1, 20, 40] {
                for pulled in [false, true] {
                    let (live, calls) = (Live::default(), AtomicUsize::new(0));
                    let may_fail = |here: Place| {
                        if here == place
                            && calls.fetch_add(1, Ordering::Relaxed) == fails_at.min(if pulled { 40 } else { 20 })
                        {
                            // Skips the panic hook, which would print hundreds of messages.
                            resume_unwind(Box::new(format!("{place:?}")));
                        }
                    };
                    let function = |item: Value| {
                        may_fail(Place::Function);
                        item
                    };
                    let init = || {
                        may_fail(Place::Init);
                        Vec::new()
                    };
                    let fold = |mut all: Vec<Value>, item: Value| {
                        all.push(item);
                        may_fail(Place::Fold);
                        all
                    };
                    let merge = |mut all: Vec<Value>, mut more: Vec<Value>| {
                        all.append(&mut more);
                        may_fail(Place::Merge);
                        all
                    };
                    let items: Vec<_> = (0..700).map(|n| live.value(n)).collect();
                    let ended = catch_unwind(AssertUnwindSafe(|| {
                        if pulled {
                            let items = items.into_iter().filter(|_| true);
                            pool.map(items, function).fold(init, fold).reduce(merge)
                        } else {
                            pool.map(items, function).fold(init, fold).reduce(merge)
                        }
                    }));
                    let Err(payload) = ended else { panic!("{place:?} has panicked") };
                    assert_eq!(payload.downcast_ref::<String>(), Some(&format!("{place:?}")));
                    assert_eq!(live.count(), 0, "{place:?} {fails_at}");
                }
            }
        }
    }
}

#[test]
fn a_fold_moves_all_items_to_its_result() {
    for pool in pools() {
        let live = Live::default();
        let items: Vec<_> = (0..700).map(|n| live.value(n)).collect();
        let push = |mut all: Vec<Value>, item| {
            all.push(item);
            all
        };
        let all = pool.map(items, |item: Value| item).fold(Vec::new, push).reduce(|mut all, mut more| {
            all.append(&mut more);
            all
        });
        let alive = live.count();
        assert!(all.iter().map(|value| value.n).eq(0..700));
        drop(all);
        assert_eq!((alive, live.count()), (700, 0));
    }
}

#[test]
fn a_closed_pool_folds_nothing() {
    let pool = Pool::cpu("folds-closed").threads(2).build().expect("threads start");
    pool.shutdown(Pending::Run);
    let live = Live::default();
    let items: Vec<_> = (0..70).map(|n| live.value(n)).collect();
    let fold = || pool.map(items, |item: Value| item.n).fold(|| 0, |sum, n| sum + n).reduce(|a, b| a + b);
    let payload = catch_unwind(AssertUnwindSafe(fold)).expect_err("the pool is closed");
    let text = payload.downcast_ref::<String>().expect("a text");
    assert!(text.contains("its pool was closed"), "{text}");
    assert_eq!(live.count(), 0);
}
