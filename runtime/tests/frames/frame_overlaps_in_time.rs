//! `overlap_by`: chunks that see the rows of a time before them.

use fanfold::Scan;
use fanfold::prelude::*;
use polars::prelude::*;

/// Rows at irregular times, with a sum over the last hour that is computed here.
fn events() -> (DataFrame, Vec<u64>) {
    let mut seconds = vec![0_i64];
    for n in 1..5_000_i64 {
        seconds.push(seconds[seconds.len() - 1] + n * 7919 % 400);
    }
    let first = |now: i64| seconds.partition_point(|then| *then <= now - 3_600);
    let sums = seconds.iter().enumerate().map(|(row, now)| (row - first(*now) + 1) as u64).collect();
    let time = Column::new("time".into(), seconds.iter().map(|second| second * 1_000_000).collect::<Vec<_>>());
    let time = time.cast(&DataType::Datetime(TimeUnit::Microseconds, None)).expect("microseconds");
    (DataFrame::new(seconds.len(), vec![time]).expect("one column"), sums)
}

/// The number of rows in the hour before each row.
#[allow(clippy::needless_pass_by_value, reason = "the signature of a chunk's function")]
fn rows_in_the_last_hour(frame: DataFrame) -> PolarsResult<Series> {
    let times = frame.column("time")?.as_materialized_series().to_physical_repr().into_owned();
    let times: Vec<i64> = times.i64()?.iter().flatten().collect();
    let first = |now: i64| times.partition_point(|then| *then <= now - 3_600_000_000);
    Ok(Series::new(
        "rows".into(),
        times.iter().enumerate().map(|(row, now)| (row - first(*now) + 1) as u64).collect::<Vec<_>>(),
    ))
}

#[test]
fn a_window_in_time_is_that_of_the_whole_frame() {
    let (df, sums) = events();
    for chunks in [1, 7, 500] {
        let windows =
            df.par_chunks(chunks).overlap_by("time", "1h").map_series(rows_in_the_last_hour).expect("integers");
        assert_eq!(windows.u64().expect("integers").iter().flatten().collect::<Vec<_>>(), sums, "{chunks}");
    }
    let alone = df.par_chunks(7).map_series(rows_in_the_last_hour).expect("integers");
    assert_ne!(alone.u64().expect("integers").iter().flatten().collect::<Vec<_>>(), sums);
    // A shorter time than that between rows shows none of them, and rows are added by the other overlap.
    let seen = |_, rows: std::ops::Range<usize>, frame: DataFrame| {
        assert_eq!(frame.height(), rows.len() + rows.start.min(3));
        Ok(frame)
    };
    let spread = df!("time" => [0_i64, 86_400_000, 172_800_000, 259_200_000]).expect("one column");
    let days = spread.lazy().select([col("time").cast(DataType::Datetime(TimeUnit::Milliseconds, None))]);
    let days = days.collect().expect("datetimes");
    assert_eq!(days.par_rows(1).overlap_by("time", "1h").overlap(3).map_indexed(seen).expect("as it was"), days);
    // Other types of time.
    for dtype in [DataType::Date, DataType::Datetime(TimeUnit::Nanoseconds, None)] {
        let days = days.clone().lazy().select([col("time").cast(dtype)]).collect().expect("a cast");
        let two = |_, rows: std::ops::Range<usize>, frame: DataFrame| {
            assert_eq!(frame.height(), rows.len() + rows.start.min(2));
            Ok(frame)
        };
        assert_eq!(days.par_rows(1).overlap_by("time", "2d").map_indexed(two).expect("as it was"), days);
    }
    let empty = df.head(Some(0)).par_chunks(3).overlap_by("time", "1h").map(Ok).expect("no rows");
    assert_eq!(empty.height(), 0);
}

#[test]
fn a_column_or_duration_that_is_none_is_an_error() {
    let (df, _) = events();
    let error = |frame: &DataFrame, column: &str, duration: &str| {
        let run = frame.par_chunks(4).overlap_by(column, duration).map(Ok);
        run.expect_err("no overlap").to_string()
    };
    assert!(error(&df, "nome", "1h").contains("nome"));
    assert!(error(&df, "time", "an hour").contains("`an hour` is no duration: write `90s`, `1h30m` or `2d`"));
    assert!(error(&df, "time", "1mo").contains("`1mo` is no duration"));
    let reversed = df.reverse();
    assert!(error(&reversed, "time", "1h").contains("the rows are not in the order of `time`"));
    let numbers = df!("n" => [1, 2, 3]).expect("one column");
    assert!(error(&numbers, "n", "1h").contains("the column `n` is i32, and an overlap by time needs dates"));
    let nulls = df.lazy().select([col("time").shift(lit(1))]).collect().expect("a null");
    assert!(error(&nulls, "time", "1h").contains("the column `time` has nulls"));
    let values = numbers.par_chunks(2).overlap_by("n", "1h").map_reduce(|chunk| Ok(chunk.height()), |a, b| a + b);
    assert!(values.expect_err("no rows to cut off").to_string().contains("an overlap is cut off"));
}

