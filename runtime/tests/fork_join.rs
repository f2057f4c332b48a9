//! `fanfold::join`: both closures run once, wherever it is called, and what they wait for runs, too.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{Pending, Pool, Task, as_completed, cancelled, first, join, parallel};

/// The sum of the numbers from `base` to below `base + 2^depth`, by joins.
fn sum(depth: u32, base: u64) -> u64 {
    if depth == 0 {
        return base;
    }
    let right = base + (1 << (depth - 1));
    let (a, b) = join(|| sum(depth - 1, base), || sum(depth - 1, right));
    a + b
}

const SUM: u64 = 1023 * 1024 / 2;

fn quicksort(numbers: &mut [u32]) {
    let Some(last) = numbers.len().checked_sub(1).filter(|last| *last > 0) else { return };
    let pivot = numbers[last];
    let mut place = 0;
    for index in 0..last {
        if numbers[index] < pivot {
            numbers.swap(index, place);
            place += 1;
        }
    }
    numbers.swap(place, last);
    let (left, right) = numbers.split_at_mut(place);
    join(|| quicksort(left), || quicksort(&mut right[1..]));
}

/// Waits until the pool's workers have returned their permits.
fn wait_until_idle(pool: &Pool) {
    let start = Instant::now();
    while pool.stats().busy > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", pool.stats());
        thread::yield_now();
    }
}

/// Joins two halves that meet: they run on two threads.
fn meet<T: Send>(half: impl Fn() -> T + Sync) -> (T, T) {
    let both = Barrier::new(2);
    let run = || {
        both.wait();
        half()
    };
    join(run, run)
}

#[test]
fn halves_borrow_and_return() {
    let mut numbers: Vec<u32> = (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761)).collect();
    let mut expected = numbers.clone();
    expected.sort_unstable();
    quicksort(&mut numbers);
    assert_eq!(numbers, expected);
}

#[test]
fn joins_nest_on_pools_of_any_size() {
    assert_eq!(sum(10, 0), SUM);
    for threads in [1, 2, 5] {
        let pool = Pool::cpu("nest").threads(threads).build().expect("threads start");
        let tasks: Vec<_> = (0..4).map(|_| pool.submit(|| sum(10, 0))).collect();
        for task in tasks {
            assert_eq!(task.join().expect("no panic"), SUM);
        }
    }
}

#[test]
fn halves_run_on_two_threads_of_the_pool() {
    let pool = Pool::cpu("meet").threads(2).build().expect("threads start");
    let name = || thread::current().name().map(str::to_owned).unwrap_or_default();
    for _ in 0..100 {
        let (one, other) = pool.submit(move || meet(name)).join().expect("no panic");
        assert!(one != other && one.starts_with("fanfold-meet-") && other.starts_with("fanfold-meet-"));
    }
    // Any of the pool's threads may run the task, and the other one is woken.
    let (hold, held) = mpsc::channel::<()>();
    let holding = pool.submit(move || held.recv().is_err());
    let joining = pool.submit(move || meet(name));
    drop(hold);
    let (one, other) = joining.join().expect("no panic");
    assert_ne!(one, other);
    assert!(holding.join().expect("no panic"));
}

/// Counts its drops.
struct Dropped<'a>(&'a AtomicUsize);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A half that may panic with its number. It owns a value, and returns another.
fn half<'a>(
    number: u32,
    panics: bool,
    ran: &'a AtomicUsize,
    drops: &'a AtomicUsize,
) -> impl FnOnce() -> Dropped<'a> + Send {
    let captured = Dropped(drops);
    move || {
        let (captured, result) = (captured, Dropped(drops));
        ran.fetch_add(1, Ordering::SeqCst);
        if panics {
            panic_any(number);
        }
        drop(captured);
        result
    }
}

