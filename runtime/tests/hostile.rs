//! Misbehaving user code: destructors, wakers and initializers that panic, wrong sizes, and ranges without an end.
//! Nothing hangs, and no worker is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};

use fanfold::{Pool, Split, parallel};

/// A value whose destructor panics, unless that would abort the process.
struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a destructor panics");
    }
}

static IO: Pool = Pool::io("one_thread").threads(1);
static CPU: Pool = Pool::cpu("one_thread").threads(1);

#[test]
fn payloads_that_panic_when_dropped_do_not_hang_a_map() {
    static TWO: Pool = Pool::io("payloads").threads(2);
    let both = Barrier::new(2);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        TWO.map(0..2, |_| {
            both.wait();
            std::panic::panic_any(PanicsOnDrop);
        })
        .for_each(drop);
    }));
    std::mem::forget(caught.expect_err("both panic"));
    assert_eq!(TWO.submit(|| 7).join().expect("no panic"), 7);
}

#[test]
fn a_result_that_panics_when_dropped_loses_no_worker() {
    for pool in [&IO, &CPU] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (detach, detached) = std::sync::mpsc::channel::<()>();
        let task = pool.submit(move || {
            // Waits until the handle is dropped, so that the worker drops the result.
            let _ = detached.recv();
            PanicsOnDrop
        });
        task.on_done(move |_| sender.send(()).expect("the test listens"));
        drop(task);
        drop(detach);
        receiver.recv().expect("it runs");
        assert_eq!(pool.submit(|| 7).join().expect("no panic"), 7);
        assert_eq!(pool.map(0..10, |n| n).collect::<Vec<u32>>(), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn a_waker_that_panics_loses_no_worker() {
    struct PanickingWaker;
    impl Wake for PanickingWaker {
        fn wake(self: Arc<Self>) {
            panic!("a waker panics");
        }
    }
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut task = std::pin::pin!(IO.submit(move || released.recv().is_ok()));
    let waker = Waker::from(Arc::new(PanickingWaker));
    assert!(std::future::Future::poll(task.as_mut(), &mut Context::from_waker(&waker)).is_pending());
    release.send(()).expect("it waits");
    assert_eq!(IO.submit(|| 7).join().expect("no panic"), 7);
}

#[test]
fn the_first_task_may_be_joined_in_a_destructor_during_a_panic() {
    struct JoinsOnDrop;
    impl Drop for JoinsOnDrop {
        fn drop(&mut self) {
            assert_eq!(Pool::io_default().submit(|| 7).join().expect("no panic"), 7);
        }
    }
    let caught = std::panic::catch_unwind(|| {
        Pool::cpu_default()
            .map(0..1, |_| {
                let _joins = JoinsOnDrop;
                panic!("while it holds what joins");
            })
            .for_each(drop);
    });
    assert!(caught.is_err());
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn a_failure_ends_a_map_over_an_enormous_range() {
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
fn expensive_items_after_cheap_ones_are_distributed() {
    if std::thread::available_parallelism().map_or(1, std::num::NonZero::get) < 2 {
        return;
    }
    // Two of the last items wait for each other, so one thread alone would hang.
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
fn a_named_cpu_pool_distributes_few_items() {
    static TWO: Pool = Pool::cpu("few").threads(2);
    // The last items wait for each other. The first ones give no sign of their cost.
    let both = Barrier::new(2);
    let names = TWO.map(0..200_u32, |n| {
        if n >= 198 {
            both.wait();
        }
        std::thread::current().name().map(String::from)
    });
    let names: std::collections::HashSet<_> = names.chunk_size(1).collect();
    assert!(names.iter().flatten().all(|name| name.starts_with("fanfold-few-")), "{names:?}");
    // The first items are long enough to be worth distributing; the others wait until a second worker has arrived.
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
fn io_items_run_concurrently_inside_an_io_worker() {
    static FOUR: Pool = Pool::io("inside").threads(4);
    let all = Arc::new(Barrier::new(4));
    // Four items at a time wait for each other.
    let inside = FOUR.submit(move || FOUR.map(0..40_u32, |n| all.wait().is_leader().then_some(n)).collect::<Vec<_>>());
    assert_eq!(inside.join().expect("no panic").into_iter().flatten().count(), 10);
}

#[test]
fn a_split_with_missing_pieces_panics_with_the_reason() {
    #[derive(Clone)]
    struct NoPieces(Vec<u32>);
    impl Split for NoPieces {
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
    fn lost(empty: NoPieces) -> Vec<u32> {
        empty.0
    }
    #[parallel(kind = "cpu", chunks = 4)]
    fn with_numbers(#[chunk] numbers: &[u32], #[chunk] empty: NoPieces) -> Vec<u32> {
        [numbers, &empty.0].concat()
    }
    let empty = NoPieces(vec![1, 2, 3, 4]);
    let caught = [
        std::panic::catch_unwind(|| lost(empty.clone())),
        std::panic::catch_unwind(|| with_numbers(&[1, 2, 3, 4], empty.clone())),
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

/// Waits for a task in its destructor, and then panics.
struct WaitsOnDrop;

impl Drop for WaitsOnDrop {
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
    static WITH_STATE: Pool = Pool::io("with_state").threads(1);

    #[parallel(kind = "io", pool = WITH_STATE, init = make_state)]
    fn use_state(#[worker] _state: &mut WaitsOnDrop) -> u32 {
        1
    }

    fn make_state() -> WaitsOnDrop {
        WaitsOnDrop
    }

    assert_eq!(use_state(), 1);
    WITH_STATE.shutdown(fanfold::Pending::Run);
    assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
#[cfg_attr(windows, ignore = "Windows runs these destructors under its loader lock, so no thread starts meanwhile")]
fn the_destructor_of_a_thread_local_may_wait() {
    struct WaitsAtThreadEnd;

    impl Drop for WaitsAtThreadEnd {
        fn drop(&mut self) {
            let (send, receive) = std::sync::mpsc::channel();
            let task = Pool::io_default().submit(move || receive.recv());
            // The task panics, so the panic hook runs, and this thread sleeps until the task has ended.
            let panicking = Pool::io_default().submit(move || send.send(()).map(|()| panic!("on purpose")));
            assert!(panicking.join().is_err_and(|error| error.to_string().contains("on purpose")));
            assert!(task.join().is_ok());
            AT_END.fetch_add(
                Pool::cpu_default().map(0..1_000_000_usize, |n| n).collect::<Vec<_>>().len(),
                Ordering::Relaxed,
            );
        }
    }

    static AT_END: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static LOCAL: WaitsAtThreadEnd = const { WaitsAtThreadEnd });

    let thread = std::thread::spawn(|| {
        // Initialized first, so that it is dropped after the thread-locals that waiting creates.
        LOCAL.with(|_| ());
        Pool::io_default().submit(|| ()).join().expect("no panic");
    });
    thread.join().expect("no panic");
    assert_eq!(AT_END.load(Ordering::Relaxed), 1_000_000);
}
