//! Zips, numbered items, unique references and pieces of slices: items that workers take by index.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fanfold::{Pool, chunks, chunks_mut, enumerate, parallel, windows, zip};

/// Numbers of items: none, one, few, more than a first window of an iterator, and more than several.
const COUNTS: &[usize] = if cfg!(miri) { &[0, 1, 7] } else { &[0, 1, 2, 7, 1_025, 70_000] };
const SIZES: &[usize] = if cfg!(miri) { &[1, 3, 64] } else { &[1, 2, 3, 64, 1_000] };

fn numbers(count: usize) -> Vec<u32> {
    (0..).step_by(3).take(count).collect()
}

fn small(index: usize) -> u32 {
    u32::try_from(index).expect("there are few items")
}

/// A few pools: the default one, where the caller works along, and others, where it does not.
fn pools() -> [Pool; 3] {
    let built = [Pool::cpu("indexed").threads(3).build(), Pool::io("indexed").threads(2).build()];
    let [cpu, io] = built.map(|pool| pool.expect("threads can be had"));
    [Pool::cpu("one").threads(1).build().expect("a thread can be had"), cpu, io]
}

/// Asserts that a map over `$items` gives what an iterator gives, however it is ended.
macro_rules! assert_same {
    ($what:expr, $items:expr, $expected:expr, $function:expr) => {{
        let expected: Vec<u64> = $expected.map($function).collect();
        let default = Pool::cpu_default();
        assert_eq!(default.map($items, $function).collect::<Vec<u64>>(), expected, "{}", $what);
        assert_eq!(default.map($items, $function).into_iter().collect::<Vec<u64>>(), expected, "{}, iterated", $what);
        assert_eq!(default.map($items, $function).sum::<u64>(), expected.iter().sum::<u64>(), "{}, sum", $what);
        let text = |pool: &Pool| {
            let digits = pool.map($items, |item| ($function)(item).to_string());
            digits.reduce(String::new, |all, one| all + &one)
        };
        if expected.len() < 2_000 {
            assert_eq!(text(default), expected.iter().map(u64::to_string).collect::<String>(), "{}, reduced", $what);
        }
        let checked: Option<Vec<u64>> = default.map($items, |item| Some(($function)(item))).collect();
        assert_eq!(checked.as_ref(), Some(&expected), "{}, checked", $what);
        assert_eq!(default.map($items, $function).chunk_size(3).collect::<Vec<u64>>(), expected, "{}, by 3", $what);
        assert_eq!(default.map($items, $function).chunks(5).collect::<Vec<u64>>(), expected, "{}, in 5", $what);
    }};
}

#[test]
fn zips_and_numbered_items_give_what_a_loop_gives() {
    for &count in COUNTS {
        // Items of maps that are iterated are `'static`.
        let (a, b): (&'static [u32], &'static [u32]) = (numbers(count).leak(), numbers(count + 3).leak());
        let ab = || a.iter().zip(b);
        assert_same!("slices", zip(a, b), ab(), |(a, b): (&u32, &u32)| u64::from(*a) * u64::from(*b));
        assert_same!("vectors", zip(a.to_vec(), b.to_vec()), ab().map(|(a, b)| (*a, *b)), |(a, b)| u64::from(a + b));
        assert_same!("mixed", zip(b, a.to_vec()), b.iter().zip(a.to_vec()), |(b, a)| u64::from(b + a));
        assert_same!("three", zip(a, zip(b, a)), a.iter().zip(ab().map(|(a, b)| (b, a))), |(a, (b, c))| u64::from(
            a + 2 * b + 4 * c
        ));
        assert_same!("left", zip(zip(b, a), a), ab().map(|(a, b)| ((b, a), a)), |((a, b), c)| u64::from(a + 2 * b - c));
        assert_same!("range", zip(5..900_u64, a), (5..900_u64).zip(a), |(n, a): (u64, &u32)| n + u64::from(*a));
        assert_same!("from", zip(a, 7_u64..), a.iter().zip(7_u64..), |(a, n): (&u32, u64)| n * u64::from(*a));
        assert_same!("numbered", enumerate(a), a.iter().enumerate(), |(n, a): (usize, &u32)| n as u64 * u64::from(*a));
        assert_same!("pairs", enumerate(zip(a, b)), ab().enumerate(), |(n, (a, b)): (usize, (&u32, &u32))| n as u64
            + u64::from(a ^ b));
        assert_same!(
            "pulled",
            zip(a, b.iter().filter(|b| **b % 2 == 0)),
            a.iter().zip(b.iter().step_by(2)),
            |(a, b)| { u64::from(a + b) }
        );
    }
}