/// Joins two halves of which some panic, where `run` runs it. Both run, everything is dropped once, and the payload is
/// that of the first half that panicked.
fn panic_in_halves(run: impl Fn(&(dyn Fn() + Sync))) {
    for (a, b) in [(true, false), (false, true), (true, true)] {
        let (ran, drops) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let expected = if a { 1 } else { 2 };
        run(&|| {
            let joined = catch_unwind(AssertUnwindSafe(|| join(half(1, a, &ran, &drops), half(2, b, &ran, &drops))));
            let payload = joined.err().expect("a half panicked");
            assert_eq!(payload.downcast_ref::<u32>(), Some(&expected));
        });
        assert_eq!((ran.into_inner(), drops.into_inner()), (2, 4));
    }
}

#[test]
fn a_panic_leaves_no_half_unfinished_and_nothing_undropped() {
    panic_in_halves(|body| body());
    for threads in [1, 2] {
        let pool = Pool::cpu("panics").threads(threads).build().expect("threads start");
        for _ in 0..20 {
            panic_in_halves(|body| fanfold::scope(|s| s.submit_on(&pool, body).join()).expect("it catches the panic"));
        }
    }
    panic_in_halves(|body| fanfold::scope(|s| s.submit_on(Pool::io_default(), body).join()).expect("as above"));
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads start");
    panic_in_halves(|body| rayon.install(body));
}

#[test]
fn a_stolen_half_panics_on_the_joining_thread() {
    let pool = Pool::cpu("stolen").threads(2).build().expect("threads start");
    let task = pool.submit(|| {
        let both = Barrier::new(2);
        let joined = catch_unwind(AssertUnwindSafe(|| {
            join(
                || both.wait(),
                || {
                    both.wait();
                    panic_any(7_u8);
                },
            )
        }));
        joined.err().and_then(|payload| payload.downcast_ref::<u8>().copied())
    });
    assert_eq!(task.join().expect("the panic is caught"), Some(7));
}

fn wait_until_cancelled() -> bool {
    while !cancelled() {
        thread::yield_now();
    }
    true
}

#[test]
fn both_halves_see_that_their_task_is_cancelled() {
    let pool = Pool::cpu("cancelled").threads(2).build().expect("threads start");
    for pool in [&pool, Pool::io_default()] {
        let (started, starts) = mpsc::channel();
        let task = pool.submit(move || {
            let started = &started;
            // From an io worker, the halves run on the default cpu pool: it may have one thread, where they do not
            // meet.
            join(
                || {
                    started.send(()).expect("it is waited for");
                    wait_until_cancelled()
                },
                wait_until_cancelled,
            )
        });
        starts.recv().expect("it starts");
        assert!(!cancelled(), "not the test's own thread");
        assert!(!task.cancel());
        assert_eq!(task.join().expect("it returns"), (true, true));
    }
    // A half that another thread has stolen, and one that waits inside of another task, see their own task only.
    let (started, starts) = mpsc::channel();
    let task = pool.submit(move || {
        meet(|| {
            started.send(()).expect("it is waited for");
            wait_until_cancelled()
        })
    });
    starts.recv().expect("one half starts");
    starts.recv().expect("the other half starts");
    task.cancel();
    assert_eq!(task.join().expect("it returns"), (true, true));
    assert_eq!(pool.submit(|| join(cancelled, cancelled)).join().expect("no panic"), (false, false));
}

#[test]
fn a_cancelled_pool_asks_both_halves_to_stop() {
    let pool = Pool::cpu("stopped").threads(2).build().expect("threads start");
    let (started, starts) = mpsc::channel();
    let task = pool.submit(move || {
        meet(|| {
            started.send(()).expect("it is waited for");
            wait_until_cancelled()
        })
    });
    starts.recv().expect("one half starts");
    starts.recv().expect("the other half starts");
    pool.shutdown(Pending::Cancel);
    assert_eq!(task.join().expect("it returns"), (true, true));
}

/// Waits for tasks of the pool in every way: those that run a task themselves, and those that do not.
fn wait_in_every_way(pool: &'static Pool) -> u32 {
    let task = || pool.submit(|| 1);
    let joined = task().join().expect("no panic");
    let some = first([task(), task()]).expect("no panic");
    let all: u32 = as_completed([task(), task()]).map(|(_, result)| result.expect("no panic")).sum();
    let scoped = fanfold::scope(|s| s.submit_on(pool, || 1).join().expect("no panic"));
    let mapped: u32 = pool.map(0..10, |_| 1).sum();
    joined + some + all + scoped + mapped
}

