//! DataFrames in chunks: the results, and the error for every mistake.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use fanfold::prelude::*;
use polars::prelude::*;

fn numbers(rows: i64) -> DataFrame {
    df!("x" => 0..rows, "y" => (0..rows).map(|n| f64::from(i32::try_from(n).expect("small")) / 2.0).collect::<Vec<_>>())
        .expect("equal lengths")
}

fn double(mut chunk: DataFrame) -> PolarsResult<DataFrame> {
    let doubled = chunk.column("x")? * 2;
    chunk.with_column(doubled)?;
    Ok(chunk)
}

#[test]
fn chunk_results_are_joined_in_row_order() {
    let df = numbers(1_003);
    let expected = double(df.clone()).expect("x is there");
    for chunks in [1, 2, 8, 100, 5_000] {
        assert_eq!(df.par_chunks(chunks).map(double).expect("no chunk fails"), expected);
    }
    for rows in [1, 7, 1_003, 1_004] {
        assert_eq!(df.par_rows(rows).map(double).expect("no chunk fails"), expected);
    }
}

#[test]
fn chunks_are_balanced() {
    let heights = Mutex::new(Vec::new());
    let counted = |chunk: DataFrame| {
        heights.lock().expect("no panic").push(chunk.height());
        Ok(())
    };
    numbers(19).par_chunks(10).for_each(counted).expect("no chunk fails");
    let mut heights = heights.into_inner().expect("no panic");
    heights.sort_unstable();
    assert_eq!(heights, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn splitting_and_joining_share_the_buffers() {
    let df = numbers(1_000);
    let address =
        |df: &DataFrame, row: usize| &raw const df.column("x").unwrap().i64().unwrap().cont_slice().unwrap()[row];
    let out = df.par_chunks(4).map(Ok).expect("no chunk fails");
    assert_eq!(out.column("x").unwrap().n_chunks(), 4);
    let second = out.slice(250, 250);
    assert_eq!(address(&second, 0), address(&df, 250));
    let whole = df.par_chunks(4).rechunk(true).map(Ok).expect("no chunk fails");
    assert_eq!(whole.column("x").unwrap().n_chunks(), 1);
}

#[test]
fn an_empty_frame_keeps_its_schema_and_is_one_chunk() {
    let df = numbers(0);
    let calls = AtomicUsize::new(0);
    let out = df.par_chunks(8).map(|chunk| {
        calls.fetch_add(1, Ordering::Relaxed);
        double(chunk)
    });
    assert_eq!(out.expect("no chunk fails").schema(), df.schema());
    assert_eq!(calls.into_inner(), 1);
}

#[test]
fn the_height_of_a_frame_without_columns_is_kept() {
    let df = DataFrame::empty_with_height(10);
    let out = df.par_chunks(3).map(Ok).expect("no chunk fails");
    assert_eq!(out.shape(), (10, 0));
}

#[test]
fn an_error_names_the_chunk_and_its_rows() {
    let df = numbers(100);
    let error = df.par_chunks(4).map(|chunk| chunk.select(["z"])).expect_err("there is no z");
    assert_eq!((error.chunk, error.rows()), (0, 0..25));
    assert!(matches!(error.source.downcast_ref(), Some(PolarsError::ColumnNotFound(_))), "{error:?}");

    let third = |chunk: DataFrame| {
        let first = chunk.column("x")?.i64()?.get(0);
        if first == Some(50) {
            polars_bail!(ComputeError: "odd one out")
        }
        Ok(chunk)
    };
    let error = df.par_chunks(4).map(third).expect_err("chunk 2 fails");
    assert_eq!(error.to_string(), "chunk 2 (rows 50..75): odd one out");
    let polars: PolarsError = error.into();
    assert!(matches!(polars, PolarsError::ComputeError(_)));
    assert!(polars.to_string().contains("rows 50..75"), "{polars}");
}

#[test]
fn errors_of_any_type_can_be_recovered() {
    #[derive(Debug, PartialEq)]
    struct CustomError(i64);
    impl std::fmt::Display for CustomError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "mine {}", self.0)
        }
    }
    impl std::error::Error for CustomError {}
    let failed = numbers(10).par_rows(5).try_map(|_| Err(CustomError(7))).expect_err("it fails");
    assert_eq!(failed.source.downcast_ref(), Some(&CustomError(7)));
    assert_eq!(failed.to_string(), "chunk 0 (rows 0..5): mine 7");
}

