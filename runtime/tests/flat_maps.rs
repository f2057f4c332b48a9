//! Maps with any number of results an item (`filter`, `filter_map`, `flat_map`), beside other items (`zip`,
//! `enumerate`), with state (`for_each_init`), and as items of other maps.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfold::{Pool, TaskError, chunks, parallel, windows, zip};

static IO: Pool = Pool::io("flat-io").threads(3);
static CPU: Pool = Pool::cpu("flat-cpu").threads(2);
static ONE: Pool = Pool::cpu("flat-one").threads(1);

fn pools() -> [&'static Pool; 4] {
    [&IO, &CPU, &ONE, Pool::cpu_default()]
}

#[parallel(kind = "cpu")]
fn parse(text: &str) -> Option<i64> {
    text.parse().ok()
}

#[parallel(kind = "cpu")]
fn increase(n: &mut u32) {
    *n += 1;
}

#[parallel(kind = "cpu")]
fn square(n: u32) -> u32 {
    n * n
}

#[test]
fn results_are_kept_dropped_and_multiplied_in_order() {
    for pool in pools() {
        for items in [0, 1, 7, 3_000] {
            let map = || pool.map(0..items, |n: u32| n * 3);
            let serial = || (0..items).map(|n| n * 3);
            let kept: Vec<u32> = map().filter(|n| n % 2 == 0).collect();
            assert!(kept.into_iter().eq(serial().filter(|n| n % 2 == 0)));
            let named: Vec<String> = map().filter_map(|n| (n % 5 == 0).then(|| n.to_string())).collect();
            assert!(named.into_iter().eq(serial().filter(|n| n % 5 == 0).map(|n| n.to_string())));
            let many: Vec<u32> = map().flat_map(|n| n..n + n % 4).collect();
            assert!(many.into_iter().eq(serial().flat_map(|n| n..n + n % 4)));
            let staged: Vec<u32> = map().flat_map(|n| [n, n + 1]).filter(|n| n % 3 != 0).then(|n| n * 2).collect();
            assert!(staged.into_iter().eq(serial().flat_map(|n| [n, n + 1]).filter(|n| n % 3 != 0).map(|n| n * 2)));
            for chunk in [1, 100] {
                let sized: Vec<u32> = map().chunk_size(chunk).filter(|n| n % 2 == 0).collect();
                assert!(sized.into_iter().eq(serial().filter(|n| n % 2 == 0)));
                let cut: Vec<u32> = map().chunks(chunk).filter(|n| n % 2 == 0).collect();
                assert!(cut.into_iter().eq(serial().filter(|n| n % 2 == 0)));
            }
        }
    }
    // What lies between two stages need not be `Send`, and a plain iterator is pulled.
    let texts = (0..2_000).filter(|n| n % 3 > 0).map(|n| n.to_string());
    let lengths: Vec<usize> = CPU
        .map(texts, |text: String| text)
        .flat_map(|text| [Rc::new(text)])
        .filter_map(|text| Some(text.len()))
        .collect();
    assert!(lengths.into_iter().eq((0..2_000).filter(|n| n % 3 > 0).map(|n: i32| n.to_string().len())));
    let parsed: Vec<i64> = parse::map(["1", "x", "3"]).filter_map(|n| n).collect();
    assert_eq!(parsed, [1, 3]);
}

