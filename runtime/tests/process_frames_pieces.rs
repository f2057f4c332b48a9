//! Columns of several chunks, of every nested type, sent to worker processes and back: no row is lost.

use fanfold::parallel;
use polars::prelude::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fanfold::process_tests!();

#[parallel(kind = "process")]
fn length(series: Series) -> usize {
    series.len()
}

#[parallel(kind = "process")]
fn echo(series: Series) -> Series {
    series
}

#[parallel(kind = "process")]
fn echo_frame(df: DataFrame) -> DataFrame {
    df
}

/// The values as they are printed, for a comparison that ignores chunk boundaries.
fn values(series: &Series) -> Vec<String> {
    (0..series.len()).map(|row| series.get(row).expect("it is a row").to_string()).collect()
}

#[track_caller]
fn assert_echoed(series: &Series) {
    let back = echo(series.clone());
    assert_eq!(back.field(), series.field());
    assert_eq!((back.len(), back.null_count()), (series.len(), series.null_count()));
    let differ = values(&back).into_iter().zip(values(series)).enumerate().find(|(_, (back, sent))| back != sent);
    assert_eq!(differ, None);
    assert!(back.equals_missing(series), "{series} came back as {back}");
}

fn categorical() -> DataType {
    DataType::from_categories(Categories::new("pieces".into(), "".into(), CategoricalPhysical::U16))
}

#[derive(Clone, Copy, Debug)]
enum Leaf {
    Categorical,
    Enum,
    Text,
    Bytes,
    Number,
    Flag,
    Half,
    Nothing,
    Date,
}

/// Values of a non-nested type; `seed` selects them.
fn leaf(kind: Leaf, rows: usize, seed: usize) -> Series {
    const WORDS: [&str; 5] = ["a", "bb", "a text that is not in its view", "", "ä text with other letters: äöü"];
    let words = (0..rows).map(|row| ((row + seed) % 4 != 3).then(|| WORDS[(row * 7 + seed) % 5]));
    let words = || Series::new("x".into(), words.clone().collect::<Vec<_>>());
    let numbers =
        (0..rows).map(|row| ((row + seed) % 3 != 2).then(|| f32::from(u16::try_from(row + seed).expect("few"))));
    let numbers = || Series::new("x".into(), numbers.clone().collect::<Vec<_>>());
    let frozen = || FrozenCategories::new(WORDS).expect("different names");
    let cast = |series: Series, dtype: &DataType| series.cast(dtype).expect("the values fit");
    match kind {
        Leaf::Categorical => cast(words(), &categorical()),
        Leaf::Enum => cast(words(), &DataType::from_frozen_categories(frozen())),
        Leaf::Text => words(),
        Leaf::Bytes => cast(words(), &DataType::Binary),
        Leaf::Number => numbers(),
        Leaf::Flag => cast(numbers(), &DataType::Boolean),
        Leaf::Half => cast(numbers(), &DataType::Float16),
        Leaf::Nothing => Series::new_null("x".into(), rows),
        Leaf::Date => cast(numbers(), &DataType::Date),
    }
}

#[derive(Clone, Copy, Debug)]
enum Wrap {
    List,
    Array,
    Struct,
}

fn part(values: &Series, start: usize, len: usize) -> Series {
    values.slice(i64::try_from(start).expect("few"), len)
}