#[test]
fn pieces_of_slices_give_what_a_loop_gives() {
    for &count in COUNTS {
        let slice: &'static [u32] = numbers(count).leak();
        for &size in SIZES {
            let sum = |piece: &[u32]| piece.iter().map(|n| u64::from(*n)).sum::<u64>() + piece.len() as u64;
            assert_same!("chunks", chunks(slice, size), slice.chunks(size), sum);
            if count * size < 100_000 {
                assert_same!("windows", windows(slice, size), slice.windows(size), sum);
            }
            assert_same!(
                "numbered",
                enumerate(chunks(slice, size)),
                slice.chunks(size).enumerate(),
                move |(n, piece): (usize, &[u32])| { n as u64 * sum(piece) }
            );
        }
    }
}

#[test]
fn unique_references_reach_each_item_once() {
    for pool in pools() {
        for &count in COUNTS {
            let (mut numbers, mut expected) = (numbers(count), numbers(count));
            let others: Vec<_> = expected.iter().rev().copied().collect();
            pool.map(&mut numbers, |n| *n += 1).for_each(drop);
            expected.iter_mut().for_each(|n| *n += 1);
            pool.map(enumerate(&mut numbers[..]), |(index, n)| *n ^= small(index)).for_each(drop);
            expected.iter_mut().enumerate().for_each(|(index, n)| *n ^= small(index));
            pool.map(zip(&mut numbers, &others), |(n, other)| *n = 3 * *n + other).for_each(drop);
            expected.iter_mut().zip(&others).for_each(|(n, other)| *n = 3 * *n + other);
            let before: Vec<u32> = pool.map(&mut numbers, |n| std::mem::replace(n, *n / 2)).collect();
            assert_eq!(before, expected);
            expected.iter_mut().for_each(|n| *n /= 2);
            for &size in SIZES {
                let pieces = zip(chunks_mut(&mut numbers, size), chunks(&others, size));
                pool.map(pieces, |(piece, others)| piece.iter_mut().zip(others).for_each(|(n, other)| *n ^= other))
                    .for_each(drop);
                expected.iter_mut().zip(&others).for_each(|(n, other)| *n ^= other);
                let lengths: usize = pool.map(chunks_mut(&mut numbers, size), |piece| piece.len()).sum();
                assert_eq!((lengths, &numbers), (count, &expected), "{size}");
            }
        }
    }
}

#[test]
fn iterated_maps_take_unique_references() {
    let leaked: &'static mut [u32] = numbers(500).leak();
    let (front, back) = leaked.split_at_mut(200);
    let pool = Pool::cpu_default();
    let front: Vec<u32> = pool.map(front, std::mem::take).into_iter().collect();
    let back: Vec<u32> = pool.map(chunks_mut(back, 7), |piece| piece.iter().sum()).into_iter().collect();
    let expected = numbers(500);
    assert_eq!(front, expected[..200]);
    assert_eq!(back, expected[200..].chunks(7).map(|piece| piece.iter().sum()).collect::<Vec<u32>>());
}

#[parallel(kind = "cpu")]
fn add_to(total: &mut u32, n: u32) -> u32 {
    *total += n;
    *total
}

#[parallel(kind = "cpu")]
fn numbered(index: usize, row: &mut [u32]) {
    row.fill(small(index));
}