#[test]
fn all_ends_are_those_of_an_iterator() {
    for pool in pools() {
        let map = || pool.map(0..2_000, |n: u32| n * 7 % 1_000).filter(|n| n % 3 == 0);
        let serial = || (0..2_000).map(|n| n * 7 % 1_000).filter(|n| n % 3 == 0);
        assert_eq!(map().count(), serial().count());
        assert_eq!(map().sum::<u32>(), serial().sum::<u32>());
        assert_eq!(map().reduce(|| 0, std::cmp::Ord::max), serial().max().unwrap_or(0));
        assert_eq!(map().fold(Vec::new, push).reduce(append), serial().collect::<Vec<_>>());
        assert_eq!(map().min_by(|a, b| (a % 50).cmp(&(b % 50))), serial().min_by(|a, b| (a % 50).cmp(&(b % 50))));
        assert_eq!(map().max_by(|a, b| (a % 50).cmp(&(b % 50))), serial().max_by(|a, b| (a % 50).cmp(&(b % 50))));
        assert_eq!(map().find_first(|n| *n > 900), serial().find(|n| *n > 900));
        assert!(map().find_any(|n| *n > 900).is_some_and(|n| n > 900 && n % 3 == 0));
        assert!(map().any(|n| n == 999) && !map().any(|n| n == 1) && map().all(|n| n < 1_000) && !map().all(|n| n > 0));
        let sum = AtomicUsize::new(0);
        map().for_each(|n| _ = sum.fetch_add(n as usize, Ordering::Relaxed));
        assert_eq!(sum.into_inner(), serial().sum::<u32>() as usize);
        let mut ordered = Vec::new();
        map().for_each_ordered(|n| ordered.push(n));
        assert!(ordered.into_iter().eq(serial()));
        let refused = map().try_for_each_ordered(|n| if n > 900 { Err(n) } else { Ok(()) });
        assert_eq!(refused.err(), serial().find(|n| *n > 900));
        let iterated: Vec<u32> = map().into_iter().collect();
        assert!(iterated.into_iter().eq(serial()));
        let awaited = pollster::block_on(map().collect_async::<Vec<u32>>()).expect("no panic");
        assert!(awaited.into_iter().eq(serial()));
        // An item's results may never end.
        assert_eq!(pool.map(1_u64.., |n| n).flat_map(|n| n..).find_first(|n| *n > 5_000), Some(5_001));
    }
}

fn push(mut all: Vec<u32>, n: u32) -> Vec<u32> {
    all.push(n);
    all
}

fn append(mut all: Vec<u32>, mut more: Vec<u32>) -> Vec<u32> {
    all.append(&mut more);
    all
}

#[test]
fn results_go_into_every_collection() {
    let digits = || CPU.map(0..1_000, |n: u32| (n % 10, n));
    let last: HashMap<u32, u32> = digits().collect();
    assert_eq!((last.len(), last[&3]), (10, 993));
    let last: BTreeMap<u32, u32> = digits().filter(|(digit, _)| digit % 2 == 0).collect();
    assert!(last.into_iter().eq([(0, 990), (2, 992), (4, 994), (6, 996), (8, 998)]));
    let set: HashSet<u32> = digits().filter_map(|(digit, _)| Some(digit)).collect();
    assert_eq!(set.len(), 10);
    let queue: VecDeque<u32> = digits().flat_map(|(digit, n)| [digit, n]).collect();
    assert_eq!((queue.len(), queue[7]), (2_000, 3));
    let text: String = CPU.map('a'..='e', |letter| letter).filter(|letter| *letter != 'c').collect();
    assert_eq!(text, "abde");
    let text: String = CPU.map(["a b", "c"], str::trim).flat_map(str::split_whitespace).collect();
    assert_eq!(text, "abc");
    let (digit, number): (Vec<u32>, HashSet<u32>) = digits().unzip();
    assert_eq!((digit.len(), number.len()), (1_000, 1_000));
    let (odd, text): (BTreeMap<u32, u32>, String) =
        digits().filter(|(_, n)| *n < 4).then(|(digit, n)| ((digit, n), n.to_string())).unzip();
    assert_eq!((odd.len(), text.as_str()), (4, "0123"));
    let even = |n: u32| if n.is_multiple_of(2) { Ok((n, n / 2)) } else { Err(n) };
    let halves: Result<HashMap<u32, u32>, u32> = CPU.map((0..100).map(|n| n * 2), even).collect();
    assert_eq!(halves.map(|halves| halves[&20]), Ok(10));
    for pool in pools() {
        let some: Result<Vec<u32>, u32> =
            pool.map(0..5_000, |n: u32| n).filter(|n| *n > 2_500).then(Err::<u32, _>).collect();
        assert_eq!(some, Err(2_501));
        let pulled = (0..5_000).filter(|n| n % 2 > 0);
        let first: Result<HashMap<u32, u32>, u32> = pool.map(pulled, even).filter(|_| true).collect();
        assert_eq!(first, Err(1));
        let none: Option<(Vec<u32>, Vec<u32>)> = pool.map(0..50, |n: u32| n.checked_sub(7).map(|m| (n, m))).collect();
        assert_eq!(none, None);
    }
}

