//! `Map::for_each_ordered`: results that the calling thread consumes in order while workers run later items.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use fanfold::{Pending, Pool, enumerate, parallel, zip};

static IO: Pool = Pool::io("ordered-io").threads(3);
static CPU: Pool = Pool::cpu("ordered-cpu").threads(2);
static ONE: Pool = Pool::cpu("ordered-one").threads(1);

fn pools() -> [&'static Pool; 4] {
    [&IO, &CPU, &ONE, Pool::cpu_default()]
}

/// By then a wait counts as hung.
const HUNG: Duration = Duration::from_secs(45);

/// Counts the values that are alive.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>, usize);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>, value: usize) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(alive), value)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn message(result: std::thread::Result<()>) -> String {
    let payload = result.expect_err("it panics");
    payload.downcast_ref::<&str>().map(ToString::to_string).or(payload.downcast_ref().cloned()).unwrap_or_default()
}

#[test]
fn results_are_consumed_in_order_on_the_calling_thread() {
    let count = if cfg!(miri) { 50 } else { 20_000 };
    for pool in pools() {
        let here = thread::current().id();
        let mut seen = Vec::new();
        pool.map(0..count, |n: usize| n * 2).for_each_ordered(|n| {
            assert_eq!(thread::current().id(), here);
            seen.push(n);
        });
        assert!(seen.into_iter().eq((0..count).map(|n| n * 2)));
    }
}

#[test]
fn items_of_different_lengths_keep_their_order() {
    for pool in pools() {
        let mut seen = Vec::new();
        let lengths: Vec<usize> = (0..200).map(|n| (n * 7919) % 50).collect();
        let spin = |&(index, length): &(usize, usize)| {
            (0..length * 200).for_each(|_| std::hint::spin_loop());
            index
        };
        let items: Vec<_> = lengths.into_iter().enumerate().collect();
        pool.map(&items, spin).for_each_ordered(|index| seen.push(index));
        assert!(seen.into_iter().eq(0..200));
    }
}

#[test]
fn every_source_is_taken() {
    let texts = vec![String::from("a"), String::from("bc")];
    let mut lengths = Vec::new();
    CPU.map(&texts, |text: &String| text.len()).for_each_ordered(|length| lengths.push(length));
    CPU.map(texts.clone(), |text: String| text.len()).for_each_ordered(|length| lengths.push(length));
    CPU.map(texts.iter().filter(|text| text.len() > 1), |text: &String| text.len())
        .for_each_ordered(|length| lengths.push(length));
    CPU.map([7; 0], |n: usize| n).for_each_ordered(|length| lengths.push(length));
    assert_eq!(lengths, [1, 2, 1, 2, 2]);

    let mut sums = Vec::new();
    CPU.map(zip(&[1, 2, 3], &[10, 20]), |(a, b): (&usize, &usize)| a + b).for_each_ordered(|sum| sums.push(sum));
    CPU.map(enumerate(vec![5, 6]), |(index, n): (usize, usize)| n * index).for_each_ordered(|n| sums.push(n));
    assert_eq!(sums, [11, 22, 0, 6]);

    let mut numbers = vec![1, 2, 3];
    CPU.map(&mut numbers, |n: &mut usize| std::mem::replace(n, 0)).for_each_ordered(|before| sums.push(before));
    assert_eq!((numbers, &sums[4..]), (vec![0; 3], &[1, 2, 3][..]));
}

#[test]
fn the_consumer_may_keep_what_cannot_cross_threads() {
    let total = Rc::new(Cell::new(0));
    let add = Rc::clone(&total);
    CPU.map(0..100_u64, |n| n).for_each_ordered(move |n| add.set(add.get() + n));
    assert_eq!(total.get(), 4_950);
}

#[test]
fn a_result_is_consumed_while_later_items_run() {
    for pool in [&IO, &CPU] {
        let (release, released) = mpsc::channel();
        let released = std::sync::Mutex::new(released);
        let run = |n: usize| {
            if n == 1 {
                let released = released.lock().expect("no panic");
                released.recv_timeout(HUNG).expect("the first result is consumed while the second item runs");
            }
            n
        };
        let mut seen = Vec::new();
        pool.map([0, 1, 2], run).for_each_ordered(|n| {
            seen.push(n);
            if n == 0 {
                release.send(()).expect("the item waits");
            }
        });
        assert_eq!(seen, [0, 1, 2]);
    }
}

#[test]
fn a_slow_consumer_bounds_the_items_in_flight() {
    for (buffer, most) in [(None, 6), (Some(2), 2)] {
        let (given, consumed) = (Cell::new(0), Cell::new(0));
        let items = std::iter::from_fn(|| {
            given.set(given.get() + 1);
            assert!(given.get() - consumed.get() <= most, "{} items in flight", given.get() - consumed.get());
            (given.get() <= 300).then_some(given.get())
        });
        let map = IO.map(items, |n: usize| n);
        let map = if let Some(buffer) = buffer { map.buffer(buffer) } else { map };
        map.for_each_ordered(|_| consumed.set(consumed.get() + 1));
        assert_eq!(consumed.get(), 300);
    }
}