#[parallel(kind = "cpu")]
fn longest(words: &[&'static str]) -> usize {
    words.iter().map(|word| word.len()).max().unwrap_or(0)
}

#[test]
fn annotated_functions_take_references_and_pieces() {
    let mut totals = [10, 20, 30];
    assert_eq!(add_to::map(zip(&mut totals, [1, 2, 3, 4])).collect::<Vec<_>>(), [11, 22, 33]);
    let more = vec![1, 1, 1];
    assert_eq!(add_to::map(zip(&mut totals[..], &more)).sum::<u32>(), 69);
    let mut rows = vec![0; 11];
    numbered::map(enumerate(chunks_mut(&mut rows, 4))).for_each(drop);
    assert_eq!(rows, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]);
    let words = ["a", "four", "of", "them", "five5"];
    assert_eq!(longest::map(chunks(&words, 2)).collect::<Vec<_>>(), [4, 4, 5]);
    assert_eq!(longest::map(windows(&words, 4)).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn the_shorter_part_of_a_zip_decides() {
    let pool = Pool::cpu_default();
    for (left, right) in [(3, 5), (5, 3), (0, 4), (4, 0), (0, 0), (1, 3_000), (3_000, 1_500)] {
        let (a, b) = (numbers(left), numbers(right));
        let expected: Vec<(u32, u32)> = a.iter().copied().zip(b.iter().copied()).collect();
        assert_eq!(pool.map(zip(&a, &b), |(a, b)| (*a, *b)).collect::<Vec<_>>(), expected);
        let three = pool.map(zip(zip(&a, &b), 0..1_000_u32), |((a, b), _)| (*a, *b)).collect::<Vec<_>>();
        assert_eq!(three, expected[..expected.len().min(1_000)]);
    }
    // The last number of a type has no successor, so it is not reached.
    assert_eq!(pool.map(zip(250_u8.., [1, 2, 3, 4, 5]), |(n, _)| n).collect::<Vec<_>>(), [250, 251, 252, 253, 254]);
    assert_eq!(pool.map(zip(-2_i8.., [0; 4]), |(n, _)| n).collect::<Vec<_>>(), [-2, -1, 0, 1]);
    let endless: Vec<u64> = pool
        .map(zip(0_u64.., 5_u64..), |(a, b)| (a < 4).then_some(b).ok_or(a))
        .into_iter()
        .take_while(Result::is_ok)
        .flatten()
        .collect();
    assert_eq!(endless, [5, 6, 7, 8]);
}

#[test]
fn zips_longer_than_memory_end_at_their_first_failure() {
    let fails_at = |last: u64| {
        let check = move |(n, m): (u64, u64)| if n == last { Err((n, m)) } else { Ok(n) };
        Pool::cpu_default().map(zip(0..u64::MAX, 7..u64::MAX), check).collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(fails_at(5), Err((5, 12)));
    if !cfg!(miri) {
        // Behind the first window.
        assert_eq!(fails_at((1 << 20) + 3), Err(((1 << 20) + 3, (1 << 20) + 10)));
    }
}

#[test]
fn items_without_size_are_counted() {
    let pool = Pool::cpu_default();
    let units = vec![(); 1_000];
    assert_eq!(pool.map(zip(units.clone(), &units), |((), ())| 1).sum::<u32>(), 1_000);
    assert_eq!(pool.map(&mut units.clone(), |()| 1).sum::<u32>(), 1_000);
    assert_eq!(pool.map(windows(&units, 999), <[()]>::len).collect::<Vec<_>>(), [999, 999]);
    let all = [(); usize::MAX];
    assert_eq!(pool.map(chunks(&all, usize::MAX), <[()]>::len).collect::<Vec<_>>(), [usize::MAX]);
    assert_eq!(pool.map(chunks(&all, usize::MAX - 1), <[()]>::len).collect::<Vec<_>>(), [usize::MAX - 1, 1]);
    assert_eq!(pool.map(windows(&all, usize::MAX), <[()]>::len).collect::<Vec<_>>(), [usize::MAX]);
    let mut all = all;
    let lengths: Vec<usize> = pool.map(chunks_mut(&mut all, usize::MAX / 2), |piece| piece.len()).collect();
    assert_eq!(lengths, [usize::MAX / 2, usize::MAX / 2, 1]);
}

#[test]
fn pieces_of_size_0_are_refused() {
    let message = |make: &dyn Fn()| {
        let payload = catch_unwind(AssertUnwindSafe(make)).expect_err("a size of 0 panics");
        payload.downcast_ref::<&str>().map(ToString::to_string).or(payload.downcast_ref::<String>().cloned())
    };
    assert_eq!(message(&|| _ = chunks(&[1], 0)), message(&|| _ = [1].chunks(0)));
    assert_eq!(message(&|| _ = chunks_mut(&mut [1], 0)), message(&|| _ = [1].chunks_mut(0)));
    assert_eq!(message(&|| _ = windows(&[1], 0)), message(&|| _ = [1].windows(0)));
}

/// Two items at the ends of a map, each of which waits for the other.
struct Meeting {
    arrived: AtomicUsize,
}

impl Meeting {
    fn new() -> Self {
        Self { arrived: AtomicUsize::new(0) }
    }

    fn attend(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        while self.arrived.load(Ordering::Relaxed) < 2 {
            assert!(begun.elapsed() < Duration::from_secs(30), "no other worker runs the other end");
            std::thread::yield_now();
        }
    }
}

#[test]
fn workers_run_both_ends_at_once() {
    // More than an iterator's first window, of which all items end before the next one is pulled.
    let last = if cfg!(miri) { 1_100 } else { 5_000 };
    let pool = Pool::cpu("ends").threads(2).build().expect("threads can be had");
    let numbers: Vec<usize> = (0..=last).collect();
    let mut copy = numbers.clone();
    macro_rules! assert_meets {
        ($items:expr, $index:expr) => {
            let meeting = Meeting::new();
            let index = $index;
            let attend = |item| {
                if [0, last].contains(&index(item)) {
                    meeting.attend()
                }
            };
            pool.map($items, attend).chunks(2).for_each(drop);
            assert_eq!(meeting.arrived.into_inner(), 2);
        };
    }
    assert_meets!(zip(&numbers, &copy), |(n, _): (&usize, &usize)| *n);
    assert_meets!(zip(numbers.clone(), zip(&copy, 0..)), |(n, _): (usize, (&usize, i32))| n);
    assert_meets!(enumerate(&numbers), |(n, _): (usize, &usize)| n);
    assert_meets!(&mut copy, |n: &mut usize| *n);
    assert_meets!(enumerate(&mut copy[..]), |(n, _): (usize, &mut usize)| n);
    assert_meets!(chunks(&numbers, 1), |piece: &[usize]| piece[0]);
    assert_meets!(chunks_mut(&mut copy, 1), |piece: &mut [usize]| piece[0]);
    assert_meets!(windows(&numbers, 1), |piece: &[usize]| piece[0]);
}

/// Counts the live values.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn values(&self, count: usize) -> Vec<Value> {
        self.0.fetch_add(count, Ordering::Relaxed);
        (0..count).map(|n| Value { n, is_explosive: false, count: self.clone() }).collect()
    }

    /// Values of which every fifth one panics when it is dropped, from number `first` on.
    fn explosive_values(&self, count: usize, first: usize) -> Vec<Value> {
        let mut values = self.values(count);
        values.iter_mut().skip(first).step_by(5).for_each(|value| value.is_explosive = true);
        values
    }

    /// Waits until all values are dropped: workers of an iterated map may end after it.
    #[track_caller]
    fn assert_all_dropped(&self) {
        let begun = Instant::now();
        while self.0.load(Ordering::Relaxed) != 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} are left", self.0.load(Ordering::Relaxed));
            std::thread::yield_now();
        }
    }
}

