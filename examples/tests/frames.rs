//! The DataFrame examples as their users see them.

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
fn squares_are_made_in_four_pieces() {
    let out = example("squares");
    // What is cut without a number is four pieces a core: on one core, these again.
    let pieces = if std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) { 8 } else { 4 };
    assert_eq!(out.matches("a piece of 2500 rows\n").count(), pieces, "{out}");
    assert!(out.contains("a piece of 10000 rows\n"), "the whole, serially: {out}");
    for square in [9_999_u64, 19_999, 29_999, 39_999].map(|n| n * n) {
        assert!(out.contains(&format!(" {square} ")), "{out}");
    }
    assert!(out.ends_with("the same: true\n"), "{out}");
}

#[test]
fn delays_are_told_for_every_airport() {
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
    // At most the 24 rows after each of seven cuts, and hardly fewer.
    assert!(alone.is_some_and(|rows| (140..=168).contains(&rows)), "{out}");
    assert_eq!(lines.next(), Some("with an overlap of 24, 0 do"), "{out}");
}

/// What the last flights of the file are late by, with the 24 before each, summed up here.
#[test]
fn a_rolling_window_sums_what_it_says() {
    let flights = flights();
    let delays: Vec<i64> = flights.column("delay").and_then(Column::i64).expect("numbers").iter().flatten().collect();
    let last: i64 = delays[delays.len() - 25..].iter().sum();
    let out = example("rolling");
    let row = out.lines().rfind(|line| line.starts_with('│')).unwrap_or_default();
    assert_eq!(row.trim_end_matches('│').rsplit('┆').next().map(str::trim), Some(&*last.to_string()), "{out}");
}

#[test]
fn rows_are_judged_by_type() {
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
    // Of data: the program's own memory, its threads' stacks included.
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
    assert!(out.ends_with("0 files are left beside the two\n"), "{out}");
}
