//! Chunks of whole groups, overlapping chunks, declared schemas and named pools.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fanfold::Pool;
use fanfold::prelude::*;
use polars::prelude::*;

/// Groups of 1 to 7 rows, contiguous (`sorted`) or scattered (`key`), with a null and a NaN among the keys.
fn grouped() -> DataFrame {
    let rows = 500_i64;
    let sorted: Vec<Option<i64>> = (0..rows).map(|row| Some(row / 4)).collect();
    let key: Vec<Option<f64>> = (0..rows)
        .map(|row| match row * 7 % 23 {
            3 => None,
            5 => Some(f64::NAN),
            key => Some(f64::from(i32::try_from(key).expect("small"))),
        })
        .collect();
    df!("sorted" => sorted, "key" => key, "row" => (0..rows).collect::<Vec<_>>()).expect("equal lengths")
}

/// The keys of each chunk, as text.
fn keys_of_chunks(df: &DataFrame, key: &str, chunks: usize) -> Vec<HashSet<String>> {
    let seen = Mutex::new(Vec::new());
    df.par_groups([key])
        .chunks(chunks)
        .for_each(|chunk| {
            let keys = chunk.column(key)?.cast(&DataType::String)?;
            let keys = keys.str()?.iter().map(|key| format!("{key:?}")).collect();
            seen.lock().expect("no panic").push(keys);
            Ok(())
        })
        .expect("no chunk fails");
    seen.into_inner().expect("no panic")
}

#[test]
fn no_group_is_split_between_chunks() {
    let df = grouped();
    for (key, groups) in [("sorted", 125), ("key", 23)] {
        let chunks = keys_of_chunks(&df, key, 6);
        assert!((4..=6).contains(&chunks.len()), "{}", chunks.len());
        assert_eq!(chunks.iter().map(HashSet::len).sum::<usize>(), groups, "{key}: a group is in two chunks");
    }
}

#[test]
fn groups_come_in_order_of_their_first_rows_for_any_number_of_chunks() {
    let df = grouped();
    let firsts = |group: DataFrame| Ok(group.head(Some(1)));
    let expected = df.unique_stable(Some(&["key".into()]), UniqueKeepStrategy::First, None).expect("key is there");
    for chunks in [1, 2, 7, 500] {
        let out = df.par_groups(["key"]).chunks(chunks).map_groups(firsts).expect("no group fails");
        assert!(out.equals_missing(&expected), "{out} is not {expected}");
    }
    assert!(df.par_groups(["key"]).map_groups(firsts).expect("no group fails").equals_missing(&expected));
}

#[test]
fn contiguous_groups_are_not_copied() {
    let df = grouped();
    let address = |df: &DataFrame| df.column("row").unwrap().i64().unwrap().cont_slice().unwrap().as_ptr();
    let rows = df.column("row").unwrap().i64().unwrap().cont_slice().unwrap();
    df.par_groups(["sorted"])
        .chunks(5)
        .for_each(|chunk| {
            assert!(rows.as_ptr_range().contains(&address(&chunk)), "a copy");
            Ok(())
        })
        .expect("no chunk fails");
    // Groups need only be contiguous, not ascending.
    let clustered = df!("key" => ["b", "b", "a", "a", "c"], "row" => 0..5_i64).expect("equal lengths");
    let rows = clustered.column("row").unwrap().i64().unwrap().cont_slice().unwrap();
    clustered
        .par_groups(["key"])
        .chunks(3)
        .for_each(|chunk| {
            assert!(rows.as_ptr_range().contains(&address(&chunk)), "a copy");
            Ok(())
        })
        .expect("no chunk fails");
}

#[test]
fn keep_order_restores_the_order_of_rows() {
    let df = grouped();
    for key in ["sorted", "key"] {
        let unchanged = df.par_groups([key]).chunks(6).keep_order(true).map(Ok).expect("no chunk fails");
        assert!(unchanged.equals_missing(&df), "{unchanged} is not {df}");
        let ranked = |mut group: DataFrame| {
            let height = i64::try_from(group.height()).expect("small");
            group.with_column(Series::new("rank".into(), (0..height).collect::<Vec<_>>()).into_column())?;
            Ok(group)
        };
        let ranks = df.par_groups([key]).keep_order(true).map_groups(ranked).expect("no group fails");
        assert!(ranks.drop("rank").expect("it is there").equals_missing(&df));
        let error = df.par_groups([key]).keep_order(true).map(|chunk| Ok(chunk.head(Some(1)))).expect_err("too few");
        assert!(error.to_string().contains("it must give one for each"), "{error}");
    }
}

