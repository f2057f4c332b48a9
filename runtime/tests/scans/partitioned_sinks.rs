//! Sinks into folders named `key=value`: what they hold, what is refused, and that nothing is left after a failure.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fanfold::ScanError;
use fanfold::prelude::*;
use polars::prelude::*;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn write(frame: &DataFrame, rows: usize, dir: &Path, keys: &[&str]) -> Result<(), ScanError> {
    frame.clone().lazy().par_rows(rows).map(Ok).sink_parquet_partitioned(dir, keys.iter().copied())
}

#[test]
fn each_folder_has_its_rows_in_input_order() {
    let numbers: Vec<i64> = (0..200_000).collect();
    // Long, scattered and rare keys.
    let keys: Vec<i64> = numbers.iter().map(|n| if *n < 120_000 { 0 } else { 1 + n % 300 }).collect();
    let df = df!("n" => numbers, "key" => keys).expect("two columns");
    for rows in [1_000, 50_000, 1_000_000] {
        let folder = folder();
        let dir = folder.path().join("out");
        write(&df, rows, &dir, &["key"]).expect("written");
        assert_eq!(names(folder.path()), ["out"]);
        assert_eq!(names(&dir).len(), 301);
        for key in [0, 1, 150, 300] {
            let read = scan_parquet(dir.join(format!("key={key}"))).map(Ok).collect().expect("read");
            let wanted = df.clone().lazy().filter(col("key").eq(lit(key))).select([col("n")]).collect().expect("rows");
            assert_eq!(read.select(["n"]).expect("a column"), wanted, "{rows} rows, key {key}");
        }
        let all = scan_parquet(&dir).map(Ok).collect().expect("read");
        let all = all.select(["n", "key"]).and_then(|all| all.sort(["n"], SortMultipleOptions::default()));
        assert_eq!(all.expect("two columns"), df);
    }
}

