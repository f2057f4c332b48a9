//! `report`: which worker ran what.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use fanfold::{Pool, PoolKind, Report, parallel, report};

#[cfg(feature = "process")]
fanfold::process_tests!();

/// Tests run at the same time, and each report shows the work of all: they differ in pools and functions.
static REPORTED: Pool = Pool::cpu("reported").threads(2);
static SHARED: Pool = Pool::io("shared").threads(1);

#[parallel(kind = "cpu", pool = REPORTED)]
fn spin(n: u64) -> u64 {
    (0..n).fold(n, |sum, n| std::hint::black_box(sum.wrapping_mul(31) ^ n))
}

#[parallel(kind = "cpu", pool = REPORTED, chunks = 3)]
fn add(numbers: &[u64]) -> Vec<u64> {
    numbers.iter().map(|n| n + 1).collect()
}

/// The figures of a function's pieces of one sort.
fn pieces<T>(report: &Report<T>, function: &str, what: &str) -> usize {
    let functions = report.functions().iter().filter(|row| row.function.ends_with(function) && row.what == what);
    functions.map(|row| row.pieces).sum()
}

#[test]
fn each_form_of_call_is_in_the_report() {
    let numbers: Vec<u64> = (0..9).collect();
    let report = report(|| {
        let submitted = spin::submit(1_000).join().expect("it does not panic");
        let map: Vec<u64> = spin::map(0..100).chunk_size(10).collect();
        let pulled: Vec<u64> = spin::map((0..100).filter(|n| n % 2 == 0)).collect();
        (submitted, spin(2_000), add(&numbers), map.len(), pulled.len())
    });
    assert_eq!(report.value().2, (1..10).collect::<Vec<_>>());
    assert_eq!(pieces(&report, "spin", "task"), 1);
    assert_eq!(pieces(&report, "spin", "call"), 1);
    assert_eq!(pieces(&report, "add", "chunk"), 3);
    let items = |what| -> u64 {
        report.functions().iter().filter(|row| row.what == what && row.pool == "reported").map(|row| row.items).sum()
    };
    assert_eq!((items("chunk"), items("block")), (9, 150), "rows of chunks, and items of two maps");
    let own = report.functions().iter().filter(|row| row.function.ends_with("spin"));
    assert!(own.clone().count() > 0 && own.clone().all(|row| row.kind == PoolKind::Cpu && row.pool == "reported"));
    assert!(
        report.workers().iter().all(|worker| worker.busy + worker.waiting <= report.wall() + Duration::from_millis(1))
    );
    assert!(report.to_string().contains("spin") && report.svg().contains("spin") && report.lost() == 0);
    assert!(report.chrome_trace().contains("\"name\":\"add\"") || report.chrome_trace().contains("::add\""));
}

#[test]
fn work_of_two_workers_at_once_is_counted_twice() {
    let pool = Pool::io("pair").threads(2).build().expect("there are threads");
    let meeting = Arc::new(Barrier::new(2));
    let report = report(|| {
        let run = |meeting: Arc<Barrier>| {
            pool.submit(move || {
                // Both run at the same time.
                meeting.wait();
                (0..3_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n))
            })
        };
        fanfold::join_all([run(Arc::clone(&meeting)), run(meeting)]).expect("both end")
    });
    let own = |worker: &&fanfold::WorkerReport| worker.name.contains("pair");
    assert_eq!(report.workers().iter().filter(own).count(), 2, "{report}");
    assert!(report.workers().iter().filter(own).all(|worker| worker.pieces == 1 && !worker.busy.is_zero()));
}

#[test]
fn a_wait_inside_of_a_task_is_not_busy() {
    let pool = Pool::io("waits").threads(2).build().expect("there are threads");
    let report = report(|| {
        let (give, take) = fanfold::channel::<()>();
        let waits = pool.submit(move || take.recv().is_ok());
        let sends = pool.submit(move || {
            let sum = (0..5_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
            give.send(()).expect("it is received");
            sum
        });
        (waits.join().expect("it ends"), sends.join().expect("it ends"))
    });
    let waiting: Duration = report.workers().iter().map(|worker| worker.waiting).sum();
    assert!(!waiting.is_zero(), "{report}");
    let own = report.functions().iter().filter(|row| row.pool == "waits");
    assert_eq!(own.map(|row| row.pieces).sum::<usize>(), 2, "waits are no pieces");
}

#[test]
fn what_has_not_ended_is_left_out_and_a_panic_ends_the_report() {
    let pool = Pool::io("slow").threads(1).build().expect("there is a thread");
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let (report_of_slow, slow) = {
        let report = report(|| pool.submit(move || finished.recv().is_ok()));
        let own = report.functions().iter().any(|row| row.pool == "slow");
        (own, report.into_value())
    };
    assert!(!report_of_slow);
    let panicked = std::panic::catch_unwind(|| report(|| panic!("on purpose")));
    assert_eq!(panicked.map(|_: Report<()>| ()).unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    finish.send(()).expect("it waits");
    assert!(slow.join().expect("it ends"));
    // Nothing is recorded any more, so the next report starts empty.
    let empty = report(|| ());
    assert!(empty.functions().iter().all(|row| row.pool != "slow"), "{empty}");
}

#[test]
fn reports_may_overlap() {
    let run = || SHARED.submit(|| 1).join().expect("it ends");
    let tasks = |functions: &[fanfold::FunctionReport]| -> usize {
        functions.iter().filter(|row| row.pool == "shared").map(|row| row.pieces).sum()
    };
    let outer = report(|| {
        run();
        let inner = report(run);
        (tasks(inner.functions()), run())
    });
    assert_eq!((outer.value().0, tasks(outer.functions())), (1, 3), "{outer}");
}

#[cfg(feature = "process")]
mod processes {
    use super::*;

    static WORKERS: Pool = Pool::process("reported_processes").threads(2);

    #[parallel(kind = "process", pool = WORKERS)]
    fn square(n: u64) -> u64 {
        n * n
    }

    #[test]
    fn worker_processes_are_workers() {
        let report = report(|| {
            let tasks: Vec<_> = (0..20).map(square::submit).collect();
            let sum: u64 = fanfold::join_all(tasks).expect("all end").into_iter().sum();
            (sum, square(7), square::map(0..500).collect::<Vec<_>>().len())
        });
        assert_eq!(*report.value(), (2_470, 49, 500));
        assert_eq!(pieces(&report, "square", "task"), 20, "{report}");
        let items: u64 = report.functions().iter().filter(|row| row.what == "block").map(|row| row.items).sum();
        assert!(items >= 500, "{report}");
        assert!(report.functions().iter().any(|row| row.kind == PoolKind::Process));
    }
}

#[cfg(feature = "tokio")]
mod futures {
    use super::*;

    #[parallel(kind = "io")]
    async fn later(n: u32) -> u32 {
        tokio::task::yield_now().await;
        n
    }

    #[test]
    fn futures_are_pieces_and_no_work_of_a_thread() {
        let report = report(|| (0..5).map(later::submit).map(|task| task.join().expect("it ends")).sum::<u32>());
        assert_eq!(*report.value(), 10);
        assert_eq!(pieces(&report, "later", "future"), 5, "{report}");
        assert!(report.svg().contains(">futures<"));
    }
}
