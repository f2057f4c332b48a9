//! Maps over iterators that give their items slowly, wait for results, panic, lie about their length or never end.

use std::iter::from_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fanfold::{Pending, Pool};

static IO: Pool = Pool::io("slow-io").threads(2);
static CPU: Pool = Pool::cpu("slow-cpu").threads(3);
static ONE: Pool = Pool::cpu("slow-one").threads(1);

fn pools() -> [&'static Pool; 4] {
    [&IO, &CPU, &ONE, Pool::cpu_default()]
}

/// By then a wait counts as hung.
const HUNG: Duration = Duration::from_secs(45);

/// Gives `bursts` times `size` items, and after each burst waits until all its items have run.
fn bursts(bursts: usize, size: usize, ran: &Receiver<usize>) -> impl Iterator<Item = usize> {
    let mut given = 0;
    from_fn(move || {
        if given > 0 && given % size == 0 {
            for _ in 0..size {
                ran.recv_timeout(HUNG).expect("an item that was given runs while the producer waits");
            }
        }
        given += 1;
        (given <= bursts * size).then_some(given - 1)
    })
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn a_producer_may_wait_for_the_results_of_its_items() {
    for pool in pools() {
        for (count, size) in [(300, 1), (30, 2), (5, 700), (3, 3_000)] {
            let (sender, ran) = mpsc::channel();
            let run = |n: usize| {
                sender.send(n).expect("the producer lives");
                n
            };
            let results: Vec<_> = pool.map(bursts(count, size, &ran), run).collect();
            assert!(results.into_iter().eq(0..count * size));
            while ran.try_recv().is_ok() {}
            pool.map(bursts(count, size, &ran), run).for_each(|_| ());
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn a_producer_may_wait_for_results_on_the_only_worker() {
    for pool in [&ONE, &CPU] {
        let task = pool.submit(move || {
            let (sender, ran) = mpsc::channel();
            let results: Vec<_> = pool.map(bursts(20, 50, &ran), |n| sender.send(n).is_ok()).collect();
            results.len()
        });
        assert_eq!(task.join().expect("it does not panic"), 1_000);
    }
}

#[test]
fn an_item_runs_before_the_next_one_is_sent() {
    for pool in pools() {
        let (items, source) = mpsc::channel();
        let (sender, ran) = mpsc::channel();
        let producer = thread::spawn(move || {
            for n in 0..100 {
                items.send(n).expect("the map lives");
                assert_eq!(ran.recv_timeout(HUNG), Ok(n));
            }
        });
        let run = |n: u32| sender.send(n).is_ok();
        assert_eq!(pool.map(source.into_iter(), run).collect::<Vec<_>>().len(), 100);
        producer.join().expect("every item has run");
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn folds_of_a_slow_producer_are_those_of_a_fast_one() {
    for pool in pools() {
        let inverse = |n: u32| 1.0 / f64::from(n + 1);
        let fast = || (0..3_000).filter(|_| true);
        let slow = || {
            fast().inspect(|n| {
                if n % 50 == 7 {
                    thread::sleep(Duration::from_micros(300));
                }
            })
        };
        let add = |a: f64, b: f64| a + b;
        let expected: f64 = pool.map(fast(), inverse).sum();
        assert_eq!(pool.map(slow(), inverse).sum::<f64>().to_bits(), expected.to_bits());
        assert_eq!(pool.map(slow(), inverse).reduce(|| 0.0, add).to_bits(), expected.to_bits());
        let expected = pool.map(fast(), inverse).fold(|| 0.0, add).reduce(add);
        assert_eq!(pool.map(slow(), inverse).fold(|| 0.0, add).reduce(add).to_bits(), expected.to_bits());
        let words: Vec<_> = pool.map(slow(), |n| n.to_string()).collect();
        assert!(words.into_iter().eq((0..3_000).map(|n| n.to_string())));
    }
}

/// A value that is counted while it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(live))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn the_panic_of_a_producer_is_resumed_and_nothing_leaks() {
    for pool in pools() {
        for fails_at in [0, 1, 2, 50, 1_024, 5_000] {
            for slow in [false, true] {
                let live = Arc::new(AtomicUsize::new(0));
                let running = AtomicUsize::new(0);
                let items = (0..).map(|n| {
                    if n == fails_at {
                        resume_unwind(Box::new("the producer"));
                    }
                    if slow && n % 100 == 0 {
                        thread::sleep(Duration::from_micros(200));
                    }
                    Counted::new(&live)
                });
                let run = |item: Counted| {
                    running.fetch_add(1, Ordering::Relaxed);
                    let result = (Counted::new(&item.0), item);
                    running.fetch_sub(1, Ordering::Relaxed);
                    result
                };
                let ended = catch_unwind(AssertUnwindSafe(|| pool.map(items, run).collect::<Vec<_>>()));
                let Err(payload) = ended else { panic!("the producer panics") };
                assert_eq!(payload.downcast_ref::<&str>(), Some(&"the producer"));
                assert_eq!((live.load(Ordering::Relaxed), running.load(Ordering::Relaxed)), (0, 0));
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn a_failure_ends_a_map_over_endless_items() {
    for pool in pools() {
        for fails_at in [0, 1, 70, 3_000] {
            let live = Arc::new(AtomicUsize::new(0));
            let items = || (0_u64..).map(|n| (n, Counted::new(&live)));
            let run = |(n, item): (u64, Counted)| if n >= fails_at { Err(n) } else { Ok(item) };
            let Err(first) = pool.map(items(), run).collect::<Result<Vec<_>, _>>() else { panic!("it fails") };
            assert_eq!((first, live.load(Ordering::Relaxed)), (fails_at, 0));
            let run = |(n, item): (u64, Counted)| {
                if n >= fails_at {
                    resume_unwind(Box::new("the function"));
                }
                item
            };
            let ended = catch_unwind(AssertUnwindSafe(|| pool.map(items(), run).for_each(drop)));
            let payload = ended.expect_err("it panics");
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"the function"));
            assert_eq!(live.load(Ordering::Relaxed), 0);
        }
    }
}

/// An iterator with a wrong `size_hint`.
struct Lying<I>(I, (usize, Option<usize>));

impl<I: Iterator> Iterator for Lying<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.1
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn a_wrong_size_hint_changes_nothing() {
    let hints = [(0, Some(0)), (5, Some(5)), (1_000_000, Some(1_000_000)), (0, None), (usize::MAX, None), (9, Some(3))];
    for pool in pools() {
        for hint in hints {
            for items in [0, 1, 10, 3_000_u64] {
                let source = || Lying(0..items, hint);
                assert!(pool.map(source(), |n| n).collect::<Vec<_>>().into_iter().eq(0..items));
                assert_eq!(pool.map(source(), |n| n).sum::<u64>(), (0..items).sum::<u64>());
                let seen = Mutex::new(Vec::new());
                pool.map(source(), |n| n).for_each(|n| seen.lock().expect("no panic").push(n));
                let mut seen = seen.into_inner().expect("no panic");
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..items));
            }
        }
    }
}

#[test]
fn a_pool_that_is_closed_before_the_first_item_runs_none() {
    for pool in [Pool::cpu("slow-closed"), Pool::io("slow-closed-io")] {
        let pool = pool.threads(1).build().expect("threads start");
        let live = Arc::new(AtomicUsize::new(0));
        let items = (0..10).map(|n| {
            if n == 0 {
                pool.shutdown(Pending::Cancel);
            }
            Counted::new(&live)
        });
        let run = |item: Counted| drop(item);
        let payload =
            catch_unwind(AssertUnwindSafe(|| pool.map(items, run).for_each(|()| ()))).expect_err("it is closed");
        let text = payload.downcast_ref::<String>().expect("a text");
        assert!(text.contains("its pool was closed"), "{text}");
        assert_eq!(live.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_producer_may_close_the_pool_of_its_map() {
    for new_pool in [Pool::cpu as fn(&'static str) -> Pool, Pool::io] {
        for (threads, pending) in [(1, Pending::Run), (2, Pending::Run), (1, Pending::Cancel), (2, Pending::Cancel)] {
            let pool = new_pool("slow-closing").threads(threads).build().expect("threads start");
            let live = Arc::new(AtomicUsize::new(0));
            let (ran, runs) = mpsc::channel();
            let items = (0..10).map(|n| {
                if n == 3 {
                    // By then a helper has run an item, and waits for more inside of the map.
                    runs.recv_timeout(Duration::from_secs(20)).expect("an item runs while the iterator goes on");
                    pool.shutdown(pending);
                }
                Counted::new(&live)
            });
            let run = |item: Counted| {
                drop(item);
                ran.send(()).expect("the iterator has not ended");
            };
            // Either the workers run all items, or the map says that its pool was closed.
            let ended = catch_unwind(AssertUnwindSafe(|| pool.map(items, run).for_each(|()| ())));
            if let Err(payload) = ended {
                let text = payload.downcast_ref::<String>().expect("a text");
                assert!(text.contains("its pool was closed"), "{text}");
            }
            assert_eq!(live.load(Ordering::Relaxed), 0);
        }
    }
}

/// Maps two items when it is dropped, and sends their sum. The second item is still waiting when the iterator ends.
struct MapsWhenDropped<'a>(&'a Pool, mpsc::Sender<u64>);

impl Drop for MapsWhenDropped<'_> {
    fn drop(&mut self) {
        let (end, ended) = mpsc::channel();
        let ended = Mutex::new(ended);
        let mut numbers = 1..=2;
        let items = from_fn(move || numbers.next().or_else(|| end.send(()).map_or(None, |()| None)));
        let run = |n: u64| {
            if n == 1 {
                let ended = ended.lock().expect("no panic");
                ended.recv_timeout(Duration::from_secs(20)).expect("the iterator ends");
            }
            n
        };
        let sum = self.0.map(items, run).collect::<Vec<_>>().iter().sum();
        self.1.send(sum).expect("the test waits");
    }
}

#[test]
fn a_map_that_a_destructor_runs_during_a_panic_runs_all_items() {
    for pool in [Pool::cpu("slow-unwinding"), Pool::io("slow-unwinding-io")] {
        let pool = pool.threads(1).build().expect("threads start");
        let (sender, sums) = mpsc::channel();
        let maps = MapsWhenDropped(&pool, sender);
        let ended = catch_unwind(AssertUnwindSafe(move || {
            let _maps = maps;
            resume_unwind(Box::new("the panic"));
        }));
        assert_eq!(ended.expect_err("it panics").downcast_ref::<&str>(), Some(&"the panic"));
        assert_eq!(sums.recv().expect("the destructor ran"), 3);
    }
}
