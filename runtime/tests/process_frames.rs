//! DataFrames, series and columns as arguments and results of functions that run in worker processes.

use std::process;

use fanfold::parallel;
use polars::prelude::*;
use polars_core::series::IsSorted;

fanfold::process_tests!();

#[parallel(kind = "process")]
fn echo(df: DataFrame) -> DataFrame {
    df
}

#[parallel(kind = "process")]
fn double(df: DataFrame) -> PolarsResult<(u32, u32)> {
    let sum = df.column("x")?.i64()?.sum().unwrap_or(0);
    Ok((u32::try_from(sum).unwrap_or(0) * 2, process::id()))
}

#[parallel(kind = "process")]
fn echo_series(series: Series, column: Column) -> (Vec<Option<i64>>, bool) {
    (series.i64().expect("numbers").iter().collect(), series == *column.as_materialized_series())
}

#[parallel(kind = "process")]
fn twice(series: Series) -> PolarsResult<Series> {
    &series + &series
}

#[track_caller]
fn assert_echoed(df: &DataFrame) {
    let back = echo(df.clone());
    assert!(back.equals_missing(df), "{df} came back as {back}");
    assert_eq!(back.schema(), df.schema());
    assert_eq!(back.height(), df.height());
}

fn frame_of_all_types() -> PolarsResult<DataFrame> {
    let n = Column::new("n".into(), (0..100_i64).map(|n| (n % 7 != 0).then_some(n)).collect::<Vec<_>>());
    let n = n.as_materialized_series().clone();
    let text = Series::new("text".into(), (0..100).map(|n| format!("a text of some length {n}")).collect::<Vec<_>>());
    let cast = |name: &str, dtype: &DataType| n.cast(dtype).map(|series| series.with_name(name.into()));
    let categories = Categories::new("letters".into(), "".into(), CategoricalPhysical::U8);
    let letters = Series::new("letters".into(), (0..100).map(|n| ["a", "b", "c"][n % 3]).collect::<Vec<_>>());
    let frozen = FrozenCategories::new(["a", "b", "c"])?;
    let mut columns = vec![
        n.clone(),
        text.clone(),
        Series::new("short".into(), (0..100).map(|n| (n % 5 != 0).then(|| n.to_string())).collect::<Vec<_>>()),
        Series::new("flag".into(), (0..100).map(|n| (n % 3 != 0).then_some(n % 2 == 0)).collect::<Vec<_>>()),
        cast("i8", &DataType::Int8)?,
        cast("u16", &DataType::UInt16)?,
        cast("i128", &DataType::Int128)?,
        cast("f32", &DataType::Float32)?,
        cast("date", &DataType::Date)?,
        cast("when", &DataType::Datetime(TimeUnit::Milliseconds, None))?,
        cast("span", &DataType::Duration(TimeUnit::Microseconds))?,
        cast("time", &DataType::Time)?,
        cast("price", &DataType::Decimal(10, 2))?,
        text.cast(&DataType::Binary)?.with_name("bytes".into()),
        Series::new_null("nothing".into(), 100),
        letters.cast(&DataType::from_categories(categories))?.with_name("category".into()),
        letters.cast(&DataType::from_frozen_categories(frozen))?.with_name("enum".into()),
    ];
    let lists: Vec<Option<Series>> =
        (0..100_u8).map(|n| (n % 4 != 0).then(|| Series::new("".into(), vec![n; usize::from(n) % 5]))).collect();
    columns.push(Series::new("list".into(), lists));
    let array = DataType::Array(Box::new(DataType::Int64), 2);
    let pairs = (0..100_i64).map(|n| Series::new("".into(), [n, -n])).collect::<Vec<_>>();
    columns.push(Series::new("array".into(), pairs).cast(&array)?);
    columns.push(StructChunked::from_series("struct".into(), 100, [n, text].iter())?.into_series());
    DataFrame::new(100, columns.into_iter().map(Column::from).collect())
}

#[test]
fn columns_of_every_type_come_back_equal() -> PolarsResult<()> {
    let df = frame_of_all_types()?;
    assert_echoed(&df);
    for column in df.columns() {
        assert_echoed(&DataFrame::new(100, vec![column.clone()])?);
    }
    Ok(())
}

#[test]
fn slices_chunks_and_empty_frames_come_back_equal() -> PolarsResult<()> {
    let df = frame_of_all_types()?;
    for (start, len) in [(0, 0), (3, 0), (1, 1), (3, 50), (9, 91), (99, 1)] {
        assert_echoed(&df.slice(start, len));
    }
    let mut stacked = df.slice(5, 20);
    stacked.vstack_mut(&df.slice(50, 7))?;
    stacked.vstack_mut(&df.clear())?;
    assert_echoed(&stacked);
    assert_echoed(&DataFrame::empty());
    assert_echoed(&DataFrame::empty_with_height(5));
    Ok(())
}