#[test]
fn several_keys_define_a_group() {
    let df = grouped();
    let sizes = Mutex::new(Vec::new());
    df.par_groups(["sorted", "key"])
        .map_groups(|group| {
            sizes.lock().expect("no panic").push(group.height());
            Ok(group)
        })
        .expect("no group fails");
    let expected = df.group_by_stable(["sorted", "key"]).expect("the keys are there").get_groups().len();
    assert_eq!(sizes.into_inner().expect("no panic").len(), expected);
}

#[test]
fn invalid_keys_are_clear_errors() {
    let df = grouped();
    let missing = df.par_groups(["carrier"]).map(Ok).expect_err("no such column");
    assert!(missing.to_string().contains("carrier"), "{missing}");
    assert!(matches!(PolarsError::from(missing), PolarsError::ColumnNotFound(_)));
    let none = df.par_groups([""; 0]).map(Ok).expect_err("no key").to_string();
    assert!(none.contains("at least one key"), "{none}");
    let twice = df.par_groups(["key", "sorted", "key"]).map(Ok).expect_err("one key twice").to_string();
    assert!(twice.contains("a key of the groups is named twice"), "{twice}");
    let zero = df.par_groups(["key"]).chunks(0).map(Ok).expect_err("0 chunks").to_string();
    assert_eq!(zero, "a frame cannot be cut into 0 chunks: ask for at least 1");
    let failing = df.par_groups(["sorted"]).map_groups(|group| {
        polars_ensure!(group.column("sorted")?.i64()?.get(0) != Some(7), ComputeError: "unlucky");
        Ok(group)
    });
    let failing = failing.expect_err("group 7 fails").to_string();
    assert!(failing.contains("group sorted = 7: unlucky"), "{failing}");
    let panicking = df.par_groups(["sorted"]).map_groups(|group| {
        assert!(group.column("sorted")?.i64()?.get(0) != Some(9), "nine");
        Ok(group)
    });
    let panicking = panicking.expect_err("group 9 panics").to_string();
    assert!(panicking.contains("group sorted = 9: ") && panicking.ends_with("nine"), "{panicking}");
    let error = df.par_groups(["sorted"]).chunks(2).map_groups(|group| {
        let odd = group.column("sorted")?.i64()?.get(0) == Some(3);
        if odd { group.select(["row"]) } else { Ok(group) }
    });
    let error = error.expect_err("group 3 is narrow").to_string();
    assert!(
        error.contains(
            "group sorted = 3: its result does not fit the others: it has 1 column (`row`), and the first group has 3"
        ),
        "{error}"
    );
}

#[test]
fn an_empty_frame_is_one_empty_group() {
    let df = grouped().clear();
    let calls = AtomicUsize::new(0);
    let out = df.par_groups(["key"]).map_groups(|group| {
        calls.fetch_add(1, Ordering::Relaxed);
        Ok(group)
    });
    assert_eq!(out.expect("no group fails").schema(), df.schema());
    assert_eq!(calls.into_inner(), 1);
}

/// The difference to the previous row and to the next row.
fn steps(mut chunk: DataFrame) -> PolarsResult<DataFrame> {
    let x = chunk.column("row")?.clone();
    chunk.with_column((&x - &x.shift(1))?.with_name("before".into()))?;
    chunk.with_column((&x.shift(-1) - &x)?.with_name("after".into()))?;
    Ok(chunk)
}