struct Value {
    n: usize,
    is_explosive: bool,
    count: Count,
}

impl Drop for Value {
    fn drop(&mut self) {
        // A value that is dropped twice makes the count wrap, and never be 0 again.
        self.count.0.fetch_sub(1, Ordering::Relaxed);
        if self.is_explosive {
            resume_unwind(Box::new("a destructor"));
        }
    }
}

const LENGTHS: &[(usize, usize)] = if cfg!(miri) {
    &[(20, 30), (30, 20)]
} else {
    &[(0, 3), (3, 0), (20, 30), (30, 20), (1_500, 3_000), (3_000, 1_500)]
};

type Zipped = fanfold::Zip<Vec<Value>, Vec<Value>>;

/// Runs `end` with zips of two vectors, and checks that every value is dropped once.
fn with_zips(explosive: bool, end: impl Fn(Zipped, &Pool)) {
    let pools = pools();
    // All pools take too long under Miri.
    for pool in if cfg!(miri) { &pools[1..2] } else { &pools[..] }.iter().chain([Pool::cpu_default()]) {
        for &(left, right) in LENGTHS {
            let count = Count::default();
            // At most one value of a pair panics: two would abort the program wherever a pair is dropped.
            let zipped = if explosive {
                zip(count.explosive_values(left, 3), count.explosive_values(right, 1))
            } else {
                zip(count.values(left), count.values(right))
            };
            let _ = catch_unwind(AssertUnwindSafe(|| end(zipped, pool)));
            count.assert_all_dropped();
        }
    }
}