#[test]
fn results_stand_beside_numbers_and_other_items() {
    for pool in pools() {
        let names: Vec<String> = (0..700).map(|n| n.to_string()).collect();
        let map = || pool.map(&names, |name: &String| name.len());
        let numbered: Vec<(usize, usize)> = map().enumerate().collect();
        assert!(numbered.into_iter().eq(names.iter().map(String::len).enumerate()));
        let beside: Vec<(usize, &String)> = map().zip(&names[..500]).collect();
        assert!(beside.into_iter().eq(names.iter().map(String::len).zip(&names[..500])));
        // Both sides may be pulled; what the longer one has left is dropped.
        let pulled = names.iter().filter(|&name| name.ends_with('7')).cloned();
        let numbered: Vec<(usize, String)> =
            pool.map(pulled.clone(), |name: String| name + "!").enumerate().filter(|(n, _)| n % 2 == 0).collect();
        assert!(numbered.into_iter().eq(pulled.map(|name| name + "!").enumerate().filter(|(n, _)| n % 2 == 0)));
        let owned: Vec<(usize, String)> = map().zip(names.clone().into_iter().map(|name| name + "?")).collect();
        assert_eq!(owned.last(), Some(&(3, String::from("699?"))));
        assert_eq!(map().enumerate().find_first(|(n, length)| n + length > 100), Some((99, 2)));
    }
}

#[test]
fn the_results_of_a_map_are_items_of_another() {
    for pool in pools() {
        let squares = || square::map((0..900).collect::<Vec<u32>>());
        let texts: Vec<String> = pool.map(squares(), |n: u32| n.to_string()).collect();
        assert!(texts.into_iter().eq((0..900).map(|n: u32| (n * n).to_string())));
        let pairs: Vec<u32> = pool.map(zip(squares(), &[1; 800]), |(n, one): (u32, &u32)| n + one).collect();
        assert!(pairs.into_iter().eq((0..800).map(|n| n * n + 1)));
        let pulled = square::map((0..900).filter(|n| n % 2 == 0));
        let halves: Vec<u32> = pool.map(pulled, |n: u32| n / 4).filter(|n| n % 2 == 0).collect();
        assert!(halves.into_iter().eq((0..450).map(|n| n * n).filter(|n| n % 2 == 0)));
        let iterated: Vec<u32> = pool.map(square::map(vec![1, 2, 3]), |n: u32| n + 1).into_iter().collect();
        assert_eq!(iterated, [2, 5, 10]);
        assert_eq!(pool.map(squares(), |n: u32| u64::from(n)).sum::<u64>(), (0..900).map(|n: u64| n * n).sum::<u64>());
    }
}

#[test]
fn pieces_and_unique_references_are_items() {
    let mut numbers: Vec<u32> = (0..5_000).collect();
    increase::map(&mut numbers).for_each(drop);
    fanfold::map(&mut numbers[..10], |n: &mut u32| *n *= 2).for_each(drop);
    assert_eq!((numbers[9], numbers[10], numbers[4_999]), (20, 11, 5_000));
    let sums: Vec<u32> =
        CPU.map(chunks(&numbers, 7), |piece| piece.iter().sum::<u32>()).filter(|sum| sum % 2 == 0).collect();
    assert!(
        sums.into_iter()
            .eq(numbers.chunks(7).map(|piece| piece.iter().sum()).filter(|sum: &u32| sum.is_multiple_of(2)))
    );
    let falls = CPU.map(windows(&numbers, 2), |pair| pair[0] > pair[1]).enumerate().find_first(|(_, falls)| *falls);
    assert_eq!(falls, Some((9, true)));
}

/// Hands in what it has added up.
struct Adder<'a>(usize, &'a Mutex<Vec<usize>>);
impl Drop for Adder<'_> {
    fn drop(&mut self) {
        self.1.lock().expect("no panic").push(self.0);
    }
}

