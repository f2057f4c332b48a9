//! `par_map_batches`: a function of batches inside a query, on both engines.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use fanfold::prelude::*;
use polars::prelude::*;

const ENGINES: [Engine; 2] = [Engine::InMemory, Engine::Streaming];

fn numbers(rows: i64) -> DataFrame {
    df!("n" => (0..rows).collect::<Vec<_>>(), "other" => (0..rows).map(|_| "text").collect::<Vec<_>>())
        .expect("two columns")
}

#[allow(clippy::needless_pass_by_value, reason = "the signature of a function of batches")]
fn doubled(batch: DataFrame) -> PolarsResult<DataFrame> {
    let twice = batch.column("n")?.as_materialized_series() * 2;
    DataFrame::new(batch.height(), vec![twice.into_column().with_name("twice".into())])
}

fn schema_of_twice() -> Schema {
    Schema::from_iter([Field::new("twice".into(), DataType::Int64)])
}

#[test]
fn a_query_goes_on_behind_the_function_in_order() {
    for engine in ENGINES {
        for rows in [0, 1, 500_000] {
            let lazy = numbers(rows).lazy().filter(col("n").gt_eq(lit(0)));
            let lazy = lazy.par_map_batches(doubled, schema_of_twice()).filter(col("twice").lt(lit(400_001)));
            let all = lazy.clone().collect_with_engine(engine).expect("a query").unwrap_single();
            let wanted: Vec<i64> = (0..rows).map(|n| 2 * n).filter(|n| *n < 400_001).collect();
            assert_eq!(all, df!("twice" => wanted).expect("one column"), "{engine:?}");
            // Few columns are selected behind it, and few rows taken.
            let first = lazy.limit(1).select([len()]).collect_with_engine(engine).expect("a query").unwrap_single();
            assert_eq!(first.columns()[0].get(0).expect("one row").extract::<i64>(), Some(rows.min(1)));
        }
    }
}

#[test]
fn batches_are_mapped_on_several_threads() {
    if thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
        return;
    }
    for engine in ENGINES {
        let threads: &'static Mutex<Vec<ThreadId>> = Box::leak(Box::default());
        let rows: &'static AtomicUsize = Box::leak(Box::default());
        let record = |batch: DataFrame| {
            let mut threads = threads.lock().expect("no panic");
            if !threads.contains(&thread::current().id()) {
                threads.push(thread::current().id());
            }
            drop(threads);
            rows.fetch_add(batch.height(), Ordering::Relaxed);
            // Long enough for another thread to take the next batch.
            batch.sort(["n"], SortMultipleOptions::default())
        };
        let lazy = numbers(2_000_000).lazy();
        let schema = lazy.clone().collect_schema().expect("two columns");
        lazy.par_map_batches(record, schema).collect_with_engine(engine).expect("a query");
        assert_eq!(rows.load(Ordering::Relaxed), 2_000_000, "each row once");
        assert!(threads.lock().expect("no panic").len() > 1, "{engine:?}");
    }
}

#[test]
fn errors_panics_and_other_columns_are_errors_of_the_query() {
    for engine in ENGINES {
        let run = |f: fn(DataFrame) -> PolarsResult<DataFrame>| {
            let lazy = numbers(300_000).lazy().par_map_batches(f, schema_of_twice());
            lazy.collect_with_engine(engine).map(|_| ()).expect_err("it fails").to_string()
        };
        assert!(run(|_| polars_bail!(ComputeError: "not today")).contains("not today"));
        let panicked = run(|_| panic!("in a batch"));
        assert!(panicked.contains("in a batch"), "{panicked}");
        let other = run(Ok);
        assert!(other.contains("it has 2 columns (`n`, `other`), and the declared schema has 1 (`twice`)"), "{other}");
        let name = run(|batch| batch.select(["n"]));
        assert!(name.contains("its column 0 is named `n`, the declared schema's is `twice`"), "{name}");
        // A later query works.
        let good = numbers(10).lazy().par_map_batches(doubled, schema_of_twice()).collect_with_engine(engine);
        assert_eq!(good.expect("a query").unwrap_single().height(), 10);
    }
}

#[test]
fn a_query_with_the_function_can_be_scanned_and_mapped_again() {
    let lazy = numbers(250_000).lazy().par_map_batches(doubled, schema_of_twice());
    let sum = |chunk: DataFrame| Ok(chunk.column("twice")?.i64()?.sum().unwrap_or(0));
    let total = lazy.clone().par_rows(10_000).map_reduce(sum, |a, b| a + b).expect("a query");
    assert_eq!(total, 249_999 * 250_000);
    // The function maps frames and queries itself.
    let nested = |batch: DataFrame| {
        let lazy = batch.lazy().par_map_batches(|batch| Ok(batch.par_chunks(3).map(Ok)?), schema_of_twice());
        lazy.collect()
    };
    for engine in ENGINES {
        let all = lazy.clone().par_map_batches(nested, schema_of_twice()).collect_with_engine(engine);
        assert_eq!(all.expect("a query").unwrap_single().height(), 250_000);
    }
}
