//! Progress reported to a function: what it is told, on which threads, and what happens where it panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fanfold::{Pool, TaskError};

/// The reports of one map, in the order of the calls.
#[derive(Default)]
struct Reports {
    calls: Mutex<Vec<(usize, Option<usize>)>>,
    is_inside: AtomicBool,
}

impl Reports {
    fn take(&self, done: usize, total: Option<usize>) {
        assert!(!self.is_inside.swap(true, Ordering::SeqCst), "one call at a time");
        self.calls.lock().expect("no panic inside").push((done, total));
        self.is_inside.store(false, Ordering::SeqCst);
    }

    /// Checks the reports of a map that succeeded, of `total` items.
    #[track_caller]
    fn check(&self, total: usize, is_known: bool) {
        let calls = std::mem::take(&mut *self.calls.lock().expect("no panic inside"));
        assert!(calls.is_sorted_by(|a, b| a.0 < b.0), "numbers grow: {calls:?}");
        assert!(calls.iter().all(|(_, of)| *of == is_known.then_some(total)), "{calls:?}");
        assert_eq!(calls.last().map(|(done, _)| *done), Some(total), "{calls:?}");
    }
}

#[test]
fn every_end_of_a_map_reports_growing_numbers_up_to_all_items() {
    let (pool, reports) = (Pool::cpu_default(), Reports::default());
    let report = |done, total| reports.take(done, total);
    let squares: Vec<u64> = pool.map(0..10_000_u64, |n| n * n).on_progress(report).collect();
    assert_eq!(squares.len(), 10_000);
    reports.check(10_000, true);
    let from_iterator: Vec<u64> =
        pool.map((0..3_000_u64).filter(|n| n % 3 == 0), |n| n).on_progress(report).chunk_size(7).collect();
    assert_eq!(from_iterator.len(), 1_000);
    reports.check(1_000, false);
    pool.map(0..500_u64, |n| n).chunk_size(10).on_progress(report).for_each(|_| ());
    reports.check(500, true);
    assert_eq!(pool.map(0..5_000_u64, |n| n).on_progress(report).sum::<u64>(), 4_999 * 2_500);
    reports.check(5_000, true);
    assert_eq!(pool.map(0..5_000_u64, |n| n).on_progress(report).reduce(|| 0, |a, b| a + b), 4_999 * 2_500);
    reports.check(5_000, true);
    let mut ordered = Vec::new();
    pool.map(0..300_u64, |n| n).on_progress(report).for_each_ordered(|n| ordered.push(n));
    assert_eq!(ordered.len(), 300);
    reports.check(300, true);
    let none: Vec<u64> = pool.map(0..0_u64, |n| n).on_progress(report).collect();
    assert!(none.is_empty());
    reports.check(0, true);
}

#[test]
fn an_iterated_map_reports_the_results_taken() {
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let report = |done, total| {
        assert_eq!(total, Some(100));
        DONE.store(done, Ordering::Relaxed);
    };
    let mut results = Pool::io_default().map(0..100_u32, |n| n).on_progress(report).into_iter();
    assert_eq!(results.by_ref().take(10).count(), 10);
    assert_eq!(DONE.load(Ordering::Relaxed), 10);
    assert_eq!(results.count(), 90);
    assert_eq!(DONE.load(Ordering::Relaxed), 100);
    let limit = std::time::Duration::from_secs(60);
    let timed =
        Pool::io_default().map(0..100_u32, |n| n).on_progress(|done, _| DONE.store(done + 1, Ordering::Relaxed));
    let timed: Vec<Result<u32, TaskError>> = timed.timeout(limit).collect();
    assert!(timed.iter().all(Result::is_ok));
    assert_eq!(DONE.load(Ordering::Relaxed), 101);
}

#[test]
fn a_map_that_fails_never_reports_all_items() {
    let most = AtomicUsize::new(0);
    let report = |done, _| {
        most.fetch_max(done, Ordering::Relaxed);
    };
    let failing = |n: u64| if n == 900 { Err(n) } else { Ok(n) };
    let refused: Result<Vec<u64>, u64> =
        Pool::cpu_default().map(0..1_000, failing).chunk_size(10).on_progress(report).collect();
    assert_eq!(refused, Err(900));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        Pool::io_default()
            .map(0..1_000_u64, |n| assert!(n != 900))
            .chunk_size(10)
            .on_progress(report)
            .for_each(|()| ());
    }));
    assert!(panicked.is_err());
    assert!(most.into_inner() <= 990);
}