#[test]
fn an_endless_source_ends_with_the_first_error() {
    for pool in pools() {
        let alive = Arc::new(AtomicUsize::new(0));
        let mut seen = Vec::new();
        let ended =
            pool.map((0..).map(|n| Counted::new(&alive, n)), |item: Counted| item).try_for_each_ordered(|item| {
                if item.1 == 25 {
                    return Err("enough");
                }
                seen.push(item.1);
                Ok(())
            });
        assert_eq!(ended, Err("enough"));
        assert!(seen.into_iter().eq(0..25));
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn panics_of_the_function_follow_the_results_before_them() {
    for pool in pools() {
        let alive = Arc::new(AtomicUsize::new(0));
        let items: Vec<_> = (0..100).map(|n| Counted::new(&alive, n)).collect();
        let mut seen = 0;
        let run = |item: Counted| {
            assert!(item.1 != 40, "item forty");
            item
        };
        let ended = catch_unwind(AssertUnwindSafe(|| pool.map(items, run).for_each_ordered(|_| seen += 1)));
        assert_eq!((message(ended), seen), ("item forty".to_string(), 40));
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn panics_of_the_consumer_and_of_the_source_drop_every_value_once() {
    for pool in pools() {
        let alive = Arc::new(AtomicUsize::new(0));
        let items: Vec<_> = (0..100).map(|n| Counted::new(&alive, n)).collect();
        let consume = |item: Counted| assert!(item.1 < 10, "consumer");
        let map = pool.map(items, |item: Counted| item);
        assert_eq!(message(catch_unwind(AssertUnwindSafe(|| map.for_each_ordered(consume)))), "consumer");
        assert_eq!(alive.load(Ordering::Relaxed), 0);

        let source = (0..100).map(|n| if n < 10 { Counted::new(&alive, n) } else { panic!("source") });
        let map = pool.map(source, |item: Counted| item);
        assert_eq!(message(catch_unwind(AssertUnwindSafe(|| map.for_each_ordered(drop)))), "source");
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_worker_may_stream_on_its_own_pool() {
    fn count(pool: &'static Pool, depth: usize) -> usize {
        let mut nodes = 1;
        if depth > 0 {
            pool.map([depth - 1; 3], |depth| count(pool, depth)).for_each_ordered(|below| nodes += below);
        }
        nodes
    }
    for pool in pools() {
        assert_eq!(pool.submit(move || count(pool, 3)).join().expect("no panic"), 40);
    }
}

#[test]
fn items_run_side_by_side() {
    let barrier = Barrier::new(2);
    CPU.map([1, 2], |_| barrier.wait().is_leader()).for_each_ordered(|_| ());
}

#[test]
fn a_closed_pool_is_named() {
    let pool = Pool::cpu("closed").threads(1).build().expect("a thread starts");
    pool.shutdown(Pending::Run);
    let ended = catch_unwind(AssertUnwindSafe(|| pool.map(0..3, |n: i32| n).for_each_ordered(|_| ())));
    assert!(message(ended).contains("its pool was closed"));
}

#[parallel(kind = "cpu")]
fn add_all(range: Range<usize>, more: usize) -> usize {
    range.sum::<usize>() + more
}

#[test]
fn annotated_functions_stream() {
    let mut sums = Vec::new();
    add_all::map([(0..3, 1), (3..5, 2)]).for_each_ordered(|sum| sums.push(sum));
    assert_eq!(sums, [4, 9]);
}

/// An iterator whose length is not what it says.
struct Liar {
    left: usize,
    says: usize,
}

impl Iterator for Liar {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        Some(self.left)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.says, Some(self.says))
    }
}

impl ExactSizeIterator for Liar {}

#[test]
fn the_length_that_an_iterator_claims_decides_nothing() {
    let true_count = if cfg!(miri) { 40 } else { 2_000 };
    for pool in pools() {
        for says in [0, 1, 7, true_count * 2, usize::MAX] {
            let liar = || Liar { left: true_count, says };
            let mut seen = Vec::new();
            pool.map(liar(), |n: usize| n).for_each_ordered(|n| seen.push(n));
            assert!(seen.into_iter().eq((0..true_count).rev()), "{says}");
            let collected: Vec<usize> = pool.map(liar(), |n: usize| n).collect();
            assert!(collected.into_iter().eq((0..true_count).rev()), "{says}");
            assert_eq!(pool.map(liar(), |n: usize| n).sum::<usize>(), true_count * (true_count - 1) / 2);
        }
    }
}

#[test]
fn zips_end_with_the_shorter_part_and_drop_the_rest() {
    for pool in pools() {
        let alive = Arc::new(AtomicUsize::new(0));
        let values = |count: usize| -> Vec<Counted> { (0..count).map(|n| Counted::new(&alive, n)).collect() };
        for (left, right) in [(0, 5), (5, 0), (3, 40), (40, 3), (40, 41)] {
            let mut seen = Vec::new();
            let pairs = zip(values(left), values(right));
            pool.map(pairs, |(a, b): (Counted, Counted)| (a.1, b.1)).for_each_ordered(|pair| seen.push(pair));
            assert!(seen.into_iter().eq((0..left.min(right)).map(|n| (n, n))));
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        }
    }
}