#[test]
fn state_belongs_to_one_worker_at_a_time() {
    for pool in pools() {
        let made = AtomicUsize::new(0);
        let sums = Mutex::new(Vec::new());
        let init = || {
            made.fetch_add(1, Ordering::Relaxed);
            Adder(0, &sums)
        };
        pool.map(0..10_000, |n: usize| n).for_each_init(init, |adder, n| adder.0 += n);
        pool.map(0..10_000, |n: usize| n).filter(|n| n % 2 == 0).for_each_init(init, |adder, n| adder.0 += n);
        let sums = sums.into_inner().expect("no panic");
        assert_eq!(sums.iter().sum::<usize>(), (0..10_000).sum::<usize>() + (0..5_000).map(|n| n * 2).sum::<usize>());
        assert_eq!(sums.len(), made.into_inner());
        assert!(sums.len() <= 2 * pool.stats().threads.max(1) + 2, "one for each worker: {}", sums.len());
        let (sender, receiver) = std::sync::mpsc::channel();
        pool.map(0..100, |n: u32| n).for_each_with(sender, |sender, n| sender.send(n).expect("the receiver is open"));
        assert_eq!(receiver.iter().sum::<u32>(), 4_950);
    }
}

#[test]
fn a_panic_anywhere_ends_the_map_and_drops_every_value() {
    struct Counted(Arc<AtomicUsize>, usize);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    fn stop(place: usize) {
        assert_ne!(place, 1_500, "stop");
    }
    for pool in pools() {
        let alive = Arc::new(AtomicUsize::new(0));
        let make = |n: usize| {
            alive.fetch_add(1, Ordering::Relaxed);
            Counted(Arc::clone(&alive), n)
        };
        let keep = |value: &Counted| {
            stop(value.1);
            value.1.is_multiple_of(2)
        };
        let twice = |value: Counted| {
            let copy = make(value.1);
            [value, copy].into_iter().inspect(|value| stop(value.1))
        };
        let map = || pool.map(0..2_000, make);
        let pulled = || pool.map((0..2_000).filter(|_| true), make);
        let ends: [&dyn Fn(); 10] = [
            &|| drop(map().filter(keep).collect::<Vec<_>>()),
            &|| drop(pulled().filter(keep).collect::<Vec<_>>()),
            &|| drop(map().flat_map(twice).collect::<Vec<_>>()),
            &|| drop(map().chunk_size(3).flat_map(twice).then(Some).collect::<Option<Vec<Counted>>>()),
            &|| assert_ne!(map().filter(keep).count(), 0),
            &|| drop(map().filter(keep).find_first(|value| value.1 == 1_999)),
            &|| map().for_each_init(|| make(0), |_, value| stop(value.1)),
            &|| drop(map().zip((0..2_000).map(make)).filter(|(value, _)| keep(value)).collect::<Vec<_>>()),
            &|| drop(pool.map(map(), |value: Counted| stop(value.1)).collect::<Vec<()>>()),
            &|| map().filter(keep).for_each_ordered(drop),
        ];
        for (index, end) in ends.into_iter().enumerate() {
            let payload = catch_unwind(AssertUnwindSafe(end)).expect_err("item 1,500 panics");
            let message = payload.downcast_ref::<String>().expect("an assertion has a message");
            assert!(message.contains("stop"), "{index}: {message}");
            assert_eq!(alive.load(Ordering::Relaxed), 0, "{index}");
        }
        // A failure ends it as well.
        let fail = |value: Counted| if value.1 == 1_200 { Err(value.1) } else { Ok(value) };
        let failed = map().filter(|value| value.1 % 2 == 0).then(fail).collect::<Result<Vec<_>, _>>();
        assert_eq!(failed.err(), Some(1_200));
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn ends_are_those_of_an_iterator() {
    for pool in pools() {
        for count in [0, 1, 7, 3_000] {
            // Many are equal, so the first or the last of them has to be found.
            let items = || (0..count).map(|n| (n % 13, n));
            let map = || pool.map(0..count, |n: u32| (n % 13, n));
            let kept = || items().filter(|(_, n)| n % 3 == 1);
            let filtered = || map().filter(|(_, n)| n % 3 == 1);
            assert_eq!((map().min(), map().max()), (items().min(), items().max()));
            assert_eq!((filtered().min(), filtered().max()), (kept().min(), kept().max()));
            assert_eq!(map().min_by_key(|pair| pair.0), items().min_by_key(|pair| pair.0));
            assert_eq!(map().max_by_key(|pair| pair.0), items().max_by_key(|pair| pair.0));
            assert_eq!(filtered().min_by_key(|pair| pair.0), kept().min_by_key(|pair| pair.0));
            assert_eq!(filtered().max_by_key(|pair| pair.0), kept().max_by_key(|pair| pair.0));
            assert_eq!(map().max_by(|a, b| a.0.cmp(&b.0)), items().max_by(|a, b| a.0.cmp(&b.0)));
            let add = |a: (u32, u32), b: (u32, u32)| (a.0 + b.0, a.1 + b.1);
            assert_eq!(
                (map().reduce_with(add), filtered().reduce_with(add)),
                (items().reduce(add), kept().reduce(add))
            );
            let odd = |pair: (u32, u32)| u64::from(pair.1 % 2 + 1) % 7;
            assert_eq!(
                map().then(|pair| odd(pair).min(1)).product::<u64>(),
                items().map(|pair| odd(pair).min(1)).product::<u64>()
            );
            let (left, right): (Vec<_>, HashSet<_>) = map().partition(|pair| pair.0 < 5);
            assert!(left.into_iter().eq(items().filter(|pair| pair.0 < 5)));
            assert_eq!(right, items().filter(|pair| pair.0 >= 5).collect());
            let late = |pair: (u32, u32)| (pair.1 > 100).then_some(pair.1);
            assert_eq!(map().find_map_first(late), items().find_map(late));
            assert_eq!(filtered().find_map_first(late), kept().find_map(late));
            let check = |pair: (u32, u32)| if pair.1 < 50 { Ok(()) } else { Err(pair.1) };
            assert_eq!(map().try_for_each(check), items().try_for_each(check));
            assert_eq!(filtered().try_for_each(check), kept().try_for_each(check));
        }
    }
}

#[test]
fn each_item_that_panics_has_one_outcome() {
    for pool in pools() {
        let divide = |n: u32| 100 / (n % 5);
        let stage = |n: u32| (0..n % 4).inspect(|part| assert_ne!(*part, 2, "stop"));
        let expected = (0..200_u32).flat_map(|n| match n % 5 {
            0 => vec![None],
            m if 100 / m % 4 == 3 => vec![None],
            m => (0..100 / m % 4).map(Some).collect(),
        });
        let outcomes = pool.map(0..200, divide).flat_map(stage).outcomes();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(TaskError::Panicked { .. }))));
        assert!(outcomes.into_iter().map(Result::ok).eq(expected));
    }
}

#[test]
fn maps_with_a_time_limit_have_the_adaptors_of_their_iterator() {
    let map = || IO.map(0..100, |n: u32| n * n).timeout(Duration::from_secs(3_600)).then(Result::unwrap);
    assert!(map().filter(|n| n % 2 == 0).eq((0..100).map(|n| n * n).filter(|n| n % 2 == 0)));
    let timed = || IO.map(0..100, |n: u32| n).timeout(Duration::from_secs(3_600));
    assert!(timed().filter_map(Result::ok).eq(0..100));
    assert!(timed().flat_map(|n| n).enumerate().all(|(number, n)| number == n as usize));
    assert!(timed().enumerate().all(|(number, n)| n.is_ok_and(|n| n as usize == number)));
    assert_eq!(timed().count(), 100);
    assert!(timed().all(|n| n.is_ok()) && timed().any(|n| n.is_ok_and(|n| n == 99)));
    assert!(timed().filter(|n| n.as_ref().is_ok_and(|n| *n > 90)).count() == 9);
    assert!(matches!(timed().find_first(|n| n.as_ref().is_ok_and(|n| *n > 50)), Some(Ok(51))));
}
