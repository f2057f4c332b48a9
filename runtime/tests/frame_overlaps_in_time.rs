//! `overlap_by`: chunks that see the rows of a time before them.

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
