//! `par_column` and `par_values`: functions of numbers applied to a column.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "all values are below 2^24")]

use fanfold::Pool;
use fanfold::prelude::*;
use polars::prelude::*;

fn column(rows: i64, chunks: i64) -> Column {
    let mut whole = Series::new_empty("x".into(), &DataType::Int64);
    for chunk in 0..chunks {
        let values: Vec<Option<i64>> =
            (rows * chunk / chunks..rows * (chunk + 1) / chunks).map(|n| (n % 5 != 3).then_some(n)).collect();
        whole.append(&Series::new("x".into(), values)).expect("one type");
    }
    whole.into_column()
}

#[test]
fn nulls_stay_null_and_are_not_passed_to_the_function() {
    for chunks in [1, 3] {
        let x = column(100_000, chunks);
        let df = DataFrame::new(100_000, vec![x.clone()]).expect("one column");
        let out = df.par_column("x").map(|n: i64| {
            assert_ne!(n % 5, 3, "a null's place");
            n as f64 / 2.0
        });
        let out = out.expect("numbers");
        assert_eq!((out.name().as_str(), out.dtype(), out.null_count()), ("x", &DataType::Float64, 20_000));
        let expected: Vec<Option<f64>> = x.i64().unwrap().iter().map(|n| n.map(|n| n as f64 / 2.0)).collect();
        assert_eq!(out.f64().unwrap().to_vec(), expected);
        // The output shares the input's validity bitmap, and has one buffer for each input chunk.
        assert_eq!(out.n_chunks(), x.n_chunks());
    }
}

#[test]
fn columns_without_nulls_or_without_rows_are_mapped() {
    let x = Series::new("x".into(), (0..1_000_000).map(f64::from).collect::<Vec<f64>>());
    let out = x.par_values().map(|n: f64| n * 2.0).expect("numbers");
    assert_eq!(out.as_materialized_series(), &(&x * 2.0));
    assert_eq!(x.clear().par_values().map(|n: f64| n as i32).expect("numbers").len(), 0);
}

#[test]
fn wrong_types_and_missing_columns_are_clear_errors() {
    let df = DataFrame::new(10, vec![column(10, 1)]).expect("one column");
    let error = df.par_column("x").map(|n: f64| n).expect_err("they are integers").to_string();
    assert_eq!(error, "the column `x` is i64, and the function takes f64: cast the column, or take its type");
    let error = df.par_column("y").map(|n: f64| n).expect_err("no such column");
    assert!(matches!(PolarsError::from(error), PolarsError::ColumnNotFound(_)));
    // A logical type is not read as its physical number.
    let dates = df.column("x").unwrap().cast(&DataType::Datetime(TimeUnit::Milliseconds, None)).unwrap();
    assert!(dates.par_values().map(|n: i64| n).is_err());
    let error = df.par_column("x").map(|n: i64| if n == 7 { panic!("seven") } else { n }).expect_err("it panics");
    assert!(error.to_string().contains("seven") && error.rows() == (0..10), "{error}");
}

#[test]
fn a_column_is_mapped_on_the_named_pool() {
    let pool = Pool::cpu("numbers").threads(2).build().expect("threads start");
    let x = Series::new("x".into(), (0..10_000).collect::<Vec<i32>>());
    let named = x.par_values().on(&pool).map(|n: i32| {
        assert!(std::thread::current().name().is_some_and(|name| name.starts_with("fanfold-numbers-")));
        n + 1
    });
    assert_eq!(named.expect("numbers").as_materialized_series(), &(&x + 1));
}