#[test]
fn the_sorted_flag_of_a_column_is_kept() -> PolarsResult<()> {
    let sorted = df!("x" => 0..10_i64)?.sort(["x"], SortMultipleOptions::default())?;
    let back = echo(sorted);
    assert_eq!(back.column("x")?.as_materialized_series().is_sorted_flag(), IsSorted::Ascending);
    Ok(())
}

#[test]
fn tuples_frames_and_polars_errors_come_back() -> PolarsResult<()> {
    let (sum, worker) = double(df!("x" => 0..10_i64)?)?;
    assert_eq!(sum, 90);
    assert_ne!(worker, process::id());
    let error = double(df!("y" => 0..10_i64)?).expect_err("there is no such column");
    assert!(matches!(&error, PolarsError::ColumnNotFound(_)), "{error:?}");
    assert_eq!(error.to_string(), double::serial(df!("y" => 0..10_i64)?).expect_err("no column").to_string());
    let series = Series::new("s".into(), [Some(1_i64), None]);
    assert_eq!(echo_series(series.clone(), series.clone().into()), (vec![Some(1), None], true));
    assert_eq!(twice(series)?.i64()?.get(0), Some(2));
    Ok(())
}

#[parallel(kind = "process", chunks = 4)]
fn tagged(mut df: DataFrame) -> PolarsResult<DataFrame> {
    let own = Column::new("worker".into(), vec![process::id(); df.height()]);
    df.with_column(own)?;
    Ok(df)
}

#[test]
fn chunks_of_a_frame_go_to_processes() -> PolarsResult<()> {
    let df = frame_of_all_types()?;
    let out = tagged(df.clone())?;
    assert!(out.drop("worker")?.equals_missing(&df));
    let workers = out.column("worker")?.u32()?.clone();
    assert!(workers.iter().flatten().all(|pid| pid != process::id()));
    assert_eq!(tagged(df.clear())?.width(), df.width() + 1);
    Ok(())
}

#[test]
fn views_outlive_their_worker_and_their_columns_can_be_changed() -> PolarsResult<()> {
    let big: Vec<i64> = (0..1_000_000).collect();
    let backs: Vec<DataFrame> = (0..4).map(|_| echo(df!("x" => &big).expect("one column"))).collect();
    for mut back in backs {
        let doubled = back.column("x")? * 2;
        back.with_column(doubled)?;
        assert_eq!(back.column("x")?.i64()?.sum(), Some(999_999_000_000));
    }
    Ok(())
}

#[parallel(kind = "process")]
fn numbered(n: i64) -> PolarsResult<DataFrame> {
    df!("n" => [n, n + 1], "text" => ["short", "long enough to be elsewhere"])
}

#[test]
#[cfg(target_os = "linux")]
fn small_frames_are_batched_without_segments_of_their_own() -> PolarsResult<()> {
    let frames: Vec<DataFrame> = numbered::map(0..2_000).collect::<PolarsResult<_>>()?;
    let maps = std::fs::read_to_string("/proc/self/maps").expect("it can be read");
    assert!(
        maps.lines().filter(|line| ["memfd:fanfold", "/fanfold-shm-"].iter().any(|name| line.contains(name))).count()
            < 100
    );
    for (n, frame) in (0..).zip(&frames) {
        assert!(frame.equals(&numbered::serial(n)?));
    }
    let backs: Vec<DataFrame> = echo::map(frames.clone()).collect();
    assert!(backs.iter().zip(&frames).all(|(back, frame)| back.equals(frame)));
    Ok(())
}

#[test]
fn categories_received_from_a_worker_are_not_lost() -> PolarsResult<()> {
    let lettered = || {
        let categories = Categories::new("of two threads".into(), "".into(), CategoricalPhysical::U8);
        let letters = Series::new("letters".into(), ["a", "b"]).cast(&DataType::from_categories(categories))?;
        DataFrame::new(2, vec![letters.into()])
    };
    assert_echoed(&lettered()?);
    // Each frame may be the last user of the categories of this name when it is dropped: Polars alone then loses some.
    std::thread::scope(|scope| {
        let makers: Vec<_> =
            (0..2).map(|_| scope.spawn(|| (0..20_000).try_for_each(|_| lettered().map(drop)))).collect();
        while makers.iter().any(|maker| !maker.is_finished()) {
            assert_echoed(&lettered()?);
        }
        makers.into_iter().try_for_each(|maker| maker.join().expect("it does not panic"))
    })
}
