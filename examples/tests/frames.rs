//! Runs the DataFrame examples and checks their output.

mod program;

use fanfold_examples::data;
use polars::prelude::*;
use program::{command, prints};

fn example(name: &str) -> String {
    prints(&mut command(name))
}

fn flights() -> DataFrame {
    data::flights(&data::bundled("flights-200k.parquet")).expect("it comes with the examples")
}

#[test]
fn squares_runs_in_four_chunks() {
    let out = example("squares");
    // Without a number, `par` splits into four chunks for each core: on one core, the same four again.
    let pieces = if std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) { 8 } else { 4 };
    assert_eq!(out.matches("a chunk of 2500 rows\n").count(), pieces, "{out}");
    assert!(out.contains("a chunk of 10000 rows\n"), "the whole, serially: {out}");
    for square in [9_999_u64, 19_999, 29_999, 39_999].map(|n| n * n) {
        assert!(out.contains(&format!(" {square} ")), "{out}");
    }
    assert!(out.ends_with("the same: true\n"), "{out}");
}

#[test]
fn delays_covers_every_airport() {
    let out = example("delays");
    let airports = flights().column("origin").and_then(Column::n_unique).expect("it is there");
    assert!(out.starts_with(&format!("{airports} airports: ")), "{out}");
    assert!(out.contains("shape: (5, 3)"), "{out}");
}

#[test]
fn a_rolling_window_needs_the_rows_before() {
    let out = example("rolling");
    let mut lines = out.lines();
    let alone = lines.next().and_then(|line| line.split_whitespace().nth(3)).and_then(|n| n.parse::<usize>().ok());
    // At most the 24 rows after each of the seven chunk boundaries, and hardly fewer.
    assert!(alone.is_some_and(|rows| (140..=168).contains(&rows)), "{out}");
    assert_eq!(lines.next(), Some("with an overlap of 24, 0 do"), "{out}");
}

/// Computes the sum of the last window of the file here, without Fanfold.
#[test]
fn a_rolling_window_has_the_right_sum() {
    let flights = flights();
    let delays: Vec<i64> = flights.column("delay").and_then(Column::i64).expect("numbers").iter().flatten().collect();
    let last: i64 = delays[delays.len() - 25..].iter().sum();
    let out = example("rolling");
    let row = out.lines().rfind(|line| line.starts_with('│')).unwrap_or_default();
    assert_eq!(row.trim_end_matches('│').rsplit('┆').next().map(str::trim), Some(&*last.to_string()), "{out}");
}

#[test]
fn typed_rows_counts_refunds_and_names_the_null() {
    let out = example("typed_rows");
    let flights = flights();
    let delays = flights.column("delay").and_then(Column::i64).expect("numbers");
    let late = delays.iter().flatten().filter(|delay| *delay > 180).count();
    assert!(out.contains(&format!("{late} of 200000 flights are refunded")), "{out}");
    let refused = "chunk 0 (rows 0..2): row 1: column `origin`: it is null";
    assert!(out.lines().any(|line| line.starts_with(refused)), "{out}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_larger_than_memory_is_mapped_within_a_limit() {
    // The limit is for data, including the stacks of threads.
    let megabytes = 450;
    let mut limited = assert_cmd::Command::new("sh");
    limited
        .args(["-c", &format!("ulimit -d {} && exec \"$0\"", megabytes * 1_000)])
        .arg(program::path("larger_than_memory"));
    let out = prints(&mut limited);
    let size = out.strip_prefix("in memory the file would take ").and_then(|rest| rest.split(' ').next());
    let size: usize = size.and_then(|size| size.parse().ok()).unwrap_or_else(|| panic!("{out}"));
    assert!(size > 3 * megabytes / 2, "{size} MB is not larger than memory");
    assert!(out.contains("600000 reports name their origins 16800000 times\n"), "{out}");
    assert!(out.ends_with("0 temporary files are left\n"), "{out}");
}
