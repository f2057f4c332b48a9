//! A gigabyte of files, read and written by the executors: what the driver needs for it.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fanfold::parallel;
use fanfold::prelude::*;
use fanfold_cluster::LocalCluster;
use polars::prelude::*;

fanfold_cluster::cluster_tests!();

/// Rows of a file; a row has 32 bytes.
const ROWS: i64 = 1 << 20;
/// Names of the same file, which has 32 MiB.
const FILES: i64 = 32;
/// The most memory that the driver may need, in KiB.
const MEMORY_LIMIT: u64 = 200 << 10;

#[parallel(kind = "cluster")]
fn sums(chunk: DataFrame) -> PolarsResult<i64> {
    let sum = |column: &Column| Ok(column.i64()?.sum().unwrap_or(0));
    chunk.columns().iter().map(sum).sum()
}

#[parallel(kind = "cluster")]
fn first_column(chunk: DataFrame) -> PolarsResult<DataFrame> {
    chunk.select(["a"])
}

#[test]
fn a_gigabyte_by_reference_needs_little_memory_of_the_driver() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("in");
    fs::create_dir(&input).expect("there is room");
    let first = input.join("00.parquet");
    let mut frame = df!("a" => 0..ROWS, "b" => 0..ROWS, "c" => 0..ROWS, "d" => 0..ROWS).expect("a frame");
    let writer = ParquetWriter::new(File::create(&first).expect("the folder is there"));
    let writer = writer.with_compression(ParquetCompression::Uncompressed).with_row_group_size(Some(1 << 18));
    assert!(writer.finish(&mut frame).expect("there is room") > 32 << 20);
    for name in 1..FILES {
        fs::hard_link(&first, input.join(format!("{name:02}.parquet"))).expect("there are links");
    }
    // A process of its own, as memory that was needed for the input counts too.
    let mut driver = Command::new(std::env::current_exe().expect("it has a path"));
    driver.args(["--exact", "reads_and_writes_a_gigabyte", "--ignored", "--nocapture"]).stdin(Stdio::null());
    assert!(driver.env("TEST_FOLDER", folder.path()).status().expect("it starts").success());
}

#[test]
#[ignore = "the driver of the test above"]
fn reads_and_writes_a_gigabyte() {
    let folder = PathBuf::from(std::env::var_os("TEST_FOLDER").expect("the test sets it"));
    let cluster = LocalCluster::start(2).expect("a cluster");
    let scan = || scan_parquet(folder.join("in")).par_rows(300_000).on(&cluster);
    let total = scan().map(sums::task()).reduce(|a, b| a + b).expect("no chunk fails");
    assert_eq!(total, FILES * 4 * (ROWS * (ROWS - 1) / 2));
    let rows = scan().map(first_column::task()).sink_parquet(folder.join("out")).expect("no chunk fails");
    assert_eq!(i64::try_from(rows), Ok(FILES * ROWS));
    let status = fs::read_to_string("/proc/self/status").expect("it is Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has the peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    println!("peak {} MiB", peak >> 10);
    assert!(peak < MEMORY_LIMIT, "{peak} KiB");
}
