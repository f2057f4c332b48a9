//! Values whose destructors panic: every other value is still dropped, and the program does not abort.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fanfold::{Pending, Pool, TaskError, Until, as_completed, first, join_all, parallel, wait};

/// Counts the live values. The destructor of every fifth value panics.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn value(&self, n: usize) -> Value {
        self.0.fetch_add(1, Ordering::Relaxed);
        Value { n, count: self.clone() }
    }

    /// Waits until all values are dropped.
    #[track_caller]
    fn assert_all_dropped(&self) {
        let begun = Instant::now();
        while self.0.load(Ordering::Relaxed) > 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} are left", self.0.load(Ordering::Relaxed));
            std::thread::yield_now();
        }
    }
}

/// A counted value; the destructor of every fifth one panics.
struct Value {
    n: usize,
    count: Count,
}

impl Value {
    /// Drops the value's count without running its destructor.
    fn consume(self) -> usize {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is `ManuallyDrop`, so its destructor does not run and the count is read and dropped once.
        let count = unsafe { std::ptr::read(&raw mut this.count) };
        count.0.fetch_sub(1, Ordering::Relaxed);
        this.n
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.count.0.fetch_sub(1, Ordering::Relaxed);
        if self.n % 5 == 3 {
            // Skips the panic hook, which would print thousands of messages.
            resume_unwind(Box::new(format!("the destructor of {}", self.n)));
        }
    }
}

/// The message that `work` panics with.
#[track_caller]
fn panic_of<T>(work: impl FnOnce() -> T) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(work)) else { panic!("it does not panic") };
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().expect("a text")).to_owned(),
    }
}

fn concatenated(mut one: Vec<Value>, mut other: Vec<Value>) -> Vec<Value> {
    one.append(&mut other);
    one
}

fn pools() -> [&'static Pool; 4] {
    static IO: Pool = Pool::io("drops-io").threads(2);
    static CPU: Pool = Pool::cpu("drops-cpu").threads(3);
    static ONE: Pool = Pool::cpu("drops-one").threads(1);
    [&IO, &CPU, &ONE, Pool::cpu_default()]
}

#[test]
fn results_of_a_map_that_panics_are_dropped() {
    for pool in pools() {
        for size in [1, 7, 1_000] {
            let count = Count::default();
            let map = pool.map(0..700, |n| if n == 699 { panic!("the function") } else { count.value(n) });
            let text = panic_of(|| map.chunk_size(size).collect::<Vec<_>>());
            assert!(text.contains("the function"), "{text}");
            count.assert_all_dropped();
        }
        let count = Count::default();
        let map = pool.map(0..700, |n| if n == 699 { panic!("the function") } else { count.value(n) });
        let _ = panic_of(|| map.collect::<Vec<_>>());
        count.assert_all_dropped();
    }
}

#[test]
fn results_and_items_of_a_map_that_fails_are_dropped() {
    for pool in pools() {
        let count = Count::default();
        let items: Vec<_> = (0..700).map(|n| count.value(n)).collect();
        let map = pool.map(items, |item| if item.n == 600 { Err(count.value(1_000)) } else { Ok(item) });
        let failed = catch_unwind(AssertUnwindSafe(|| map.chunk_size(10).collect::<Result<Vec<_>, _>>()));
        drop(failed);
        count.assert_all_dropped();
    }
}

#[test]
fn items_of_a_map_that_panics_at_its_first_item_are_dropped() {
    for pool in pools() {
        for size in [1, 100, 10_000] {
            let count = Count::default();
            let items: Vec<_> = (0..700).map(|n| count.value(n)).collect();
            let fails = |item: Value| -> Value {
                item.consume();
                panic!("the function")
            };
            let map = pool.map(items, fails).chunk_size(size);
            let _ = panic_of(|| map.collect::<Vec<_>>());
            count.assert_all_dropped();
            let items: Vec<_> = (0..700).map(|n| count.value(n)).collect();
            let map = pool.map(items, |item| if item.consume() == 0 { panic!("the function") } else { 1 });
            assert!(panic_of(|| map.sum::<u32>()).contains("the function"));
            count.assert_all_dropped();
        }
    }
}

#[test]
fn results_of_windows_before_the_failing_one_are_dropped() {
    for pool in pools() {
        let count = Count::default();
        // Not a range, so the map reads it in windows of at least 1,024 items.
        let items = || (0..5_000).filter(|_| true);
        let map = pool.map(items(), |n| if n == 4_000 { panic!("the function") } else { count.value(n) });
        assert!(panic_of(|| map.collect::<Vec<_>>()).contains("the function"));
        count.assert_all_dropped();
        let map = pool.map(items(), |n| if n == 4_000 { Err(()) } else { Ok(count.value(n)) });
        assert!(panic_of(|| map.collect::<Result<Vec<_>, ()>>()).contains("the destructor"));
        count.assert_all_dropped();
        let map = pool.map(items(), |n| if n == 4_000 { panic!("the function") } else { vec![count.value(5 * n)] });
        assert!(panic_of(|| map.reduce(Vec::new, concatenated)).contains("the function"));
        count.assert_all_dropped();
    }
}