#[test]
fn halves_may_wait_for_tasks_of_their_pool() {
    static ONE: Pool = Pool::cpu("waits1").threads(1);
    static TWO: Pool = Pool::cpu("waits2").threads(2);
    static THREE: Pool = Pool::cpu("waits3").threads(3);

    fn tree(pool: &'static Pool, depth: u32) -> u32 {
        if depth == 0 {
            return wait_in_every_way(pool);
        }
        let (a, b) = join(|| tree(pool, depth - 1), || tree(pool, depth - 1));
        a + b
    }
    for pool in [&ONE, &TWO, &THREE] {
        let tasks: Vec<Task<u32>> = (0..20).map(|_| pool.submit(|| tree(pool, 3))).collect();
        for task in tasks {
            assert_eq!(task.join().expect("no panic"), 8 * 15);
        }
    }
    // Both halves run, on both threads, and then wait for a task that neither of them runs itself.
    for _ in 0..20 {
        // While a thread of an earlier task has its permit still, both halves may run in turn on another one.
        wait_until_idle(&TWO);
        let both = TWO.submit(|| meet(|| first([TWO.submit(|| 3)]).expect("no panic")));
        assert_eq!(both.join().expect("no panic"), (3, 3));
    }
    for pool in [&ONE, &TWO, &THREE] {
        wait_until_idle(pool);
    }
}

#[test]
fn a_pool_is_shut_down_while_halves_run() {
    let pool = Pool::cpu("ends").threads(2).build().expect("threads start");
    let tasks: Vec<_> = (0..50).map(|_| pool.submit(|| sum(10, 0))).collect();
    pool.shutdown(Pending::Run);
    for task in tasks {
        assert_eq!(task.join().expect("it was queued before"), SUM);
    }
}

#[test]
fn a_spare_thread_shares_its_halves() {
    static POOL: Pool = Pool::cpu("spare").threads(2);
    let gate = Arc::new(Barrier::new(3));
    let both = Arc::new(Barrier::new(3));
    // Both of rayon's threads run one of these, and block: `first` does not run a task itself.
    let blocked: Vec<_> = (0..2)
        .map(|_| {
            let (gate, both) = (Arc::clone(&gate), Arc::clone(&both));
            POOL.submit(move || {
                both.wait();
                first([Pool::io_default().submit(move || gate.wait())]).expect("no panic");
            })
        })
        .collect();
    both.wait();
    wait_until_idle(&POOL);
    let name = || thread::current().name().map(str::to_owned).unwrap_or_default();
    let (one, other) = POOL.submit(move || meet(name)).join().expect("no panic");
    gate.wait();
    for task in blocked {
        task.join().expect("no panic");
    }
    assert_ne!(one, other);
    for name in [one, other] {
        assert!(name.starts_with("fanfold-spare-") && !name.ends_with("-0") && !name.ends_with("-1"), "{name}");
    }
}

#[test]
fn any_thread_may_join() {
    assert_eq!(Pool::io_default().submit(|| sum(10, 0)).join().expect("no panic"), SUM);
    let (global, ()) = rayon::join(|| sum(10, 0), || ());
    assert_eq!(global, SUM);
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads start");
    assert_eq!(rayon.install(|| sum(10, 0)), SUM);
    // On the calling thread, and on the helpers of the map.
    let sums: Vec<u64> = Pool::cpu_default().map(0..50, |_| sum(10, 0)).collect();
    assert!(sums.iter().all(|sum| *sum == SUM));
    // A worker that runs the task of another pool on a borrowed permit.
    let other = Arc::new(Pool::cpu("lender").threads(1).build().expect("threads start"));
    let lent = Pool::cpu_default().submit(move || other.submit(|| sum(10, 0)).join());
    assert_eq!(lent.join().expect("no panic").expect("no panic"), SUM);
}