/// A result that counts its drops.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_panic_of_the_function_is_that_of_the_map_and_drops_each_result_once() {
    for pool in [Pool::cpu_default(), Pool::io_default()] {
        for chunk_size in [1, 16] {
            let (made, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let make = |_: usize| {
                made.fetch_add(1, Ordering::Relaxed);
                Counted(&dropped)
            };
            let report = |done, _| assert!(done < 200, "enough");
            let run = || pool.map(0..1_000, make).chunk_size(chunk_size).on_progress(report).collect::<Vec<_>>();
            let payload = catch_unwind(AssertUnwindSafe(run)).map(drop).expect_err("the report panics");
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"enough"));
            assert_eq!(made.into_inner(), dropped.into_inner());
        }
        // The pool still works.
        assert_eq!(pool.map(0..100_u64, |n| n).sum::<u64>(), 4_950);
    }
}

#[test]
fn the_function_may_use_the_pool_of_its_map() {
    let pool = Pool::cpu("reports").threads(1).build().expect("a thread can be had");
    let sums = AtomicUsize::new(0);
    let report = |done: usize, _| {
        sums.fetch_add(pool.map(0..done, |n| n).sum::<usize>(), Ordering::Relaxed);
    };
    let results: Vec<usize> = pool.map(0..20_usize, |n| n).chunk_size(5).on_progress(report).collect();
    assert_eq!(results.len(), 20);
    assert!(sums.into_inner() > 0);
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_map_reports_the_results_returned() {
    #[fanfold::parallel(kind = "io")]
    async fn double(n: u32) -> u32 {
        n * 2
    }
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let report = |done, total| {
        assert_eq!(total, Some(50));
        DONE.store(done, Ordering::Relaxed);
    };
    let doubled: Vec<u32> = double::map(0..50).on_progress(report).collect();
    assert_eq!(doubled.len(), 50);
    assert_eq!(DONE.load(Ordering::Relaxed), 50);
}

#[cfg(feature = "polars-lazy")]
mod frames {
    use super::*;
    use fanfold::prelude::*;
    use polars::prelude::*;

    #[test]
    fn frames_groups_rows_columns_and_scans_report_their_rows() {
        let reports: &'static Reports = Box::leak(Box::default());
        let report = |done, total| reports.take(done, total);
        let keys: Vec<i64> = (0..4_000).map(|n| n % 10).collect();
        let frame = df!("n" => (0..4_000_i64).collect::<Vec<_>>(), "key" => keys).expect("two columns");
        frame.par_chunks(8).on_progress(report).map(Ok).expect("as it was");
        reports.check(4_000, true);
        frame.par_groups(["key"]).on_progress(report).map_groups(Ok).expect("as it was");
        reports.check(4_000, true);
        let rows: Vec<i64> = frame.par().on_progress(report).map_rows(|(n, _): (i64, i64)| n).expect("integers");
        assert_eq!(rows.len(), 4_000);
        reports.check(4_000, true);
        frame.par_column("n").on_progress(report).map(|n: i64| n + 1).expect("integers");
        reports.check(4_000, true);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("n.parquet");
        frame.clone().lazy().par_rows(300).on_progress(report).map(Ok).sink_parquet(&path).expect("written");
        reports.check(4_000, false);
        scan_parquet(&path).par_rows(300).on_progress(report).for_each(|_| Ok(())).expect("read");
        reports.check(4_000, true);
    }

    #[test]
    fn a_panic_in_the_report_of_a_scan_ends_it_without_a_file() {
        let frame = df!("n" => (0..40_000_i64).collect::<Vec<_>>()).expect("one column");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("n.parquet");
        let run = || {
            let scan = frame.clone().lazy().par_rows(100).on_progress(|done, _| assert!(done < 1_000, "enough"));
            scan.map(Ok).sink_parquet(&path)
        };
        let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("the report panics");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"enough"));
        assert_eq!(folder.path().read_dir().expect("the folder").count(), 0);
        let chunks = || frame.par_chunks(8).on_progress(|_, _| panic!("in a chunk")).map(Ok);
        let payload = catch_unwind(AssertUnwindSafe(chunks)).expect_err("the report panics");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"in a chunk"));
    }

    #[test]
    fn a_frame_that_fails_never_reports_all_rows() {
        let most = AtomicUsize::new(0);
        let frame = df!("n" => (0..1_000_i64).collect::<Vec<_>>()).expect("one column");
        let fail_last =
            |chunk: DataFrame| if chunk.height() == 7 { polars_bail!(NoData: "the last") } else { Ok(chunk) };
        let failed = frame.par_rows(331).on_progress(|done, _| {
            most.fetch_max(done, Ordering::Relaxed);
        });
        failed.map(fail_last).expect_err("the last chunk fails");
        let most_of_scan: &'static AtomicUsize = Box::leak(Box::default());
        let failed = frame.clone().lazy().par_rows(331).on_progress(|done, _| {
            most_of_scan.fetch_max(done, Ordering::Relaxed);
        });
        failed.map(fail_last).collect().expect_err("the last chunk fails");
        assert!(most.into_inner() <= 993);
        assert!(most_of_scan.load(Ordering::Relaxed) <= 993);
    }
}