#[test]
fn overlapping_chunks_give_the_result_of_the_whole_frame() {
    let df = grouped();
    let whole = steps(df.clone()).expect("row is there");
    for chunks in [1, 3, 17, 499, 500] {
        let out = df.par_chunks(chunks).overlap(1).overlap_after(1).map(steps).expect("no chunk fails");
        assert!(out.equals_missing(&whole), "{chunks} chunks: {out}");
    }
    // Longer than a chunk, and longer than the frame.
    for overlap in [3, 10, 1_000, usize::MAX] {
        let out = df.par_rows(2).overlap(overlap).overlap_after(overlap).map(steps).expect("no chunk fails");
        assert!(out.equals_missing(&whole), "{overlap} rows");
    }
    let series = df.par_chunks(4).overlap(1).map_series(|chunk| {
        let x = chunk.column("row")?.as_materialized_series();
        x - &x.shift(1)
    });
    assert_eq!(series.expect("no chunk fails").null_count(), 1);
}

#[test]
fn an_overlap_requires_one_result_row_for_each_row() {
    let df = grouped();
    let error = df.par_rows(100).overlap(5).map(|chunk| Ok(chunk.head(Some(3)))).expect_err("too few").to_string();
    assert!(error.contains("the function gave 3 rows for the 100 it saw"), "{error}");
    let error = df.par_rows(100).overlap(5).map_reduce(|c| Ok(c.height()), |a, b| a + b).expect_err("no rows");
    assert!(error.to_string().contains("an overlap is cut off"), "{error}");
}

#[test]
fn the_result_has_the_declared_schema() {
    let nulls = DataFrame::new(6, vec![Column::full_null("x".into(), 6, &DataType::Null)]).expect("one column");
    let schema = Schema::from_iter([Field::new("x".into(), DataType::Float64)]);
    let out = nulls.par_chunks(3).schema(schema.clone()).map(Ok).expect("nulls fit");
    assert_eq!(out.schema().as_ref(), &schema);
    let wrong = df!("x" => [1_i64, 2]).expect("one column");
    let error = wrong.par_chunks(2).schema(schema.clone()).map(Ok).expect_err("not floats").to_string();
    assert!(error.ends_with("its column `x` is i64, and f64 in the declared schema"), "{error}");
    // A single chunk is checked too.
    let error = wrong.par_chunks(1).schema(schema.clone()).map(|c| c.drop("x")).expect_err("too few").to_string();
    assert!(error.ends_with("it has 0 columns (), and the declared schema has 1 (`x`)"), "{error}");
    let series = nulls.par_chunks(2).schema(schema).map_series(|c| Ok(c.columns()[0].as_materialized_series().clone()));
    assert_eq!(series.expect("nulls fit").dtype(), &DataType::Float64);
}

#[test]
fn series_and_columns_can_be_chunked() {
    let df = grouped();
    let column = df.column("row").expect("row is there");
    let series = column.as_materialized_series();
    let negated = series.par_chunks(7).map(|part| Ok(&part * -1)).expect("no chunk fails");
    assert_eq!(negated, series * -1);
    assert_eq!(&column.par_rows(9).rechunk(true).map(Ok).expect("no chunk fails"), column);
    assert_eq!(series.par().map_reduce(|part| Ok(part.len()), |a, b| a + b).expect("no chunk fails"), 500);
}

#[test]
fn the_default_number_of_chunks_suits_the_frame() {
    let chunks = |df: &DataFrame| df.par().map_reduce(|_| Ok(1), |a, b| a + b).expect("no chunk fails");
    assert_eq!(chunks(&grouped()), 1); // too few rows to split
    let many = DataFrame::new(1_000_000, vec![Column::full_null("x".into(), 1_000_000, &DataType::Null)]);
    let cores = Pool::cpu_default().stats().limit;
    assert_eq!(chunks(&many.expect("one column")), 4 * cores);
}

#[test]
fn chunks_run_on_the_named_pool() {
    for pool in [Pool::cpu("three"), Pool::io("three")] {
        let pool = pool.threads(3).build().expect("threads start");
        let names = Mutex::new(HashSet::new());
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let out = grouped().par_rows(10).on(&pool).map(|chunk| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            names.lock().expect("no panic").insert(thread::current().name().unwrap_or_default().to_owned());
            let sorted = chunk.sort(["row"], SortMultipleOptions::default())?;
            assert_eq!(polars_core::runtime::RAYON.current_num_threads(), 1, "Polars' threads are off");
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(sorted)
        });
        assert!(out.expect("no chunk fails").equals_missing(&grouped()));
        let names = names.into_inner().expect("no panic");
        assert!(names.iter().all(|name| name.starts_with("fanfold-three-")), "{names:?}");
        assert!(most.into_inner() <= 3);
        // The pool's own threads are unchanged: a later task there finds rayon's threads.
        let threads = pool.submit(|| polars_core::runtime::RAYON.current_num_threads()).join();
        assert_eq!(threads.expect("no panic"), polars_core::runtime::RAYON.current_num_threads());
    }
}

