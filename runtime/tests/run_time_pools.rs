//! `name::on(&pool)`: annotated functions on a pool that is chosen at run time.

use std::cell::Cell;
use std::path::Path;
use std::thread;

use fanfold::{Pool, TaskError, parallel};

fn name() -> String {
    thread::current().name().unwrap_or("?").to_owned()
}

#[parallel(kind = "io")]
fn worker() -> String {
    name()
}

#[parallel(kind = "cpu")]
fn add(a: u32, b: u32) -> (String, u32) {
    (name(), a + b)
}

#[parallel(kind = "io")]
fn components(path: &Path) -> (String, usize) {
    (name(), path.components().count())
}

#[parallel(kind = "cpu")]
fn largest<T: Ord + Send, const N: usize>(values: [T; N], describe: impl Fn(T) -> String + Send) -> Option<String> {
    assert!(name().contains("chosen"));
    values.into_iter().max().map(describe)
}

#[parallel(kind = "cpu", chunks = 3)]
#[allow(clippy::needless_pass_by_value, reason = "each chunk gets a clone")]
fn names(numbers: &[u32], more: String) -> Vec<String> {
    numbers.iter().map(|_| name() + &more).collect()
}

#[parallel(kind = "io", timeout = "20ms")]
fn limited(n: u32) -> Result<String, TaskError> {
    while n == 1 && !fanfold::cancelled() {
        thread::yield_now();
    }
    Ok(name())
}

fn state() -> Cell<u32> {
    Cell::new(0)
}

#[parallel(kind = "io", init = state)]
fn count(#[worker] calls: &mut Cell<u32>, by: u32) -> (String, u32) {
    calls.set(calls.get() + by);
    (name(), calls.get())
}

#[parallel(kind = "cpu", retries = 2, backoff = "1ms")]
fn fails(n: u32) -> Result<String, String> {
    Err(format!("{n} on {}", name()))
}

fn pools() -> [Pool; 2] {
    [Pool::io("chosen"), Pool::cpu("chosen")].map(|pool| pool.threads(2).build().expect("threads start"))
}

fn is_chosen(name: &str) -> bool {
    name.starts_with("fanfold-chosen-")
}

#[test]
fn functions_of_any_arguments_run_on_the_chosen_pool() {
    for pool in &pools() {
        assert!(is_chosen(&worker::on(pool).call()));
        assert!(is_chosen(&worker::on(pool).submit().join().expect("no panic")));
        assert!(worker::on(pool).map([(); 5]).collect::<Vec<_>>().iter().all(|name| is_chosen(name)));

        let (name, sum) = add::on(pool).call(1, 2);
        assert!(is_chosen(&name) && sum == 3);
        assert_eq!(add::on(pool).submit(3, 4).join().expect("no panic").1, 7);
        let sums: Vec<_> = add::on(pool).map([(1, 2), (3, 4)]).collect();
        assert!(sums.iter().all(|(name, _)| is_chosen(name)));
        assert_eq!(sums.iter().map(|(_, sum)| *sum).collect::<Vec<_>>(), [3, 7]);
        assert_eq!(add::on(pool).map((0..10).map(|n| (n, n))).into_iter().map(|(_, sum)| sum).sum::<u32>(), 90);

        assert_eq!(largest::on(pool).call(["b", "c", "a"], str::to_owned), Some("c".to_owned()));
        assert_eq!(
            largest::on(pool).submit([1, 3, 2], |n| n.to_string()).join().expect("no panic"),
            Some("3".to_owned())
        );
    }
    let in_place = || pools()[0].install(|| largest([1, 2], |n| n.to_string()));
    assert!(std::panic::catch_unwind(in_place).is_err(), "the direct call runs on the function's own pool");
    assert!(!is_chosen(&worker()), "other calls run on the function's own pool");
}

#[test]
fn calls_and_maps_may_borrow_and_tasks_take_static_references() {
    for pool in &pools() {
        let path = "a/b/c".to_owned();
        let (name, count) = components::on(pool).call(Path::new(&path));
        assert!(is_chosen(&name) && count == 3);
        let paths = [Path::new(&path), Path::new("/")];
        let counts: Vec<_> = components::on(pool).map(paths).collect();
        assert_eq!(counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(components::on(pool).submit(Path::new("a/b")).join().expect("no panic").1, 2);
    }
}

#[test]
fn options_hold_on_the_chosen_pool() {
    for pool in &pools() {
        let all = names::on(pool).call(&[1, 2, 3, 4], "!".to_owned());
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|name| is_chosen(name) && name.ends_with('!')), "{all:?}");
        let all = names::on(pool).submit(&[1, 2], String::new()).join().expect("no panic");
        assert!(all.iter().all(|name| is_chosen(name)), "{all:?}");

        assert!(is_chosen(&limited::on(pool).call(0).expect("it is quick")));
        assert!(matches!(limited::on(pool).call(1), Err(TaskError::TimedOut { .. })));
        assert!(matches!(limited::on(pool).submit(1).join(), Err(TaskError::TimedOut { .. })));
        let results: Vec<_> = limited::on(pool).map([0, 1, 0]).collect();
        assert!(matches!(&results[..], [Ok(first), Err(TaskError::TimedOut { .. }), Ok(_)] if is_chosen(first)));

        assert!(fails::on(pool).call(7).expect_err("it fails").starts_with("7 on fanfold-chosen-"));
    }
    let pool = Pool::io("chosen").threads(1).build().expect("a thread starts");
    assert!((1..=5).all(|n| {
        let (name, calls) = count::on(&pool).call(1);
        is_chosen(&name) && calls == n
    }));
}

#[test]
fn a_call_on_a_worker_of_the_pool_runs_in_place() {
    for pool in &pools() {
        let (outer, inner) = pool.install(|| (thread::current().id(), worker::on(pool).call()));
        assert!(is_chosen(&inner));
        assert_ne!(outer, thread::current().id());
    }
}

#[test]
fn a_closed_pool_says_so() {
    let [pool, _] = pools();
    pool.shutdown(fanfold::Pending::Run);
    assert!(matches!(add::on(&pool).submit(1, 2).join(), Err(TaskError::PoolClosed)));
    let payload =
        std::panic::catch_unwind(|| add::on(&pool).call(1, 2)).expect_err("a call has no other way to say so");
    let message = payload.downcast_ref::<String>().expect("a formatted message");
    assert!(message.contains("run_time_pools::add` cannot run: its pool was closed"), "{message}");
}

#[cfg(feature = "process")]
#[test]
fn a_pool_of_processes_is_refused() {
    let pool = Pool::process("processes");
    let payload = std::panic::catch_unwind(|| drop(add::on(&pool).submit(1, 2))).expect_err("it has no threads");
    let message = payload.downcast_ref::<String>().expect("a formatted message");
    assert!(
        message.contains("only functions of `kind = \"process\"`") || message.contains("fanfold::init"),
        "{message}"
    );
}
