//! What users' code may do to the workers: destructors, wakers and initial panics that panic, sizes that lie, ranges
//! without an end. Nothing hangs, and every worker is still there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};

use fanfold::{Pool, Split, parallel};

/// Panics when dropped, unless that would end the process.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a destructor panics");
    }
}

static IO: Pool = Pool::io("bombed").threads(1);
static CPU: Pool = Pool::cpu("bombed").threads(1);

#[test]
fn payloads_that_panic_when_dropped_do_not_hang_a_map() {
    static TWO: Pool = Pool::io("payloads").threads(2);
    let both = Barrier::new(2);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        TWO.map(0..2, |_| {
            both.wait();
            std::panic::panic_any(Bomb);
        })
        .for_each(drop);
    }));
    std::mem::forget(caught.expect_err("both panic"));
    assert_eq!(TWO.submit(|| 7).join().expect("no panic"), 7);
}

#[test]
fn a_result_that_panics_when_dropped_costs_no_worker() {
    for pool in [&IO, &CPU] {
        let (told, tells) = std::sync::mpsc::channel();
        let (detached, detaches) = std::sync::mpsc::channel::<()>();
        let task = pool.submit(move || {
            // Not before: the last one to hold the result is to be the worker.
            let _ = detaches.recv();
            Bomb
        });
        task.on_done(move |_| told.send(()).expect("the test listens"));
        drop(task);
        drop(detached);
        tells.recv().expect("it runs");
        assert_eq!(pool.submit(|| 7).join().expect("no panic"), 7);
        assert_eq!(pool.map(0..10, |n| n).collect::<Vec<u32>>(), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn a_waker_that_panics_costs_no_worker() {
    struct Angry;
    impl Wake for Angry {
        fn wake(self: Arc<Self>) {
            panic!("a waker panics");
        }
    }
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut task = std::pin::pin!(IO.submit(move || released.recv().is_ok()));
    let waker = Waker::from(Arc::new(Angry));
    assert!(std::future::Future::poll(task.as_mut(), &mut Context::from_waker(&waker)).is_pending());
    release.send(()).expect("it waits");
    assert_eq!(IO.submit(|| 7).join().expect("no panic"), 7);
}

#[test]
fn the_first_task_may_be_joined_while_a_worker_panics() {
    struct Joins;
    impl Drop for Joins {
        fn drop(&mut self) {
            assert_eq!(Pool::io_default().submit(|| 7).join().expect("no panic"), 7);
        }
    }
    let caught = std::panic::catch_unwind(|| {
        Pool::cpu_default()
            .map(0..1, |_| {
                let _joins = Joins;
                panic!("while it holds what joins");
            })
            .for_each(drop);
    });
    assert!(caught.is_err());
}

#[test]
#[cfg_attr(miri, ignore = "takes it hours")]
fn a_failure_ends_a_map_over_a_range_longer_than_memory() {
    #[parallel(kind = "cpu")]
    fn below(n: u64) -> Result<u64, u64> {
        if n < 100 { Ok(n) } else { Err(n) }
    }
    assert_eq!(below::map(0..u64::MAX).collect::<Result<Vec<_>, _>>(), Err(100));
    assert_eq!(below::map(0..10_000_000_000).collect::<Result<Vec<_>, _>>(), Err(100));
    let all: Result<Vec<u64>, u64> = Pool::cpu_default().map(0..3_000_000, Ok).collect();
    assert_eq!(all.map(|all| all.len()), Ok(3_000_000));
}

#[test]
fn expensive_items_behind_cheap_ones_are_shared() {
    if std::thread::available_parallelism().map_or(1, std::num::NonZero::get) < 2 {
        return;
    }
    // Two of the last items wait for each other: one thread alone would never get past.
    let both = Barrier::new(2);
    let waits = AtomicUsize::new(0);
    Pool::cpu_default()
        .map(0..600_u32, |n| {
            if n >= 100 && waits.fetch_add(1, Ordering::SeqCst) < 2 {
                both.wait();
            }
        })
        .chunk_size(1)
        .for_each(drop);
    assert!(waits.into_inner() >= 2);
}

#[test]
fn a_named_cpu_pool_shares_few_items_as_well() {
    static TWO: Pool = Pool::cpu("few").threads(2);
    // The last items wait for each other, and the first ones say nothing of them.
    let both = Barrier::new(2);
    let names = TWO.map(0..200_u32, |n| {
        if n >= 198 {
            both.wait();
        }
        std::thread::current().name().map(String::from)
    });
    let names: std::collections::HashSet<_> = names.chunk_size(1).collect();
    assert!(names.iter().flatten().all(|name| name.starts_with("fanfold-few-")), "{names:?}");
    // The first ones are long enough to be worth sharing; the others go on when a second worker has come.
    let seen = std::sync::Mutex::new(std::collections::HashSet::new());
    TWO.map(0..64_u32, |n| {
        let spin = std::time::Instant::now();
        while spin.elapsed() < std::time::Duration::from_micros(300) {
            std::hint::spin_loop();
        }
        seen.lock().expect("no panic").insert(std::thread::current().id());
        while n >= 8 && seen.lock().expect("no panic").len() < 2 {
            std::thread::yield_now();
        }
    })
    .for_each(drop);
}

#[test]
fn io_items_run_at_the_same_time_from_inside_an_io_worker_as_well() {
    static FOUR: Pool = Pool::io("inside").threads(4);
    let all = Arc::new(Barrier::new(4));
    // Four items at a time wait for each other.
    let inside = FOUR.submit(move || FOUR.map(0..40_u32, |n| all.wait().is_leader().then_some(n)).collect::<Vec<_>>());
    assert_eq!(inside.join().expect("no panic").into_iter().flatten().count(), 10);
}

#[test]
fn a_split_that_lies_about_its_pieces_is_told_so() {
    #[derive(Clone)]
    struct Liar(Vec<u32>);
    impl Split for Liar {
        fn size(&self) -> usize {
            self.0.len()
        }
        fn cut(self, _: usize) -> (Self, Self) {
            (self.clone(), self)
        }
        fn cut_all(self, _: &[usize]) -> Vec<Self> {
            vec![]
        }
    }
    #[parallel(kind = "cpu", chunks = 4)]
    fn lost(liar: Liar) -> Vec<u32> {
        liar.0
    }
    #[parallel(kind = "cpu", chunks = 4)]
    fn beside(#[chunk] numbers: &[u32], #[chunk] liar: Liar) -> Vec<u32> {
        [numbers, &liar.0].concat()
    }
    let liar = Liar(vec![1, 2, 3, 4]);
    let caught = [
        std::panic::catch_unwind(|| lost(liar.clone())),
        std::panic::catch_unwind(|| beside(&[1, 2, 3, 4], liar.clone())),
    ];
    for caught in caught {
        let payload = caught.expect_err("pieces are missing");
        let message = payload.downcast_ref::<String>().expect("a message");
        assert!(
            message.contains("`Split::cut_all` gave 0 pieces") || message.contains("and 0 of another"),
            "{message}"
        );
    }
}

/// Waits for a task when it is dropped, and then panics.
struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        let squares: u64 = Pool::cpu_default().map(0..10_u64, |n| n * n).sum();
        let answer = Pool::io_default().submit(move || squares).join().expect("no panic");
        DROPPED.fetch_add(usize::from(answer == 285), Ordering::Relaxed);
        assert!(std::thread::panicking(), "a destructor panics");
    }
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn state_may_wait_and_panic_when_its_worker_ends() {
    static KEEPS: Pool = Pool::io("keeps").threads(1);

    #[parallel(kind = "io", pool = KEEPS, init = last)]
    fn keep(#[worker] _last: &mut Last) -> u32 {
        1
    }

    fn last() -> Last {
        Last
    }

    assert_eq!(keep(), 1);
    KEEPS.shutdown(fanfold::Pending::Run);
    assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
}

#[test]
#[cfg_attr(miri, ignore = "takes it hours")]
fn the_destructor_of_a_thread_local_may_wait() {
    struct AtEnd;

    impl Drop for AtEnd {
        fn drop(&mut self) {
            let (send, receive) = std::sync::mpsc::channel();
            let task = Pool::io_default().submit(move || receive.recv());
            // It panics, which the hook hears of; and whoever waits sleeps until then.
            let late = Pool::io_default().submit(move || send.send(()).map(|()| panic!("as it should")));
            assert!(late.join().is_err_and(|error| error.to_string().contains("as it should")));
            assert!(task.join().is_ok());
            AT_END.fetch_add(
                Pool::cpu_default().map(0..1_000_000_usize, |n| n).collect::<Vec<_>>().len(),
                Ordering::Relaxed,
            );
        }
    }

    static AT_END: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static LOCAL: AtEnd = const { AtEnd });

    let thread = std::thread::spawn(|| {
        // First, so that it is dropped after what waiting makes.
        LOCAL.with(|_| ());
        Pool::io_default().submit(|| ()).join().expect("no panic");
    });
    thread.join().expect("no panic");
    assert_eq!(AT_END.load(Ordering::Relaxed), 1_000_000);
}