#[test]
fn hooks_and_destructors_may_join() {
    static IN_HOOK: AtomicUsize = AtomicUsize::new(0);
    static AT_EXIT: AtomicUsize = AtomicUsize::new(0);

    fn check(count: &AtomicUsize) {
        count.fetch_add(usize::from(sum(10, 0) == SUM), Ordering::SeqCst);
    }
    struct JoinsOnDrop;
    impl Drop for JoinsOnDrop {
        fn drop(&mut self) {
            check(&AT_EXIT);
        }
    }
    thread_local!(static LAST: JoinsOnDrop = const { JoinsOnDrop });

    let pool = Pool::cpu("hooked").threads(2).on_start(|| check(&IN_HOOK)).on_stop(|| check(&IN_HOOK));
    let pool = pool.build().expect("threads start");
    pool.submit(|| LAST.with(|_| ())).join().expect("no panic");
    drop(pool);
    thread::spawn(|| LAST.with(|_| ())).join().expect("no panic");
    assert_eq!(IN_HOOK.load(Ordering::SeqCst), 4);
    // Of the pool's threads, the one that ran the task; its destructors run after the pool was dropped, at any time.
    assert!(AT_EXIT.load(Ordering::SeqCst) >= 1);
}

#[parallel(kind = "cpu", timeout = "20ms")]
fn late() -> Result<u32, fanfold::TaskError> {
    let (a, b) = join(
        || {
            while !cancelled() {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(5));
            1
        },
        || 2,
    );
    Ok(a + b)
}

#[test]
fn a_time_limit_may_pass_inside_of_a_half() {
    for _ in 0..5 {
        assert!(matches!(late(), Err(fanfold::TaskError::TimedOut { .. })));
    }
    assert_eq!(sum(10, 0), SUM);
}

/// Runs one of the tests below in a process of its own.
fn run_alone(test: &str, variable: (&str, &str)) {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    child.args([test, "--exact", "--ignored", "--nocapture"]).env(variable.0, variable.1);
    let output = child.output().expect("this program starts again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn without_a_pool_both_halves_run_on_the_calling_thread() {
    run_alone("serial_mode", ("FANFOLD_SERIAL", "1"));
    run_alone("closed_default_pool", ("FANFOLD_CPU_THREADS", "2"));
    #[cfg(unix)]
    run_alone("forked_child", ("FANFOLD_CPU_THREADS", "2"));
}

fn runs_here() -> bool {
    let here = thread::current().id();
    let on = || thread::current().id();
    join(on, on) == (here, here) && sum(10, 0) == SUM
}

#[test]
#[ignore = "run by `without_a_pool_both_halves_run_on_the_calling_thread`"]
fn serial_mode() {
    assert!(runs_here());
    assert!(Pool::io_default().submit(runs_here).join().expect("no panic"));
    panic_in_halves(|body| body());
}

#[test]
#[ignore = "run by `without_a_pool_both_halves_run_on_the_calling_thread`"]
fn closed_default_pool() {
    assert!(!runs_here(), "the pool runs them");
    Pool::cpu_default().shutdown(Pending::Run);
    assert!(runs_here());
    panic_in_halves(|body| body());
}

#[test]
#[cfg(unix)]
#[ignore = "run by `without_a_pool_both_halves_run_on_the_calling_thread`"]
fn forked_child() {
    /// Runs `child` in a forked child, which ends with its answer, or by returning from `child` otherwise.
    fn in_child(child: impl FnOnce() -> bool) -> i32 {
        // SAFETY: the child only calls the library and then `_exit`; it runs no other code of the parent.
        let id = unsafe { libc::fork() };
        if id == 0 {
            let is_right = child();
            // SAFETY: ends the child without running the parent's destructors.
            unsafe { libc::_exit(i32::from(!is_right)) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid for the write.
        assert_eq!(unsafe { libc::waitpid(id, &raw mut status, 0) }, id);
        assert!(libc::WIFEXITED(status));
        libc::WEXITSTATUS(status)
    }
    assert_eq!(sum(10, 0), SUM);
    assert_eq!(in_child(runs_here), 0);
    // A child of a worker, inside of a half.
    let forks = Pool::cpu_default().submit(|| join(|| in_child(runs_here), || in_child(runs_here)));
    assert_eq!(forks.join().expect("no panic"), (0, 0));
    assert_eq!(sum(10, 0), SUM, "the parent continues");
}