#[test]
fn each_item_is_dropped_once_on_every_path() {
    for explosive in [false, true] {
        with_zips(explosive, |zipped, pool| drop(pool.map(zipped, drop).collect::<Vec<_>>()));
        with_zips(explosive, |zipped, pool| drop(pool.map(zipped, |pair| pair).collect::<Vec<_>>()));
        with_zips(explosive, |zipped, pool| drop(pool.map(zipped, |pair| pair).chunk_size(7).collect::<Vec<_>>()));
        with_zips(explosive, |zipped, pool| {
            let _ = pool.map(zipped, |(a, b)| a.n + b.n).sum::<usize>();
        });
        with_zips(explosive, |zipped, pool| {
            let identity = || resume_unwind(Box::new("a fold"));
            drop(pool.map(zipped, |pair| pair).reduce(identity, |a, _| a));
        });
        with_zips(explosive, |zipped, pool| {
            let check = |(a, b): (Value, Value)| {
                drop(b);
                if a.n == 12 { Err(a.n) } else { Ok(a) }
            };
            drop(pool.map(zipped, check).collect::<Result<Vec<_>, _>>());
        });
        with_zips(explosive, |zipped, pool| {
            let fails = |(a, _b): (Value, Value)| {
                if a.n == 17 {
                    resume_unwind(Box::new("a function"))
                }
            };
            pool.map(zipped, fails).for_each(drop);
        });
        // Nested in other zips, of which a third part is the shortest.
        with_zips(explosive, |zipped, pool| drop(pool.map(zip(zipped, 0..11), |pair| pair).collect::<Vec<_>>()));
        with_zips(explosive, |zipped, pool| drop(pool.map(enumerate(zipped), |(n, _)| n).collect::<Vec<_>>()));
    }
    with_zips(false, |zipped, pool| drop(pool.map(zipped, |pair| pair)));
    with_zips(false, |zipped, pool| drop(pool.map(zipped, |pair| pair).into_iter()));
    with_zips(false, |zipped, pool| drop(pool.map(zipped, |pair| pair).into_iter().nth(4)));
    with_zips(false, |zipped, pool| {
        let pulled = zip((0..25).filter(|n| n % 2 == 0), zipped);
        drop(pool.map(pulled, |(_, pair)| pair).collect::<Vec<_>>());
    });
}

#[test]
fn a_panicking_destructor_of_an_item_without_a_partner_propagates() {
    let count = Count::default();
    let map = || Pool::cpu_default().map(zip(count.explosive_values(10, 3), 0..2), |(value, n)| (n, value.n));
    let payload = catch_unwind(AssertUnwindSafe(|| map().collect::<Vec<_>>())).expect_err("item 3 panics");
    assert_eq!(payload.downcast_ref(), Some(&"a destructor"));
    count.assert_all_dropped();
}
