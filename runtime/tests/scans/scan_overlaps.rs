//! Overlaps of scans: chunks see the rows of their neighbours, from files and queries, and nothing else changes.

use std::sync::atomic::{AtomicUsize, Ordering};

use fanfold::prelude::*;
use polars::prelude::*;

fn numbers(rows: i64) -> DataFrame {
    df!("n" => (0..rows).collect::<Vec<_>>(), "square" => (0..rows).map(|n| n * n).collect::<Vec<_>>())
        .expect("columns")
}

/// Sums over five rows: two before, and two after.
fn windows(mut chunk: DataFrame) -> PolarsResult<DataFrame> {
    let squares = chunk.column("square")?.as_materialized_series().clone();
    let shifted = |by| squares.shift(by).fill_null(FillNullStrategy::Zero);
    let sum = [-2, -1, 1, 2].into_iter().try_fold(squares.clone(), |sum, by| sum + shifted(by)?)?;
    chunk.with_column(sum.into_column())?;
    Ok(chunk)
}

#[test]
fn windows_over_chunks_are_those_of_the_whole() {
    let (df, folder) = (numbers(10_000), tempfile::tempdir().expect("a folder"));
    let wanted = windows(df.clone()).expect("integers");
    let (parquet, csv) = (folder.path().join("n.parquet"), folder.path().join("n.csv"));
    df.clone().lazy().par_rows(1_234).map(Ok).sink_parquet(&parquet).expect("written");
    df.clone().lazy().par_rows(1_234).map(Ok).sink_csv(&csv).expect("written");
    for rows in [1, 3, 700, 1_000_000] {
        for scan in [scan_parquet(&parquet), scan_csv(&csv), df.clone().lazy().par()] {
            let seen = scan.par_rows(rows).overlap(2).overlap_after(2).map(windows).collect().expect("no chunk fails");
            assert_eq!(seen, wanted, "{rows}");
        }
    }
    let output = folder.path().join("out");
    scan_parquet(&parquet).overlap(2).overlap_after(2).map(windows).sink_ipc(&output).expect("written");
    assert_eq!(scan_ipc(&output).map(Ok).collect().expect("read"), wanted);
    let selected = scan_parquet(&parquet).select(["square"]).par_rows(300).overlap(2).overlap_after(2).map(windows);
    assert_eq!(selected.collect().expect("a column"), wanted.select(["square"]).expect("a column"));
    // An overlap longer than all rows, and no rows at all.
    let all = |_, rows: std::ops::Range<usize>, frame: DataFrame| {
        assert_eq!((frame.height(), rows.len()), (10_000, if rows.start < 9_900 { 300 } else { 100 }));
        Ok(frame)
    };
    let long = df.clone().lazy().par_rows(300).overlap(1_000_000).overlap_after(1_000_000).map_indexed(all);
    assert_eq!(long.collect().expect("as it was"), df);
    let none = df.head(Some(0)).lazy().par_rows(300).overlap(3).overlap_after(3).map(Ok).collect().expect("no rows");
    assert_eq!((none.height(), none.width()), (0, 2));
}

#[test]
fn each_row_counts_once() {
    let rows: &'static AtomicUsize = Box::leak(Box::default());
    let report = |done, _| rows.store(done, Ordering::Relaxed);
    let scan = numbers(1_000).lazy().par_rows(90).overlap(30).on_progress(report).map(Ok);
    assert_eq!(scan.collect().expect("as it was"), numbers(1_000));
    assert_eq!(rows.load(Ordering::Relaxed), 1_000);
}

#[test]
fn a_result_that_cannot_be_cut_is_an_error() {
    let scan = || numbers(100).lazy().par_rows(30).overlap(5);
    let error = scan().map(|chunk| Ok(chunk.head(Some(2)))).collect().expect_err("too few rows").to_string();
    let expected = "the function gave 2 rows for the 35 it saw: with an overlap it must give one for each";
    assert!(error.ends_with(expected) || error.contains("for the 30 it saw"), "{error}");
    assert!(error.starts_with("chunk 0 (rows 0..30): "), "{error}");
    let error = scan().map_reduce(|chunk| Ok(chunk.height()), |a, b| a + b).expect_err("no rows").to_string();
    assert!(error.ends_with("end with `collect` or a sink"), "{error}");
}