/// Values of a nested type; `levels` starts with the outermost.
fn nested(levels: &[Wrap], kind: Leaf, rows: usize, seed: usize) -> Series {
    let Some((wrap, inner)) = levels.split_first() else { return leaf(kind, rows, seed) };
    match wrap {
        Wrap::List => {
            let values = nested(inner, kind, rows * 2, seed);
            let list = |row: usize| (row % 3 != 1).then(|| part(&values, row * 2, (row + seed) % 3));
            let lists: Vec<Option<Series>> = (0..rows).map(list).collect();
            if lists.iter().all(Option::is_none) {
                let dtype = DataType::List(Box::new(values.dtype().clone()));
                return Series::full_null("x".into(), rows, &dtype);
            }
            Series::new("x".into(), lists)
        }
        Wrap::Array => {
            let values = nested(inner, kind, rows * 2, seed);
            let dtype = DataType::Array(Box::new(values.dtype().clone()), 2);
            let array = |row: usize| match (row + seed) % 5 {
                4 => AnyValue::Null,
                _ => AnyValue::Array(part(&values, row * 2, 2), 2),
            };
            let arrays: Vec<AnyValue<'_>> = (0..rows).map(array).collect();
            Series::from_any_values_and_dtype("x".into(), &arrays, &dtype, true).expect("they are of this type")
        }
        Wrap::Struct => {
            let values = nested(inner, kind, rows, seed).with_name("values".into());
            let numbers = leaf(Leaf::Number, rows, seed).with_name("numbers".into());
            let fields = [values, numbers];
            StructChunked::from_series("x".into(), rows, fields.iter()).expect("equal lengths").into_series()
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Piece {
    Values,
    Slice,
    Nulls,
    OneNull,
    Empty,
}

fn column(levels: &[Wrap], kind: Leaf, pieces: &[Piece]) -> Series {
    let piece = |(seed, piece): (usize, &Piece)| {
        let values = nested(levels, kind, 6, seed);
        match piece {
            Piece::Values => values,
            Piece::Slice => values.slice(2, 3),
            Piece::Nulls => Series::full_null("x".into(), 3, values.dtype()),
            Piece::OneNull => Series::full_null("x".into(), 1, values.dtype()),
            Piece::Empty => values.clear(),
        }
    };
    let mut pieces = pieces.iter().enumerate().map(piece);
    let mut column = pieces.next().expect("there is a piece");
    pieces.for_each(|piece| _ = column.append(&piece).expect("they are of one type"));
    column
}

const LEAVES: [Leaf; 9] = [
    Leaf::Categorical,
    Leaf::Enum,
    Leaf::Text,
    Leaf::Bytes,
    Leaf::Number,
    Leaf::Flag,
    Leaf::Half,
    Leaf::Nothing,
    Leaf::Date,
];
const WRAPS: [Wrap; 3] = [Wrap::List, Wrap::Array, Wrap::Struct];

#[test]
fn lists_of_categories_keep_their_rows() -> PolarsResult<()> {
    let cat = DataType::from_categories(Categories::global());
    let mut lists = Series::new("l".into(), [Series::new("".into(), ["a"]).cast(&cat)?]);
    lists.append(&Series::full_null("l".into(), 1, &lists.dtype().clone()))?; // a second chunk without values
    assert_eq!(length(lists.clone()), 2);
    assert_echoed(&lists);
    Ok(())
}

#[test]
fn every_type_nested_in_every_other_keeps_its_rows() {
    let pieces = [Piece::Values, Piece::Nulls, Piece::Slice, Piece::Empty, Piece::OneNull, Piece::Values];
    for kind in LEAVES {
        for outer in WRAPS {
            assert_echoed(&column(&[outer], kind, &pieces));
            for inner in WRAPS {
                assert_echoed(&column(&[outer, inner], kind, &pieces));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn columns_of_any_chunks_come_back_equal(
        levels in vec(select(WRAPS.to_vec()), 0..4),
        kind in select(LEAVES.to_vec()),
        pieces in vec(
            select(vec![Piece::Values, Piece::Slice, Piece::Nulls, Piece::OneNull, Piece::Empty]),
            1..5,
        ),
        cut in (0..20_i64, 0..20_usize),
    ) {
        let column = column(&levels, kind, &pieces);
        assert_echoed(&column);
        assert_echoed(&column.slice(cut.0, cut.1));
    }
}

#[test]
fn columns_of_one_frame_may_have_chunks_of_other_lengths() -> PolarsResult<()> {
    let cat = |pieces: &[Piece]| column(&[Wrap::List], Leaf::Categorical, pieces).with_name("cat".into());
    let text = |pieces: &[Piece]| column(&[], Leaf::Text, pieces).with_name("text".into());
    let one = [Piece::Values, Piece::Nulls, Piece::Empty];
    let other = [Piece::Nulls, Piece::Slice, Piece::Slice];
    let df = DataFrame::new(9, vec![cat(&one).into(), text(&other).into()])?;
    let back = echo_frame(df.clone());
    assert_eq!((back.schema(), back.shape()), (df.schema(), df.shape()));
    assert!(back.equals_missing(&df), "{df} came back as {back}");
    Ok(())
}

#[test]
fn every_physical_type_of_column_comes_back_equal() -> PolarsResult<()> {
    let numbers = leaf(Leaf::Number, 12, 0);
    let types = [
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Int128,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::UInt128,
        DataType::Float16,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal(38, 3),
        DataType::String,
        DataType::Date,
        DataType::Time,
        DataType::Datetime(TimeUnit::Nanoseconds, None),
        DataType::Datetime(TimeUnit::Microseconds, None),
        DataType::Duration(TimeUnit::Milliseconds),
        DataType::Duration(TimeUnit::Nanoseconds),
    ];
    for dtype in types {
        assert_echoed(&numbers.cast(&dtype)?);
        assert_echoed(&numbers.cast(&dtype)?.slice(3, 7).implode()?.into_series());
    }
    let words = leaf(Leaf::Bytes, 12, 0);
    assert_echoed(&words.cast(&DataType::BinaryOffset)?);
    assert_echoed(&words.cast(&DataType::BinaryOffset)?.slice(3, 7));
    for physical in [CategoricalPhysical::U8, CategoricalPhysical::U16, CategoricalPhysical::U32] {
        let categories = Categories::new("of each size".into(), "".into(), physical);
        assert_echoed(&leaf(Leaf::Text, 12, 0).cast(&DataType::from_categories(categories))?);
    }
    Ok(())
}

#[test]
fn half_floats_keep_their_exact_bits() -> PolarsResult<()> {
    let odd = [Some(1.5_f32), None, Some(f32::NAN), Some(f32::NEG_INFINITY), Some(-0.0), Some(65_504.0)];
    let halves = Series::new("h".into(), odd).cast(&DataType::Float16)?;
    assert_echoed(&halves);
    assert_echoed(&Series::new("l".into(), [halves.clone(), halves.slice(2, 2)]));
    Ok(())
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Thing(u8);
impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a thing")
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
fn object_columns_are_an_error_that_names_the_column() {
    let things = ObjectChunked::new_from_vec("o".into(), vec![Thing(1), Thing(2)]).into_series();
    let error = try_length(things).expect_err("addresses are of this process").to_string();
    assert!(error.contains("column `o` of type `thing` holds values of this process alone"), "{error}");
}

#[parallel(kind = "process")]
fn try_length(series: Series) -> Result<usize, fanfold::TaskError> {
    Ok(series.len())
}

#[parallel(kind = "process", chunks = 3)]
fn echo_chunks(df: DataFrame) -> DataFrame {
    df
}

#[test]
fn the_height_of_a_frame_without_columns_comes_back() -> PolarsResult<()> {
    let rows = DataFrame::empty_with_height(7);
    assert_eq!(echo_frame(rows.clone()).shape(), (7, 0));
    assert_eq!(echo_chunks(rows.clone()).shape(), (7, 0));
    let all: Vec<DataFrame> = echo_frame::map(vec![rows.clone(), DataFrame::empty(), rows]).collect();
    assert_eq!(all.iter().map(DataFrame::shape).collect::<Vec<_>>(), [(7, 0), (0, 0), (7, 0)]);
    // A struct column without fields has rows as well.
    assert_echoed(&StructChunked::from_series("s".into(), 7, std::iter::empty())?.into_series());
    Ok(())
}
