//! `fanfold::serial`: everything inside of it runs on the calling thread.

use std::collections::HashSet;
use std::thread::{self, ThreadId};
use std::time::Duration;

use fanfold::{Pool, TaskError, parallel, serial};

#[parallel(kind = "cpu")]
fn cpu_thread(_n: u32) -> ThreadId {
    thread::current().id()
}

#[parallel(kind = "io")]
fn io_thread() -> ThreadId {
    thread::current().id()
}

#[parallel(kind = "cpu", chunks = 8)]
fn chunk_threads(numbers: Vec<u32>) -> HashSet<ThreadId> {
    numbers.into_iter().map(|_| thread::current().id()).collect()
}

#[parallel(kind = "io", timeout = "1ms")]
fn late() -> Result<ThreadId, TaskError> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(20) {
        thread::yield_now();
    }
    Ok(thread::current().id())
}

#[test]
fn every_kind_of_call_runs_on_the_calling_thread() {
    let here = HashSet::from([thread::current().id()]);
    let pool = Pool::io("unused").threads(2).build().expect("a thread starts");
    serial(|| {
        assert_eq!(cpu_thread::map(0..1_000).collect::<HashSet<_>>(), here);
        assert_eq!(cpu_thread::map(0..100).chunk_size(1).collect::<HashSet<_>>(), here);
        assert_eq!(cpu_thread::map(0..100).into_iter().collect::<HashSet<_>>(), here);
        assert_eq!(chunk_threads((0..100).collect()), here);
        let task = io_thread::submit();
        assert!(task.is_finished(), "it has run when `submit` returns");
        assert!(here.contains(&task.join().expect("it returns")));
        assert!(here.contains(&io_thread()) && here.contains(&pool.install(|| thread::current().id())));
        let (one, other) = fanfold::join(|| thread::current().id(), || thread::current().id());
        assert!(here.contains(&one) && here.contains(&other));
    });
    assert!(!here.contains(&io_thread()), "outside of it workers run calls again");
}

#[test]
fn time_limits_do_not_apply_and_leave_the_pool_whole() {
    let id = serial(|| late::submit().join()).expect("no pool error").expect("no time limit");
    assert_eq!(id, thread::current().id());
    let io = Pool::io_default();
    assert_eq!(io.submit(|| 7).join().ok(), Some(7), "its permits are as before");
    assert!(io.stats().busy <= 1, "{:?}", io.stats());
}

#[test]
fn a_panic_ends_serial_mode() {
    std::panic::catch_unwind(|| serial(|| panic!("it ends"))).expect_err("it panics");
    assert_ne!(io_thread(), thread::current().id());
    serial(|| {
        serial(|| ());
        assert_eq!(io_thread(), thread::current().id(), "an inner one does not end the outer one");
    });
}

#[test]
fn other_threads_are_not_serial() {
    serial(|| {
        let other = thread::spawn(|| (io_thread(), thread::current().id()));
        let (ran, own) = other.join().expect("no panic");
        assert_ne!(ran, own);
    });
}
