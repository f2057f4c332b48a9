//! Closures on the default cpu pool, and `Pool::install`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use fanfold::{Pending, Pool};

static CPU: Pool = Pool::cpu("install-cpu").threads(3);
static IO: Pool = Pool::io("install-io").threads(1);

fn is_on(pool: &str) -> bool {
    thread::current().name().is_some_and(|name| name.starts_with(&format!("fanfold-{pool}")))
}

#[test]
fn closures_run_on_the_default_cpu_pool() {
    let factor = 3;
    let triples: Vec<i32> = fanfold::map([1, 2, 3], |n| n * factor).collect();
    assert_eq!(triples, [3, 6, 9]);
    let here = thread::current().id();
    assert!(fanfold::submit(move || thread::current().id() != here).join().expect("no panic"));
    assert!(fanfold::install(|| thread::current().id() != here));
}

#[test]
fn install_borrows_and_gives_the_result() {
    let mut numbers = [3, 1, 2];
    for pool in [&CPU, &IO] {
        let most = pool.install(|| {
            numbers.sort_unstable();
            numbers.last().copied()
        });
        assert_eq!((most, &numbers[..]), (Some(3), &[1, 2, 3][..]));
    }
}

#[test]
fn rayon_inside_of_install_uses_the_pool() {
    assert_eq!(CPU.install(rayon::current_num_threads), 3);
    assert!(CPU.install(|| rayon::join(|| is_on("install-cpu"), || is_on("install-cpu"))) == (true, true));
}

#[test]
fn install_on_a_worker_of_the_pool_runs_in_place() {
    for pool in [&CPU, &IO] {
        let same = pool.install(|| {
            let outside = thread::current().id();
            pool.install(|| thread::current().id() == outside)
        });
        assert!(same);
    }
    let name = CPU.install(|| IO.install(|| thread::current().name().map(str::to_string)));
    assert!(name.is_some_and(|name| name.starts_with("fanfold-install-io")));
}

#[test]
fn panics_and_closed_pools_are_told_to_the_caller() {
    let message = |result: thread::Result<()>| {
        let payload = result.expect_err("it panics");
        payload.downcast_ref::<&str>().map(ToString::to_string).or(payload.downcast_ref().cloned()).unwrap_or_default()
    };
    assert_eq!(message(catch_unwind(|| CPU.install(|| panic!("inside")))), "inside");
    let pool = Pool::io("closed").threads(1).build().expect("a thread starts");
    pool.shutdown(Pending::Run);
    let closed = message(catch_unwind(AssertUnwindSafe(|| pool.install(|| ()))));
    assert!(closed.contains("its pool was closed"), "{closed}");
}
