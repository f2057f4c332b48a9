//! Pools whose threads have a stack of a size of their own.

use fanfold::{BuildError, Pool, TaskError};

/// Recurses with frames of at least 1 KiB.
fn depth(list: u32) -> u32 {
    let frame = std::hint::black_box([0_u8; 1 << 10]);
    if list == 0 { u32::from(frame[0]) } else { depth(list - 1) + 1 }
}

/// Needs some 60 MiB of stack: more than any default.
const DEEP: u32 = 50_000;

#[test]
fn threads_of_every_kind_have_the_stack_that_was_asked_for() {
    for pool in [Pool::cpu("deep_cpu"), Pool::io("deep_io")] {
        let pool = pool.threads(2).stack_size(256 << 20).build().expect("threads start");
        assert_eq!(pool.submit(|| depth(DEEP)).join().expect("the stack is deep enough"), DEEP);
        // The worker waits for a thread that runs in its place.
        let outer = pool.install(|| pool.map(0..4, |_| depth(DEEP)).collect::<Vec<_>>());
        assert_eq!(outer, [DEEP; 4]);
        // Spare threads: both workers wait for tasks that wait for the others.
        let (sender, receiver) = std::sync::mpsc::channel::<u32>();
        let waits = pool.submit(move || receiver.recv().expect("it is sent"));
        let inner = pool.install(|| {
            let task = pool.submit(move || sender.send(depth(DEEP)));
            task.join().expect("the stack is deep enough")
        });
        assert!(inner.is_ok());
        assert_eq!(waits.join().expect("no panic"), DEEP);
    }
}

#[test]
fn the_smallest_stack_runs_and_reports_tasks() {
    for pool in [Pool::cpu("small_cpu"), Pool::io("small_io")] {
        let pool = std::sync::Arc::new(pool.threads(1).stack_size(64 << 10).build().expect("threads start"));
        let inside = std::sync::Arc::clone(&pool);
        let nested = pool.submit(move || inside.submit(|| 7).join().map(|n| n + 1));
        assert_eq!(nested.join().expect("the stack is large enough").expect("the stack is large enough"), 8);
        let squares: Vec<u64> = pool.map(0..1_000_u64, |n| n * n).collect();
        assert_eq!(squares.last(), Some(&998_001));
        let panicked = pool.submit(|| panic!("{} is reported", 7)).join();
        assert!(matches!(panicked, Err(TaskError::Panicked { message, .. }) if message == "7 is reported"));
    }
}

#[test]
fn sizes_that_no_stack_can_have_are_refused() {
    for bytes in [0, 1, (64 << 10) - 1, usize::MAX] {
        for pool in [Pool::cpu("bad_cpu"), Pool::io("bad_io")] {
            let error = pool.threads(1).stack_size(bytes).build().expect_err("no stack has this size");
            assert!(matches!(error, BuildError::BadStackSize), "{error}");
            assert!(error.to_string().contains("at least 64 KiB"), "{error}");
        }
    }
    // More than the address space: the operating system refuses it.
    for pool in [Pool::cpu("large_cpu"), Pool::io("large_io")] {
        let error = pool.threads(1).stack_size(isize::MAX.unsigned_abs()).build().expect_err("no memory is that large");
        assert!(matches!(error, BuildError::Spawn(_)), "{error}");
    }
    #[cfg(feature = "process")]
    assert!(matches!(Pool::process("p").stack_size(1 << 20).build(), Err(BuildError::BadStackSize)));
}
