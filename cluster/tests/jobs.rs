//! Maps and chunks on a cluster of real processes: results, order, errors, panics and crashes.

use std::time::Duration;

use fanfold::prelude::*;
use fanfold::{TaskError, parallel};
use fanfold_cluster::LocalCluster;
use polars::prelude::*;

fanfold_cluster::cluster_tests!();

#[parallel(kind = "cluster")]
fn square(n: u64) -> u64 {
    n * n
}

#[parallel(kind = "process")]
fn process_of(_: u64) -> u32 {
    std::process::id()
}

#[parallel(kind = "cluster")]
fn double(chunk: DataFrame) -> PolarsResult<DataFrame> {
    chunk.lazy().with_columns([(col("x") * lit(2)).alias("doubled")]).collect()
}

#[parallel(kind = "cluster")]
fn plain(chunk: DataFrame) -> DataFrame {
    chunk
}

#[parallel(kind = "cluster")]
fn sum(chunk: DataFrame) -> PolarsResult<i64> {
    Ok(chunk.column("x")?.i64()?.sum().unwrap_or(0))
}

#[parallel(kind = "cluster")]
fn no_column(chunk: DataFrame) -> PolarsResult<DataFrame> {
    if chunk.column("x")?.i64()?.get(0) == Some(50) { chunk.select(["missing"]) } else { Ok(chunk) }
}

#[parallel(kind = "cluster")]
fn panics_at_50(chunk: DataFrame) -> PolarsResult<DataFrame> {
    assert_ne!(chunk.column("x")?.i64()?.get(0), Some(50), "no fifties");
    Ok(chunk)
}

#[parallel(kind = "cluster")]
fn poison(n: u64) -> Result<u64, TaskError> {
    if n == 5 {
        std::process::abort();
    }
    Ok(n)
}

#[parallel(kind = "cluster")]
fn odd(n: u64) -> u64 {
    assert_ne!(n, 107, "no primes");
    n
}

#[parallel(kind = "cluster", timeout = "300ms")]
fn slow_at_3(n: u64) -> Result<u64, TaskError> {
    if n == 3 {
        std::thread::sleep(Duration::from_mins(10));
    }
    Ok(n)
}

fn numbers(rows: i64) -> DataFrame {
    df!("x" => 0..rows, "text" => (0..rows).map(|n| format!("row {n}")).collect::<Vec<_>>()).expect("a frame")
}

#[test]
fn maps_and_chunks_give_what_they_give_locally() {
    let cluster = LocalCluster::start_with_slots(2, 2).expect("a cluster");
    let squares: Vec<u64> = square::map(0..1_000).on(&cluster).collect();
    assert_eq!(squares, (0..1_000).map(|n| n * n).collect::<Vec<u64>>());
    let processes: Vec<u32> = process_of::map(0..16).on(&cluster).chunk_size(1).collect();
    assert!(!processes.contains(&std::process::id()));

    let df = numbers(10_000);
    let doubled = df.par_chunks(16).on(&cluster).map(double::task()).expect("no chunk fails");
    assert_eq!(doubled, double::serial(df.clone()).expect("it has the column"));
    assert_eq!(df.par_chunks(3).on(&cluster).map(plain::task()).expect("no chunk fails"), df);
    let total = df.par_rows(700).on(&cluster).map_reduce(sum::task(), |a, b| a + b).expect("no chunk fails");
    assert_eq!(total, (0..10_000).sum::<i64>());
    let empty = df.head(Some(0)).par_chunks(4).on(&cluster).map(plain::task()).expect("one empty chunk");
    assert_eq!(empty, df.head(Some(0)));
}

#[test]
fn errors_name_the_chunk_its_rows_the_function_and_the_executor() {
    let cluster = LocalCluster::start_with_slots(2, 1).expect("a cluster");
    let df = numbers(100);
    let error = df.par_chunks(4).on(&cluster).map(no_column::task()).expect_err("chunk 2 has no such column");
    assert_eq!((error.chunk(), error.rows()), (2, 50..75));
    assert!(error.to_string().contains("missing"), "{error}");
    let error = df.par_chunks(4).on(&cluster).map(panics_at_50::task()).expect_err("chunk 2 panics");
    assert_eq!((error.chunk(), error.rows()), (2, 50..75));
    for part in ["panics_at_50", "no fifties", "executor 127.0.0.1:"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn errors_of_a_map_name_the_item_the_function_and_the_executor() {
    let cluster = LocalCluster::start_with_slots(1, 2).expect("a cluster");
    let outcomes: Vec<Result<u64, TaskError>> = odd::map(100..120).on(&cluster).chunk_size(3).outcomes();
    let mut failed = outcomes.into_iter().enumerate().filter_map(|(n, outcome)| Some((n, outcome.err()?)));
    let (Some((7, error)), None) = (failed.next(), failed.next()) else { panic!("item 7 alone panics") };
    assert!(matches!(error, TaskError::Panicked { .. }), "{error:?}");
    for part in ["::odd` panicked at", "item 7: ", "no primes", "executor 127.0.0.1:"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_crash_and_a_time_out_cost_their_own_items() {
    let cluster = LocalCluster::start_with_slots(2, 2).expect("a cluster");
    let outcomes: Vec<Result<u64, TaskError>> = poison::map(0..12).on(&cluster).collect();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(same) => assert_eq!(same, n as u64),
            Err(error) => {
                assert_eq!(n, 5, "{error}");
                assert!(error.to_string().contains("in each of 3 attempts"), "{error}");
                assert!(error.to_string().contains("item 5: "), "{error}");
                assert!(matches!(error, TaskError::WorkerDied { signal: Some(6), .. }), "{error:?}");
            }
        }
    }
    let outcomes: Vec<Result<u64, TaskError>> = slow_at_3::map(0..6).on(&cluster).collect();
    let late = outcomes.iter().filter(|outcome| matches!(outcome, Err(TaskError::TimedOut { .. }))).count();
    assert_eq!(late, 1);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
}