#[test]
fn a_window_in_time_is_that_of_the_whole_scan() {
    let (df, sums) = events();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.parquet");
    df.clone().lazy().par_rows(900).map(Ok).sink_parquet(&path).expect("written");
    let count = |frame: DataFrame| {
        let rows = rows_in_the_last_hour(frame.clone())?;
        frame.hstack(&[rows.into_column()])
    };
    let counted = |scan: Scan| {
        let out = scan.map(count).collect().expect("no chunk fails");
        let rows = out.column("rows").and_then(Column::u64).expect("integers");
        rows.iter().flatten().collect::<Vec<_>>()
    };
    for rows in [1, 7, 400, 1_000_000] {
        assert_eq!(counted(scan_parquet(&path).par_rows(rows).overlap_by("time", "1h")), sums, "{rows}");
        let query = df.clone().lazy().par_rows(rows).overlap_by("time", "1h").overlap(3).overlap_after(5);
        assert_eq!(counted(query), sums, "{rows}");
    }
    assert_ne!(counted(scan_parquet(&path).par_rows(400)), sums);
    // Each chunk sees what it asked for, and no more.
    let days = df!("time" => [0_i64, 86_400_000, 172_800_000, 172_800_000, 259_200_000]).expect("one column").lazy();
    let days = days.select([col("time").cast(DataType::Datetime(TimeUnit::Milliseconds, None))]);
    let seen = |scan: Scan| {
        let heights = |_, rows: std::ops::Range<usize>, frame: DataFrame| {
            frame.with_row_index("seen".into(), IdxSize::try_from(frame.height() - rows.len()).ok())
        };
        let out = scan.map_indexed(heights).collect().expect("as many rows");
        // The first index is the number of rows before the chunk; each later row of a chunk counts on from there.
        out.column("seen").and_then(Column::u32).expect("numbers").iter().flatten().collect::<Vec<_>>()
    };
    // Of one row each: before it, the index begins at as many rows as it sees, and its own row is behind them.
    assert_eq!(seen(days.clone().par_rows(1).overlap_by("time", "1d")), [0, 2, 2, 4, 4]);
    assert_eq!(seen(days.clone().par_rows(1).overlap_by("time", "0s")), [0, 0, 0, 2, 0]);
    assert_eq!(seen(days.clone().par_rows(1).overlap_by("time", "1d").overlap(2)), [0, 2, 4, 4, 4]);
    let none = df.head(Some(0)).lazy().par_rows(3).overlap_by("time", "1h").map(Ok).collect().expect("no rows");
    assert_eq!((none.height(), none.width()), (0, 1));
}

#[test]
fn a_scan_without_times_in_order_is_an_error() {
    let (df, _) = events();
    let error = |frame: &DataFrame, column: &str, duration: &str| {
        let scan = frame.clone().lazy().par_rows(100).overlap_by(column, duration);
        scan.map(Ok).collect().expect_err("no overlap").to_string()
    };
    assert!(error(&df, "nome", "1h").contains("nome"));
    assert!(error(&df, "time", "an hour").contains("`an hour` is no duration"));
    let numbers = df!("n" => [1, 2, 3]).expect("one column");
    assert!(error(&numbers, "n", "1h").contains("the column `n` is i32, and an overlap by time needs dates"));
    // In order inside of each chunk, and not from one chunk to the next.
    let parts = [df.slice(200, 100), df.slice(0, 100)];
    let turned = parts[0].vstack(&parts[1]).expect("the same columns");
    assert!(error(&turned, "time", "1h").contains("the rows are not in the order of `time`"));
    let values = df.lazy().par_rows(9).overlap_by("time", "1h").map_reduce(|chunk| Ok(chunk.height()), |a, b| a + b);
    assert!(values.expect_err("no rows to cut off").to_string().contains("an overlap is cut off"));
}