#[test]
fn a_panic_in_a_chunk_is_an_error_with_its_rows() {
    let df = numbers(100);
    let error = df.par_chunks(10).map(|chunk| {
        assert!(chunk.column("x")?.i64()?.get(0) != Some(30), "row thirty");
        Ok(chunk)
    });
    let error = error.expect_err("chunk 3 panics").to_string();
    assert!(error.starts_with("chunk 3 (rows 30..40): "), "{error}");
    assert!(error.contains("panicked at ") && error.contains("frames.rs:"), "{error}");
    assert!(error.ends_with(": row thirty"), "{error}");
    // The workers survive the panic.
    assert_eq!(df.par_chunks(10).map(Ok).expect("no chunk fails"), df);
}

#[test]
fn the_first_failure_in_row_order_is_reported() {
    let df = numbers(64);
    for _ in 0..100 {
        let error = df.par_chunks(64).map(|chunk| {
            let row = chunk.column("x")?.i64()?.get(0).unwrap_or(0);
            if row >= 20 && row % 2 == 0 {
                polars_bail!(ComputeError: "{row}")
            }
            Ok(chunk)
        });
        assert_eq!(error.expect_err("many fail").rows(), 20..21);
    }
}

#[test]
fn null_columns_take_the_type_of_other_chunks_in_any_order() {
    let df = numbers(4);
    for null_row in 0..4 {
        let out = df.par_rows(1).map(|chunk| {
            let row = chunk.column("x")?.i64()?.get(0);
            if row != Some(null_row) {
                return Ok(chunk.with_list_column());
            }
            let nulls = Column::full_null("x".into(), 1, &DataType::Null);
            let list = Series::new("l".into(), [Series::full_null("".into(), 1, &DataType::Null)]);
            DataFrame::new(1, vec![nulls, list.into_column()])
        });
        let out = out.expect("nulls fit any type");
        assert_eq!(out.column("x").unwrap().dtype(), &DataType::Int64);
        assert_eq!(out.column("l").unwrap().dtype(), &DataType::List(Box::new(DataType::Int64)));
        assert_eq!(out.column("x").unwrap().null_count(), 1);
        let expected: Vec<_> = (0..4).map(|row| (row != null_row).then_some(row)).collect();
        assert_eq!(out.column("x").unwrap().i64().unwrap().to_vec(), expected);
    }
    let all = df.par_rows(2).map(|chunk| {
        DataFrame::new(chunk.height(), vec![Column::full_null("n".into(), chunk.height(), &DataType::Null)])
    });
    assert_eq!(all.expect("null everywhere").column("n").unwrap().dtype(), &DataType::Null);
}

trait WithListColumn {
    fn with_list_column(&self) -> DataFrame;
}

impl WithListColumn for DataFrame {
    /// The column `x`, and a list of each of its values.
    fn with_list_column(&self) -> DataFrame {
        let x = self.column("x").expect("x is there").clone();
        let lists: Vec<Series> = x.i64().expect("numbers").iter().map(|v| Series::new("".into(), [v])).collect();
        DataFrame::new(self.height(), vec![x, Series::new("l".into(), lists).into_column()]).expect("equal lengths")
    }
}

/// The error of a map in which `odd` makes the result of chunk 1.
fn mismatch_error(odd: impl Fn(DataFrame) -> PolarsResult<DataFrame> + Sync) -> String {
    let df = numbers(10);
    let error = df.par_chunks(2).map(|chunk| {
        let first = chunk.column("x")?.i64()?.get(0);
        if first == Some(5) { odd(chunk) } else { Ok(chunk) }
    });
    error.expect_err("the chunks do not fit").to_string()
}