#[test]
fn results_that_an_iterator_did_not_yield_are_dropped() {
    for pool in pools() {
        for unordered in [false, true] {
            let count = Count::default();
            let values = count.clone();
            let mut map = pool.map(0..700, move |n| values.value(n)).buffer(500);
            if unordered {
                map = map.unordered();
            }
            let mut results = map.into_iter();
            let first = results.next().expect("a first one");
            // Waits for some results. The iterator drops those, and the workers drop the later ones.
            let begun = Instant::now();
            while count.0.load(Ordering::Relaxed) < 200 && begun.elapsed() < Duration::from_secs(30) {
                std::thread::yield_now();
            }
            let _ = catch_unwind(AssertUnwindSafe(|| drop(results)));
            let _ = catch_unwind(AssertUnwindSafe(|| drop(first)));
            count.assert_all_dropped();
        }
    }
}

#[test]
fn results_of_a_detached_batch_are_dropped() {
    // A task of a cpu pool holds many items.
    for pool in pools() {
        let count = Count::default();
        let values = count.clone();
        let mut results = pool.map(0..100_000, move |n| values.value(n)).chunk_size(1_000).into_iter();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(results.next())));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(results)));
        count.assert_all_dropped();
    }
}

#[test]
fn results_of_tasks_that_are_never_joined_are_dropped() {
    for pool in pools() {
        let count = Count::default();
        let tasks = || -> Vec<_> {
            (0..700)
                .map(|n| {
                    let values = count.clone();
                    pool.submit(move || values.value(n))
                })
                .collect()
        };
        let all = tasks();
        assert!(wait(&all, Until::All, None).1.is_empty());
        assert!(panic_of(|| drop(as_completed(all))).contains("the destructor"));
        count.assert_all_dropped();

        let all = tasks();
        assert!(wait(&all, Until::All, None).1.is_empty());
        assert!(panic_of(|| drop(as_completed(all).stream())).contains("the destructor"));
        count.assert_all_dropped();

        // One task fails among tasks that return.
        let mut all = tasks();
        let values = count.clone();
        all.insert(600, pool.submit(move || -> Value { resume_unwind(Box::new(values.value(0))) }));
        assert!(wait(&all, Until::All, None).1.is_empty());
        assert!(panic_of(|| join_all(all).map(|results| results.len())).contains("the destructor"));
        count.assert_all_dropped();

        // All results but the first are dropped, then the first.
        let all = tasks();
        assert!(wait(&all, Until::All, None).1.is_empty());
        assert!(panic_of(|| first(all).map(Value::consume)).contains("the destructor"));
        count.assert_all_dropped();
    }
}

#[test]
fn arguments_of_cancelled_tasks_are_dropped() {
    let count = Count::default();
    for pending in [Pending::Cancel, Pending::Run] {
        let pool = Pool::io("drops").threads(1).build().expect("one thread");
        let (release, released) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel();
        let blocker = pool.submit(move || {
            started.send(()).expect("the test waits");
            released.recv().is_err()
        });
        starts.recv().expect("it starts");
        let tasks: Vec<_> = (0..700)
            .map(|n| {
                let value = count.value(n);
                pool.submit(move || drop(value))
            })
            .collect();
        for task in &tasks[..100] {
            task.cancel();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| pool.shutdown(pending));
            drop(release);
        });
        count.assert_all_dropped();
        assert!(blocker.join().expect("it returns"));
        assert!(matches!(tasks.into_iter().next().map(fanfold::Task::join), Some(Err(TaskError::Cancelled))));
    }
}

/// Fails in one chunk. Each chunk's result holds at most one value with a panicking destructor: the standard library
/// aborts when two destructors of one vector panic.
#[parallel(kind = "cpu", chunks = 10)]
fn keep_or_fail(values: Vec<Value>, fail_at: usize) -> Result<Vec<Value>, usize> {
    match values.iter().position(|value| value.n == fail_at) {
        Some(place) => Err(place),
        None => Ok(values),
    }
}

#[test]
fn chunks_of_a_call_that_fails_are_dropped() {
    let count = Count::default();
    let values = || (0..700).map(|n| count.value(if n % 70 == 0 { 3 } else { 5 * n })).collect::<Vec<_>>();
    // The function itself drops the chunk that fails, and with it one value whose destructor panics.
    let _ = catch_unwind(AssertUnwindSafe(|| keep_or_fail(values(), 5 * 650).err()));
    count.assert_all_dropped();
}

#[test]
fn the_result_of_one_half_is_dropped_if_the_other_one_panics() {
    let count = Count::default();
    // The destructor of 3 panics as well, on a thread that unwinds.
    for value in [3, 5] {
        for _ in 0..20 {
            let text = panic_of(|| fanfold::join(|| count.value(value), || panic!("the second half")));
            assert_eq!(text, "the second half");
            let text = panic_of(|| fanfold::join(|| panic!("the first half"), || count.value(value)));
            assert_eq!(text, "the first half");
        }
    }
    count.assert_all_dropped();
}
