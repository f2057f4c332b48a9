//! `on_error`: chunks that fail are left out of frames, scans and files, and listed in order.

use std::fs;

use fanfold::prelude::*;
use fanfold::{OnError, ScanError};
use polars::prelude::*;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn numbers() -> DataFrame {
    df!("n" => (0..1_000_i64).collect::<Vec<_>>()).expect("one column")
}

fn first(chunk: &DataFrame) -> PolarsResult<i64> {
    Ok(chunk.column("n")?.i64()?.get(0).expect("no nulls"))
}

/// Fails, panics, or gives other columns, in chunks of 100 rows.
fn flaky(mut chunk: DataFrame) -> PolarsResult<DataFrame> {
    match first(&chunk)? {
        200 => polars_bail!(ComputeError: "not this one"),
        400 => panic!("in a chunk"),
        700 => {
            chunk.rename("n", "other".into())?;
            Ok(chunk)
        }
        _ => Ok(chunk),
    }
}

/// The rows that `flaky` leaves.
fn left() -> DataFrame {
    let left: Vec<i64> = (0..1_000).filter(|n| ![2, 4, 7].contains(&(n / 100))).collect();
    df!("n" => left).expect("one column")
}

#[track_caller]
fn check(failed: &[ChunkError]) {
    assert_eq!(failed.iter().map(|error| error.chunk).collect::<Vec<_>>(), [2, 4, 7]);
    assert_eq!(failed.iter().map(ChunkError::rows).collect::<Vec<_>>(), [200..300, 400..500, 700..800]);
    let texts: Vec<String> = failed.iter().map(ToString::to_string).collect();
    assert!(texts[0].ends_with("not this one") && texts[1].contains("in a chunk"), "{texts:?}");
    assert!(texts[2].contains("is named `other`"), "{texts:?}");
}

#[test]
fn chunks_of_a_frame_that_fail_are_left_out_and_listed() {
    let df = numbers();
    let (good, failed) = df.par_rows(100).on_error(OnError::Skip).map(flaky).expect("seven are good");
    assert_eq!(good, left());
    check(&failed);
    let error = df.par_rows(100).on_error(OnError::Stop).map(flaky).expect_err("it stops");
    assert_eq!(error.rows(), 200..300);
    let (all, failed) = df.par_rows(100).on_error(OnError::Skip).map(Ok).expect("all are good");
    assert_eq!((all, failed.len()), (df.clone(), 0));
    let bad = |_: DataFrame| -> Result<DataFrame, std::fmt::Error> { Err(std::fmt::Error) };
    let error = df.par_rows(100).on_error(OnError::Skip).try_map(bad).expect_err("none is left");
    assert_eq!(error.rows(), 0..100);
    let failed = df.par_rows(100).on_error(OnError::Skip).for_each(|chunk| flaky(chunk).map(drop)).expect("listed");
    assert_eq!(failed.iter().map(ChunkError::chunk).collect::<Vec<_>>(), [2, 4]);
    let series = |chunk: DataFrame| Ok(flaky(chunk)?.column("n")?.as_materialized_series().clone());
    let (good, failed) = df.par_rows(100).on_error(OnError::Skip).map_series(series).expect("seven are good");
    assert_eq!((good.len(), failed.len()), (700, 3));
    let scattered = df!("key" => [1, 2, 1, 2], "n" => [0_i64, 200, 2, 3]).expect("two columns");
    let ordered = scattered.par_groups(["key"]).chunks(2).keep_order(true).on_error(OnError::Skip).map(flaky);
    assert!(ordered.expect_err("a row is missing").to_string().contains("cannot be kept where a chunk is left out"));
}

#[test]
fn chunks_of_a_scan_that_fail_are_left_out_and_listed() {
    let scan = || numbers().lazy().par_rows(100).map(flaky).on_error(OnError::Skip);
    let (good, failed) = scan().collect().expect("seven are good");
    assert_eq!(good, left());
    check(&failed);
    let folder = folder();
    let path = folder.path().join("out");
    check(&scan().sink_parquet(&path).expect("written"));
    assert_eq!(scan_parquet(&path).map(Ok).collect().expect("read"), left());
    check(&scan().sink_csv(&path).expect("written"));
    assert_eq!(scan_csv(&path).map(Ok).collect().expect("read"), left());
    check(&scan().sink_ipc(&path).expect("written"));
    assert_eq!(scan_ipc(&path).map(Ok).collect().expect("read"), left());
    let with_key = |chunk: DataFrame| flaky(chunk)?.with_row_index("key".into(), None);
    let scan = numbers().lazy().par_rows(100).map(with_key).on_error(OnError::Skip);
    check(&scan.sink_parquet_partitioned(folder.path().join("dir"), ["key"]).expect("written"));
    assert_eq!(scan_parquet(folder.path().join("dir")).map(Ok).collect().expect("read").height(), 700);
}

#[test]
fn what_is_no_fault_of_a_chunk_ends_a_scan_that_skips() {
    let scan = || numbers().lazy().par_rows(100);
    // All chunks fail.
    let error = scan().map(|_| polars_bail!(ComputeError: "never")).on_error(OnError::Skip).collect();
    assert!(error.expect_err("none is left").to_string().starts_with("chunk 0 (rows 0..100): "));
    let folder = folder();
    let path = folder.path().join("out");
    let error = scan().map(|_| polars_bail!(ComputeError: "never")).on_error(OnError::Skip).sink_parquet(&path);
    assert!(error.expect_err("none is left").to_string().starts_with("chunk 0 (rows 0..100): "));
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
    // The consumer of the results fails.
    let mut seen = 0;
    let error = scan().map(Ok).on_error(OnError::Skip).for_each(|_: DataFrame| {
        seen += 1;
        polars_ensure!(seen < 3, ComputeError: "enough");
        Ok(())
    });
    assert!(error.expect_err("it stops").to_string().ends_with("enough"));
    assert_eq!(seen, 3);
    // The input cannot be read, and the output not written.
    let missing = scan_parquet(folder.path().join("nothing.parquet")).map(Ok).on_error(OnError::Skip).collect();
    assert!(matches!(missing, Err(ScanError::Read { .. })));
    let unwritable = scan().map(Ok).on_error(OnError::Skip).sink_parquet(folder.path());
    assert!(matches!(unwritable, Err(ScanError::Write { .. })));
}