#[test]
fn chunks_with_other_schemas_are_errors_that_name_the_column() {
    let wrong_type = mismatch_error(|mut chunk| {
        let text = chunk.column("y")?.cast(&DataType::String)?;
        chunk.with_column(text)?;
        Ok(chunk)
    });
    assert_eq!(
        wrong_type,
        "chunk 1 (rows 5..10): its result does not fit the others: \
         its column `y` is str, and f64 in the chunks before"
    );
    let wrong_name = mismatch_error(|mut chunk| {
        chunk.rename("y", "z".into())?;
        Ok(chunk)
    });
    assert!(wrong_name.ends_with("its column 1 is named `z`, chunk 0's is `y`"), "{wrong_name}");
    let wrong_width = mismatch_error(|chunk| chunk.drop("y"));
    assert!(wrong_width.ends_with("it has 1 column (`x`), and chunk 0 has 2 (`x`, `y`)"), "{wrong_width}");
    let wrong_order = mismatch_error(|chunk| chunk.select(["y", "x"]));
    assert!(wrong_order.contains("its column 0 is named `y`, chunk 0's is `x`"), "{wrong_order}");
    // A chunk without rows is checked too.
    let wrong_empty = mismatch_error(|chunk| Ok(chunk.select(["x"])?.clear()));
    assert!(wrong_empty.contains("it has 1 column"), "{wrong_empty}");
}

#[test]
fn a_different_decimal_scale_is_an_error_and_gives_no_nulls() {
    let df = numbers(4);
    let error = df.par_chunks(2).map(|chunk| {
        let scale = if chunk.column("x")?.i64()?.get(0) == Some(0) { 2 } else { 4 };
        let money = chunk.column("x")?.cast(&DataType::Decimal(20, scale))?;
        DataFrame::new(chunk.height(), vec![money])
    });
    let error = error.expect_err("the scales differ").to_string();
    assert!(error.contains("chunk 1 (rows 2..4)") && error.contains("column `x`"), "{error}");
}

#[test]
fn zero_chunks_and_zero_rows_are_refused() {
    let df = numbers(4);
    let error = df.par_chunks(0).map(Ok).expect_err("0 chunks").to_string();
    assert_eq!(error, "a frame cannot be cut into 0 chunks: ask for at least 1");
    let error = df.par_rows(0).map(Ok).expect_err("0 rows").to_string();
    assert_eq!(error, "a frame cannot be cut into chunks of 0 rows: ask for at least 1");
}

#[test]
fn map_reduce_folds_in_row_order() {
    let df = numbers(1_000);
    let first_rows = |chunk: DataFrame| Ok(vec![chunk.column("x")?.i64()?.get(0).unwrap_or(-1)]);
    let folded = df.par_rows(100).map_reduce(first_rows, |mut all, more| {
        all.extend(more);
        all
    });
    assert_eq!(folded.expect("no chunk fails"), (0..10).map(|n| n * 100).collect::<Vec<_>>());
    let height = df.par_chunks(8).map_reduce(|c| Ok(c.height()), |a, b| a + b);
    assert_eq!(height.expect("no chunk fails"), 1_000);
}

#[test]
fn map_series_appends_in_row_order() {
    let df = numbers(10);
    let out = df.par_chunks(3).map_series(|chunk| Ok(chunk.column("x")?.as_materialized_series() + 1));
    assert_eq!(out.expect("no chunk fails"), Series::new("x".into(), (1..11).collect::<Vec<i64>>()));
}

#[test]
fn the_sorted_flag_is_kept_only_where_it_is_true() {
    let mut df = numbers(100);
    df.sort_in_place(["x"], SortMultipleOptions::default()).expect("x is there");
    let unchanged = df.par_chunks(4).map(Ok).expect("no chunk fails");
    assert_eq!(
        unchanged.column("x").unwrap().as_materialized_series().is_sorted_flag(),
        polars::series::IsSorted::Ascending
    );
    let reversed =
        df.par_chunks(4).map(|chunk| chunk.sort(["x"], SortMultipleOptions::new().with_order_descending(true)));
    let reversed = reversed.expect("no chunk fails");
    assert_eq!(reversed.column("x").unwrap().as_materialized_series().is_sorted_flag(), polars::series::IsSorted::Not);
}

#[test]
fn each_chunk_uses_one_polars_thread_unless_it_asks_for_more() {
    let inside = |_: DataFrame| Ok(HashSet::from([polars_core::runtime::RAYON.current_num_threads()]));
    let union = |mut a: HashSet<usize>, b| {
        a.extend(b);
        a
    };
    let df = numbers(100);
    let before = polars_core::runtime::RAYON.current_num_threads();
    assert_eq!(df.par_chunks(8).map_reduce(inside, union).expect("no chunk fails"), HashSet::from([1]));
    let asked = |chunk| with_polars_threads(|| inside(chunk));
    assert_eq!(df.par_chunks(8).map_reduce(asked, union).expect("no chunk fails"), HashSet::from([before]));
    assert_eq!(polars_core::runtime::RAYON.current_num_threads(), before);
}

