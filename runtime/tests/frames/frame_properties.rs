//! Property tests: splitting any frame anywhere, mapping it and joining the parts gives the frame back.

use fanfold::prelude::*;
use polars::prelude::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// A column of one of Polars' types, with nulls. Object columns are tested in `frames.rs`.
fn column(rows: usize) -> BoxedStrategy<Column> {
    fn of_values<T: std::fmt::Debug + Clone + 'static>(
        value: impl Strategy<Value = T> + 'static,
        rows: usize,
    ) -> BoxedStrategy<Column>
    where
        Series: NamedFrom<Vec<Option<T>>, [Option<T>]>,
    {
        vec(of(value), rows).prop_map(|values| Series::new("c".into(), values).into_column()).boxed()
    }
    let text = || of_values("[a-c]{0,20}", rows);
    let days = || of_values(-10_000..20_000_i32, rows);
    let ticks = || of_values(any::<i32>().prop_map(i64::from), rows);
    let small = || of_values(-99..99_i64, rows);
    let cast = |strategy: BoxedStrategy<Column>, dtype: DataType| {
        strategy.prop_map(move |column| column.cast(&dtype).expect("the values fit")).boxed()
    };
    let list = |dtype: Option<DataType>| {
        vec(of(vec(of(-9..9_i64), 2)), rows).prop_map(move |lists| {
            let rows: ListChunked = lists.iter().map(|list| list.as_ref().map(|v| Series::new("".into(), v))).collect();
            let mut series = rows.into_series().with_name("c".into());
            if series.dtype() == &DataType::List(Box::new(DataType::Null)) {
                series = series.cast(&DataType::List(Box::new(DataType::Int64))).expect("nulls");
            }
            dtype.as_ref().map_or(series.clone(), |dtype| series.cast(dtype).expect("each has two")).into_column()
        })
    };
    let structs = (small(), text()).prop_map(move |(numbers, texts)| {
        let fields = [numbers.with_name("n".into()), texts.with_name("t".into())];
        let fields: Vec<Series> = fields.into_iter().map(Column::take_materialized_series).collect();
        StructChunked::from_series("c".into(), rows, fields.iter()).expect("equal lengths").into_column()
    });
    let categories = FrozenCategories::new(["", "a", "b", "c"]).expect("different names");
    let short = of_values("[a-c]?", rows);
    prop_oneof![
        of_values(any::<bool>(), rows),
        cast(small(), DataType::Int8),
        cast(small(), DataType::Int16),
        of_values(any::<i32>(), rows),
        of_values(any::<i64>(), rows),
        cast(small(), DataType::Int128),
        cast(small(), DataType::UInt8),
        cast(small(), DataType::UInt16),
        of_values(any::<u32>(), rows),
        of_values(any::<u64>(), rows),
        cast(small(), DataType::UInt128),
        cast(small(), DataType::Float16),
        of_values(any::<f32>().prop_filter("comparable", |f| !f.is_nan()), rows),
        of_values(any::<f64>(), rows),
        text(),
        cast(text(), DataType::Binary),
        cast(days(), DataType::Date),
        cast(ticks(), DataType::Datetime(TimeUnit::Microseconds, None)),
        cast(ticks(), DataType::Datetime(TimeUnit::Nanoseconds, Some(TimeZone::UTC))),
        cast(ticks(), DataType::Datetime(TimeUnit::Milliseconds, None)),
        cast(ticks(), DataType::Duration(TimeUnit::Milliseconds)),
        cast(ticks(), DataType::Duration(TimeUnit::Nanoseconds)),
        cast(of_values(0..86_400_000_000_000_i64, rows), DataType::Time),
        cast(small(), DataType::Decimal(20, 3)),
        cast(short.clone(), DataType::from_categories(Categories::global())),
        cast(short, DataType::from_frozen_categories(categories)),
        cast(small(), DataType::List(Box::new(DataType::Int64))),
        cast(text(), DataType::List(Box::new(DataType::String))),
        cast(small(), DataType::List(Box::new(DataType::List(Box::new(DataType::Float32))))),
        list(None),
        list(Some(DataType::Array(Box::new(DataType::Int64), 2))),
        structs,
        Just(Column::full_null("c".into(), rows, &DataType::Null)),
        any::<i16>().prop_map(move |n| Column::new_scalar("c".into(), Scalar::from(i32::from(n)), rows)),
    ]
    .boxed()
}

/// A frame of such columns in several chunks that need not be aligned, or a slice of one.
fn frame() -> impl Strategy<Value = DataFrame> {
    frame_of(0..5)
}

fn frame_of(width: std::ops::Range<usize>) -> impl Strategy<Value = DataFrame> {
    (0..60_usize, width)
        .prop_flat_map(|(rows, width)| (Just(rows), vec((column(rows), 0..=rows), width), 0..=rows, 0..=rows))
        .prop_map(|(rows, columns, start, length)| {
            let columns = columns.into_iter().enumerate().map(|(index, (column, cut))| {
                // Append the tail to the head: the same values in two chunks.
                let mut halves = column.slice(0, cut);
                halves.append(&column.slice(i64::try_from(cut).expect("small"), rows - cut)).expect("one type");
                halves.with_name(format!("c{index}").into())
            });
            let whole = DataFrame::new(rows, columns.collect()).expect("equal lengths");
            // Every other frame is a slice.
            if start % 2 == 0 { whole } else { whole.slice(i64::try_from(start).expect("small"), length) }
        })
}

