//! `select` and `filter` of scans: the rows and columns of Polars' own query, and errors that say what is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fanfold::Scan;
use fanfold::prelude::*;
use polars::prelude::*;
use tempfile::TempDir;

type Opener = fn(&PathBuf) -> Scan;
const FORMATS: [(&str, Opener); 3] =
    [("parquet", |path| scan_parquet(path)), ("csv", |path| scan_csv(path)), ("ipc", |path| scan_ipc(path))];

fn frame() -> DataFrame {
    let numbers: Vec<i64> = (0..10_000).collect();
    let names: Vec<String> = numbers.iter().map(|n| format!("name {}", n % 7)).collect();
    let halves: Vec<f64> = (0..10_000_i32).map(|n| f64::from(n) / 2.0).collect();
    df!("n" => numbers, "name" => names, "half" => halves).expect("three columns")
}

/// Two files of a format.
fn files(format: &str, folder: &Path) -> PathBuf {
    for (name, part) in [("a", frame().slice(0, 4_000)), ("b", frame().slice(4_000, 6_000))] {
        let (map, path) = (part.lazy().par_rows(1_500).map(Ok), folder.join(format!("{name}.{format}")));
        match format {
            "parquet" => map.sink_parquet(path),
            "csv" => map.sink_csv(path),
            _ => map.sink_ipc(path),
        }
        .expect("written");
    }
    folder.join(format!("*.{format}"))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn selected_columns_and_rows_are_those_of_a_query() {
    let folder = folder();
    for (format, open) in FORMATS {
        let path = files(format, folder.path());
        for rows in [700, 100_000] {
            let scan = || open(&path).par_rows(rows);
            let columns = scan().select(["half", "n"]).map(Ok).collect().expect("two columns");
            assert_eq!(columns, frame().select(["half", "n"]).expect("two columns"), "{format}");
            let query =
                scan().filter(col("n").gt(lit(8_999))).select([col("name"), (col("n") * lit(2)).alias("twice")]);
            let wanted = frame().lazy().filter(col("n").gt(lit(8_999)));
            let wanted = wanted.select([col("name"), (col("n") * lit(2)).alias("twice")]).collect().expect("a query");
            assert_eq!(query.map(Ok).collect().expect("a query"), wanted, "{format}");
            let chunk_heights = scan().filter(col("n").lt(lit(1_000))).map(|chunk| Ok(vec![chunk.height()]));
            let heights = chunk_heights.reduce(|mut all, more| {
                all.extend(more);
                all
            });
            let wanted = if rows == 700 { vec![700, 300] } else { vec![1_000] };
            assert_eq!(heights.expect("a query"), wanted, "{format}");
            let none = scan().filter(lit(false)).map(Ok).collect().expect("no row");
            assert_eq!((none.height(), none.width()), (0, 3), "{format}");
        }
    }
    let lazy = frame().lazy().par_rows(100).select(["n"]).filter(col("n").eq(lit(5)));
    assert_eq!(lazy.map(Ok).collect().expect("one row"), df!("n" => [5_i64]).expect("one row"));
}

#[test]
fn columns_of_folder_names_can_be_selected() {
    let folder = folder();
    for year in [2023_i64, 2024] {
        let part = folder.path().join(format!("year={year}"));
        fs::create_dir(&part).expect("a folder");
        frame().head(Some(10)).lazy().par().map(Ok).sink_parquet(part.join("x.parquet")).expect("written");
    }
    let years = scan_parquet(folder.path()).select(["year"]).map(Ok).collect().expect("a column of the folders");
    assert_eq!(years.column("year").and_then(Column::unique_stable).expect("numbers").len(), 2);
    assert_eq!((years.height(), years.width()), (20, 1));
    let both = scan_parquet(folder.path()).filter(col("year").eq(lit(2024))).select(["year", "n"]).map(Ok);
    assert_eq!(both.collect().expect("one folder").height(), 10);
}

#[test]
fn a_column_that_is_missing_or_named_twice_is_an_error() {
    let folder = folder();
    for (format, open) in FORMATS {
        let path = files(format, folder.path());
        let missing = open(&path).select(["n", "nome"]).map(Ok).collect().expect_err("no such column").to_string();
        assert!(missing.contains("nome"), "{missing}");
        let twice = open(&path).select(["n", "n"]).map(Ok).collect().expect_err("named twice").to_string();
        assert!(twice.contains('n') && twice.starts_with("cannot read"), "{twice}");
        let filter = open(&path).filter(col("nome").eq(lit(1))).map(Ok).collect().expect_err("no column").to_string();
        assert!(filter.contains("nome"), "{filter}");
    }
    let path = files("parquet", folder.path());
    let missing = scan_parquet(path).select(["nome"]).map(Ok).collect().expect_err("no such column").to_string();
    assert!(missing.ends_with("there is no column `nome`, only `n`, `name`, `half`"), "{missing}");
}

#[test]
fn a_filter_that_panics_or_fails_is_an_error_and_the_next_scan_works() {
    static RUNS: AtomicBool = AtomicBool::new(false);
    let folder = folder();
    for (format, open) in FORMATS {
        let path = files(format, folder.path());
        let output = folder.path().join("out");
        let panics = |_: Column| -> PolarsResult<Column> {
            RUNS.store(true, Ordering::Relaxed);
            panic!("in the filter")
        };
        let field = |_: &Schema, field: &Field| Ok(Field::new(field.name().clone(), DataType::Boolean));
        let scan = || open(&path).par_rows(500).filter(col("n").map(panics, field));
        let error = scan().map(Ok).collect().expect_err("it panics").to_string();
        assert!(error.contains("in the filter") && error.starts_with("cannot read"), "{error}");
        scan().map(Ok).sink_parquet(&output).expect_err("it panics");
        assert!(!output.exists());
        let fails = |_: Column| -> PolarsResult<Column> { polars_bail!(ComputeError: "not today") };
        let error = open(&path).filter(col("n").map(fails, field)).map(Ok).collect().expect_err("it fails").to_string();
        assert!(error.contains("not today"), "{error}");
        assert_eq!(open(&path).select(["n"]).map(Ok).collect().expect("it works").height(), 10_000);
    }
    assert!(RUNS.load(Ordering::Relaxed));
}