#[test]
fn values_of_all_sorts_name_folders_and_are_read_again() {
    let folder = folder();
    let texts = ["a b", "x/y=z%", "ü:", "", ".."].map(Some).into_iter().chain([None]).collect::<Vec<_>>();
    let df = df!("text" => &texts, "n" => [0_i64, 1, 2, 3, 4, 5]).expect("two columns");
    let dir = folder.path().join("texts");
    write(&df, 2, &dir, &["text"]).expect("written");
    assert!(names(&dir).contains(&"text=__HIVE_DEFAULT_PARTITION__".to_owned()), "{:?}", names(&dir));
    assert!(names(&dir).contains(&"text=a%20b".to_owned()), "{:?}", names(&dir));
    let read = scan_parquet(&dir).select(["text", "n"]).map(Ok).collect().expect("read");
    let read = read.sort(["n"], SortMultipleOptions::default()).expect("sorted");
    assert_eq!(read.column("text").and_then(Column::str).expect("texts").iter().collect::<Vec<_>>(), texts);
    // Several keys; a null among numbers; booleans.
    let df = df!("n" => [Some(1_i64), None, Some(1)], "b" => [true, false, true], "x" => [1.5, 2.5, 3.5]);
    let (df, dir) = (df.expect("three columns"), folder.path().join("two"));
    write(&df, 10, &dir, &["n", "b"]).expect("written");
    assert_eq!(names(&dir), ["n=1", "n=__HIVE_DEFAULT_PARTITION__"]);
    assert_eq!(names(&dir.join("n=1")), ["b=true"]);
    let read = scan_parquet(&dir).select(["n", "x"]).map(Ok).collect().expect("read");
    assert_eq!(read.sort(["x"], SortMultipleOptions::default()).expect("sorted"), df.select(["n", "x"]).expect("two"));
    // Without rows the folder is empty.
    let dir = folder.path().join("none");
    write(&df.head(Some(0)), 10, &dir, &["n"]).expect("written");
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn columns_that_cannot_name_folders_are_errors_and_leave_nothing() {
    let folder = folder();
    let dir = folder.path().join("out");
    let list = Series::new("list".into(), [Series::new("".into(), [1_i64])]);
    let df = df!("n" => [1_i64], "a/b" => [1_i64]).expect("two columns");
    let df = df.hstack(&[list.into_column()]).expect("three columns");
    for (keys, text) in [
        (&["nome"][..], "chunk 0 (rows 0..1): not found: the results have no column `nome` to partition by, only `n`"),
        (&["list"], "the column `list` is list[i64], whose values cannot be names of folders"),
        (&[], "no column to partition by"),
        (&["n", "n"], "the column `n` to partition by is named twice"),
        (&["a/b"], "`a/b` cannot be part of a folder's name"),
    ] {
        let error = write(&df, 1, &dir, keys).expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
        assert_eq!(names(folder.path()), [""; 0]);
    }
    let error = write(&df.select(["n"]).expect("one"), 1, &dir, &["n"]).expect_err("nothing is left").to_string();
    assert!(error.contains("all columns are partitioned by"), "{error}");
    // The second chunk has no such column.
    let rename = |mut chunk: DataFrame| {
        if chunk.column("n")?.i64()?.get(0) == Some(2) {
            chunk.rename("n", "other".into())?;
        }
        Ok(chunk)
    };
    let df = df!("n" => [1_i64, 2], "x" => [1, 2]).expect("two columns");
    let error = df.clone().lazy().par_rows(1).map(rename).sink_parquet_partitioned(&dir, ["n"]);
    let error = error.expect_err("another column").to_string();
    assert!(error.starts_with("chunk 1 (rows 1..2): ") && error.contains("`other`"), "{error}");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_failure_leaves_nothing_and_an_existing_folder_as_it_was() {
    let folder = folder();
    let dir = folder.path().join("out");
    let df = df!("key" => (0..1_000_i64).map(|n| n % 3).collect::<Vec<_>>(), "n" => (0..1_000_i64).collect::<Vec<_>>());
    let df = df.expect("two columns");
    let fails = |chunk: DataFrame| {
        polars_ensure!(chunk.column("n")?.i64()?.get(0) != Some(900), ComputeError: "the last");
        Ok(chunk)
    };
    df.clone().lazy().par_rows(100).map(fails).sink_parquet_partitioned(&dir, ["key"]).expect_err("the last fails");
    assert_eq!(names(folder.path()), [""; 0]);
    let report = |done, _| assert!(done < 500, "enough");
    let scan = df.clone().lazy().par_rows(100).on_progress(report).map(Ok);
    assert!(catch_unwind(AssertUnwindSafe(|| scan.sink_parquet_partitioned(&dir, ["key"]))).is_err());
    assert_eq!(names(folder.path()), [""; 0]);
    fs::create_dir(&dir).expect("a folder");
    write(&df, 100, &dir, &["key"]).expect("an empty folder is replaced");
    let before = names(&dir);
    let error = write(&df, 100, &dir, &["key"]).expect_err("it is full").to_string();
    assert!(error.ends_with("it exists and is no empty folder: remove it, or write to another folder"), "{error}");
    assert_eq!(names(&dir), before);
    assert_eq!(names(folder.path()), ["out"]);
    let error = write(&df, 100, Path::new("s3://bucket/x"), &["key"]).expect_err("an address").to_string();
    assert!(error.contains("only local files can be written"), "{error}");
}

#[test]
fn a_folder_being_written_is_not_read_and_that_of_a_killed_writer_is_removed() {
    let folder = folder();
    let df = df!("key" => [1_i64, 2], "n" => [1_i64, 2]).expect("two columns");
    df.clone().lazy().par().map(Ok).sink_parquet(folder.path().join("a.parquet")).expect("written");
    // As a killed writer leaves it.
    fs::create_dir_all(folder.path().join(".fanfold-stale.tmp").join("key=1")).expect("folders");
    let long = df!("key" => vec![1_i64; 70_000], "n" => (0..70_000_i64).collect::<Vec<_>>()).expect("two columns");
    let read = |chunk: DataFrame| {
        // The first chunks are written by now.
        if chunk.column("n")?.i64()?.get(0) == Some(68_000) {
            assert!(names(folder.path()).iter().any(|name| name.starts_with(".fanfold-")));
            assert_eq!(scan_parquet(folder.path()).map(Ok).collect()?.height(), 2);
            assert_eq!(scan_parquet(folder.path()).filter(lit(true)).map(Ok).collect()?.height(), 2);
        }
        Ok(chunk)
    };
    let out = folder.path().join("out");
    long.lazy().par_rows(34_000).map(read).sink_parquet_partitioned(&out, ["key"]).expect("written");
    assert_eq!(scan_parquet(&out).map(Ok).collect().expect("read").height(), 70_000);
    assert_eq!(names(folder.path()), ["a.parquet", "out"]);
}