trait SelectRows {
    /// The first row of each group.
    fn select_rows(&self, groups: &GroupPositions) -> DataFrame;
}

impl SelectRows for DataFrame {
    fn select_rows(&self, groups: &GroupPositions) -> DataFrame {
        let firsts = groups.iter().map(|group| match group {
            GroupsIndicator::Idx((first, _)) | GroupsIndicator::Slice([first, _]) => first,
        });
        self.take(&IdxCa::from_vec("".into(), firsts.collect())).expect("rows of the frame")
    }
}

proptest! {
    #[test]
    fn splitting_and_joining_gives_the_frame_back(df in frame(), chunks in 1..20_usize, rows in 1..20_usize) {
        let by_chunks = df.par_chunks(chunks).map(Ok).expect("no chunk fails");
        prop_assert!(by_chunks.equals_missing(&df), "{by_chunks} is not {df}");
        prop_assert_eq!(by_chunks.schema(), df.schema());
        let by_rows = df.par_rows(rows).rechunk(true).map(Ok).expect("no chunk fails");
        prop_assert!(by_rows.equals_missing(&df), "{by_rows} is not {df}");
        prop_assert_eq!(by_rows.height(), df.height());
    }

    #[test]
    fn splitting_between_groups_in_kept_order_gives_the_frame_back(df in frame_of(1..3), chunks in 1..9_usize) {
        let key = df.columns()[0].name().clone();
        match df.group_by_stable([key.clone()]) {
            Ok(groups) => {
                let by_groups = df.par_groups([key.clone()]).chunks(chunks).keep_order(true);
                let kept = by_groups.map(Ok).expect("no chunk fails");
                prop_assert!(kept.equals_missing(&df), "{kept} is not {df}");
                let firsts = |group: DataFrame| Ok(group.head(Some(1)));
                let parallel = df.par_groups([key]).chunks(chunks).map_groups(firsts).expect("no group fails");
                prop_assert_eq!(parallel.height(), groups.get_groups().len());
                let serial = df.select_rows(groups.get_groups());
                prop_assert!(parallel.equals_missing(&serial), "{parallel} is not {serial}");
            }
            // Keys that Polars cannot group by are an error here, too.
            Err(_) => prop_assert!(df.par_groups([key]).map(Ok).is_err()),
        }
    }

    #[test]
    fn an_overlap_of_any_length_is_removed_from_the_result(
        df in frame(),
        rows in 1..9_usize,
        before in 0..20_usize,
        after in 0..20_usize,
    ) {
        let seen = df.par_rows(rows).overlap(before).overlap_after(after).map(Ok).expect("no chunk fails");
        prop_assert!(seen.equals_missing(&df), "{seen} is not {df}");
        prop_assert_eq!(seen.height(), df.height());
    }

    #[test]
    fn sorted_flags_are_true(df in frame_of(1..2), chunks in 1..9_usize, descending: bool, flip: bool) {
        use polars::series::IsSorted;
        let column = &df.columns()[0];
        prop_assume!(!column.dtype().is_nested() && !column.dtype().is_null());
        let sorted = column.sort(SortOptions::default().with_order_descending(descending)).expect("it has an order");
        let frame = DataFrame::new(df.height(), vec![sorted]).expect("one column");
        let chunk = |chunk: DataFrame| Ok(if flip { chunk.reverse() } else { chunk });
        let out = frame.par_chunks(chunks).map(chunk).expect("no chunk fails");
        let out = &out.columns()[0];
        let nulls_last = out.get(0).is_ok_and(|first| !first.is_null());
        let order = SortOptions::default().with_nulls_last(nulls_last);
        let again = match out.is_sorted_flag() {
            IsSorted::Not => return Ok(()),
            IsSorted::Ascending => out.sort(order),
            IsSorted::Descending => out.sort(order.with_order_descending(true)),
        };
        prop_assert!(again.expect("it has an order").equals_missing(out), "{out:?} is not as its flag says");
    }

    #[test]
    fn a_row_wise_function_gives_the_serial_result_in_parallel(df in frame(), chunks in 1..20_usize) {
        let nulls = |chunk: DataFrame| {
            let is_null = |c: &Column| c.is_null().into_series().with_name(c.name().clone()).into_column();
            let columns = chunk.columns().iter().map(is_null);
            DataFrame::new(chunk.height(), columns.collect())
        };
        let serial = nulls(df.clone()).expect("equal lengths");
        let parallel = df.par_chunks(chunks).map(nulls).expect("no chunk fails");
        prop_assert!(parallel.equals_missing(&serial), "{parallel} is not {serial}");
    }

    #[test]
    fn annotated_functions_give_the_frame_back(df in frame()) {
        #[parallel(kind = "cpu", chunks = 5)]
        fn same(frame: DataFrame) -> DataFrame {
            frame
        }
        #[parallel(kind = "io", chunk_size = 7)]
        fn same_column(column: Column) -> Column {
            column
        }
        let out = same(df.clone());
        prop_assert!(out.equals_missing(&df), "{out} is not {df}");
        for column in df.columns() {
            let out = same_column(column.clone());
            prop_assert!(out.equals_missing(column), "{out:?} is not {column:?}");
        }
    }
}