#[test]
fn a_lock_held_across_polars_and_nested_chunks_does_not_hang() {
    let df = numbers(10_000);
    let lock = Mutex::new(0);
    let out = df.par_chunks(16).map(|chunk| {
        let mut held = lock.lock().expect("no panic");
        *held += 1;
        let sorted = chunk.sort(["y"], SortMultipleOptions::default())?;
        Ok(sorted.par_chunks(4).map(double)?)
    });
    assert_eq!(out.expect("no chunk fails"), double(df).expect("x is there"));
    assert_eq!(lock.into_inner().expect("no panic"), 16);
}

#[test]
fn two_chunks_run_at_the_same_time() {
    // Each chunk waits for another one, so one thread alone would hang.
    if thread::available_parallelism().map_or(1, std::num::NonZero::get) < 2 {
        return;
    }
    let both = Barrier::new(2);
    let out = numbers(10).par_chunks(2).for_each(|_| {
        both.wait();
        Ok(())
    });
    out.expect("no chunk fails");
}

#[parallel(kind = "cpu", chunks = 4)]
fn squared(mut frame: DataFrame) -> PolarsResult<DataFrame> {
    let name = thread::current().name().unwrap_or_default().to_owned();
    assert!(!name.starts_with("fanfold-cpu"), "Polars data stays off rayon threads");
    let square = frame.column("x")? * frame.column("x")?;
    frame.with_column(square?)?;
    Ok(frame)
}

#[parallel(kind = "cpu", chunks = 3)]
fn negated(series: Series) -> Series {
    &series * -1
}

#[parallel(kind = "cpu", chunk_size = 10)]
fn drop_y_at(frame: DataFrame, odd: i64) -> PolarsResult<DataFrame> {
    let odd_one = frame.column("x")?.i64()?.get(0) == Some(odd);
    if odd_one { frame.drop("y") } else { Ok(frame) }
}

#[parallel(kind = "cpu")]
fn call_from_a_cpu_worker(frame: &DataFrame) -> PolarsResult<DataFrame> {
    Ok(frame.par_chunks(4).map(squared)?)
}

#[test]
fn annotated_functions_take_frames_and_series() {
    let df = numbers(1_000);
    let expected = squared::serial(df.clone()).expect("x is there");
    assert_eq!(squared(df.clone()).expect("x is there"), expected);
    assert_eq!(df.par_chunks(8).map(squared).expect("x is there"), expected);
    assert_eq!(call_from_a_cpu_worker(&df).expect("x is there"), expected);
    let series = Series::new("s".into(), (0..100).collect::<Vec<i64>>());
    assert_eq!(negated(series.clone()), &series * -1);
}

#[test]
fn a_schema_mismatch_in_an_annotated_function_is_its_polars_error() {
    let df = numbers(100);
    assert_eq!(drop_y_at(df.clone(), -1).expect("they fit"), df);
    let error = drop_y_at(df, 50).expect_err("chunk 5 lacks y");
    assert!(matches!(error, PolarsError::SchemaMismatch(_)), "{error:?}");
    assert!(error.to_string().contains("chunk 5"), "{error}");
}

#[test]
fn the_callers_thread_joins_no_rayon_pool() {
    // Running Polars with one thread on the caller would make the caller the only thread of a rayon pool for good.
    numbers(100).par_chunks(8).map(|chunk| chunk.sort(["y"], SortMultipleOptions::default())).expect("y is there");
    squared(numbers(100)).expect("x is there");
    assert_eq!(rayon::current_thread_index(), None);
}

#[allow(clippy::needless_lifetimes, reason = "tests that an explicit lifetime is accepted")]
#[parallel(kind = "cpu", chunks = 4)]
fn tripled<'a>(frame: &'a DataFrame, column: &'a str) -> PolarsResult<DataFrame> {
    DataFrame::new(frame.height(), vec![frame.column(column)? * 3])
}

#[parallel(kind = "io", chunk_size = 3, overlap = 1)]
fn steps(series: &Series) -> PolarsResult<Series> {
    series - &series.shift(1)
}

#[parallel(kind = "cpu", chunks = 3, by = ["half"])]
fn halves(frame: &DataFrame) -> Vec<usize> {
    vec![frame.column("half").and_then(Column::n_unique).unwrap_or(0)]
}