#[test]
fn a_pool_of_one_thread_runs_nested_chunks() {
    let pool = Pool::io("one").threads(1).build().expect("a thread starts");
    let df = grouped();
    let out = df.par_chunks(4).on(&pool).map(|chunk| Ok(chunk.par_chunks(3).on(&pool).map(Ok)?));
    assert!(out.expect("no chunk fails").equals_missing(&df));
}

#[parallel(kind = "cpu", chunks = 5, by = ["key"])]
fn group_sizes(chunk: DataFrame, counted: &AtomicUsize) -> PolarsResult<DataFrame> {
    counted.fetch_add(1, Ordering::Relaxed);
    chunk.group_by_stable(["key"])?.apply(|group| {
        let size = u32::try_from(group.height()).unwrap_or(u32::MAX);
        DataFrame::new(1, vec![group.column("key")?.head(Some(1)), Column::new("size".into(), [size])])
    })
}

#[parallel(kind = "cpu", chunks = "auto", by = ["carrier"])]
fn by_carrier(frame: DataFrame) -> DataFrame {
    frame
}

#[test]
fn annotated_functions_are_split_between_groups() {
    let (df, calls) = (grouped(), AtomicUsize::new(0));
    let whole = group_sizes::serial(df.clone(), &calls).expect("key is there");
    let out = group_sizes(df.clone(), &calls).expect("key is there");
    assert!(out.equals_missing(&whole), "{out} is not {whole}");
    assert_eq!(calls.into_inner(), 6);
    let missing = group_sizes(df.drop("key").expect("it is there"), &AtomicUsize::new(0)).expect_err("no key");
    assert!(missing.to_string().contains("the frame cannot be cut by groups") && missing.to_string().contains("key"));
    // Where the function returns no `Result`, the error is a panic.
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| by_carrier(df))).expect_err("no carrier");
    assert!(panic.downcast_ref::<String>().is_some_and(|text| text.contains("carrier")), "{panic:?}");
}

#[parallel(kind = "cpu", chunks = 7, overlap = 1)]
fn stepped(chunk: DataFrame) -> PolarsResult<DataFrame> {
    let x = chunk.column("row")?;
    DataFrame::new(chunk.height(), vec![(x - &x.shift(1))?])
}

#[parallel(kind = "cpu", chunk_size = 3, overlap = 10)]
fn unchanged(column: Column) -> Column {
    column
}

#[parallel(kind = "cpu", chunks = 4, overlap = 2)]
fn without_first_row(chunk: DataFrame) -> PolarsResult<DataFrame> {
    chunk.tail(Some(1)).select(["row"])
}

#[test]
fn annotated_functions_see_the_overlap_before_their_rows() {
    let df = grouped();
    assert!(
        stepped(df.clone()).expect("row is there").equals_missing(&stepped::serial(df.clone()).expect("row is there"))
    );
    let row = df.column("row").expect("row is there");
    assert_eq!(&unchanged(row.clone()), row);
    assert_eq!(unchanged(row.clear()).len(), 0);
    let error = without_first_row(df).expect_err("too few rows").to_string();
    assert!(error.contains("the function gave 1 rows for the 125 it saw"), "{error}");
}

#[test]
fn a_group_with_too_few_result_rows_is_an_error_that_names_it() {
    let frame = df!("k" => ["a", "b", "a", "b"], "n" => [1, 2, 3, 4]).expect("equal lengths");
    let uneven = |group: DataFrame| {
        let first = group.column("k")?.str()?.get(0) == Some("a");
        Ok(if first { group.head(Some(1)) } else { group.vstack(&group.head(Some(1)))? })
    };
    let error =
        frame.par_groups(["k"]).keep_order(true).map_groups(uneven).expect_err("three rows for two").to_string();
    assert!(error.contains("group k = \"a\"") && error.contains("gave 1 rows for 2"), "{error}");
}