#[parallel(kind = "cpu", chunks = 3)]
fn added(#[chunk] one: &Column, #[chunk] other: &Series) -> PolarsResult<Column> {
    one.as_materialized_series().clone().into_column() + other.clone().into_column()
}

#[test]
fn annotated_functions_take_references_to_frames() {
    let df = numbers(10);
    let out = tripled(&df, "x").expect("x is there");
    assert_eq!(out, tripled::serial(&df, "x").expect("x is there"));
    assert!(tripled(&df, "z").is_err());
    let x = df.column("x").expect("x is there");
    let series = x.as_materialized_series();
    assert_eq!(steps(series).expect("numbers").null_count(), 1);
    assert_eq!(&added(x, series).expect("equal lengths"), &(x * 2));
    assert_eq!(added(&x.clear(), &series.clear()).expect("equal lengths").len(), 0);
    let grouped = df!("half" => (0..10_i64).map(|n| n / 2).collect::<Vec<_>>()).expect("one column");
    assert_eq!(halves(&grouped).iter().sum::<usize>(), 5);
}

#[parallel(kind = "cpu", chunks = "auto")]
fn heights(frame: DataFrame) -> Vec<usize> {
    vec![frame.height()]
}

#[test]
fn annotated_functions_split_a_short_frame_into_few_chunks() {
    assert_eq!(heights(numbers(100)), [100]);
    let many = heights(numbers(100_000));
    assert_eq!(many.len(), 4 * fanfold::Pool::cpu_default().stats().limit.min(24));
    assert_eq!(many.iter().sum::<usize>(), 100_000);
}

static NAMED: fanfold::Pool = fanfold::Pool::cpu("named").threads(2);

#[parallel(kind = "cpu", chunks = 4, pool = NAMED)]
fn threads_of_chunks(frame: DataFrame) -> HashSet<(String, usize)> {
    drop(frame);
    let name = thread::current().name().unwrap_or_default().to_owned();
    HashSet::from([(name, polars_core::runtime::RAYON.current_num_threads())])
}

#[test]
fn each_chunk_on_a_named_pool_uses_one_polars_thread() {
    let threads_of_chunks = threads_of_chunks(numbers(10));
    assert!(
        threads_of_chunks.iter().all(|(name, threads)| name.starts_with("fanfold-named-") && *threads == 1),
        "{threads_of_chunks:?}"
    );
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Thing(usize);

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "thing {}", self.0)
    }
}

impl polars::polars_utils::total_ord::TotalEq for Thing {
    fn tot_eq(&self, other: &Self) -> bool {
        self == other
    }
}

impl polars::polars_utils::total_ord::TotalHash for Thing {
    fn tot_hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::hash::Hash::hash(self, state);
    }
}

impl PolarsObject for Thing {
    fn type_name() -> &'static str {
        "thing"
    }
}

#[test]
fn objects_are_split_and_joined_and_unsupported_operations_are_errors() {
    let things = ObjectChunked::new_from_vec("o".into(), (0..10).map(Thing).collect()).into_series().into_column();
    let groups = Column::new("g".into(), (0..10_i64).map(|n| n % 2).collect::<Vec<_>>());
    let df = DataFrame::new(10, vec![things, groups]).expect("equal lengths");
    for rechunk in [false, true] {
        let out = df.par_chunks(3).rechunk(rechunk).map(Ok).expect("no chunk fails");
        let things = out.column("o").expect("it is there");
        let things: Vec<_> = (0..10).map(|row| things.get(row).expect("a row").to_string()).collect();
        assert_eq!(things, (0..10).map(|n| format!("thing {n}")).collect::<Vec<_>>());
    }
    let nulls = df.par_chunks(2).map(|chunk| {
        let null = Column::full_null("o".into(), chunk.height(), &DataType::Null);
        let first = chunk.column("o")?.get(0)?.to_string() == "thing 0";
        DataFrame::new(chunk.height(), vec![if first { null } else { chunk.column("o")?.clone() }])
    });
    let nulls = nulls.expect_err("Polars makes no null objects").to_string();
    assert!(nulls.contains("its column `o` is null, which Polars cannot make a column of objects"), "{nulls}");
    let scattered = df.par_groups(["g"]).map(Ok).expect_err("rows would be picked").to_string();
    assert!(scattered.contains("Polars cannot pick scattered rows of a column of objects"), "{scattered}");
}
