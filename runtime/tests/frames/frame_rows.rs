//! `map_rows`: the rows of a frame as values of the user's types.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "all values are below 2^24")]
#![allow(clippy::float_cmp, reason = "halves and whole numbers are exact")]
#![allow(clippy::items_after_statements, reason = "each row type is defined in its test")]

use std::collections::BTreeMap;

use fanfold::prelude::*;
use polars::prelude::*;
use serde::{Deserialize, Serialize};

fn flights() -> DataFrame {
    df!(
        "origin" => ["JFK", "LAX", "BTV", "JFK", "a name that is longer than twelve bytes"],
        "delay" => [Some(7_i64), None, Some(-3), Some(0), Some(90)],
        "miles" => [2475.0, 2475.0, 266.0, 1089.0, 1.0],
        "cancelled" => [false, false, true, false, true]
    )
    .expect("equal lengths")
}

#[derive(Deserialize, Debug, PartialEq)]
struct Flight<'a> {
    miles: f64,
    origin: &'a str,
    delay: Option<i64>,
}

#[test]
fn a_row_fills_a_struct_by_field_name_and_borrows_its_texts() {
    let df = flights();
    for chunks in [1, 2, 5] {
        let rows: Vec<(String, f64)> = df
            .par_chunks(chunks)
            .map_rows(|row: Flight| (row.origin.to_owned(), row.miles + row.delay.unwrap_or(0) as f64))
            .expect("rows fit");
        assert_eq!(rows[0], ("JFK".into(), 2482.0));
        assert_eq!(rows[1], ("LAX".into(), 2475.0));
        assert_eq!(rows[4], ("a name that is longer than twelve bytes".into(), 91.0));
    }
    // The texts are borrowed from the frame, not copied.
    let borrowed: Vec<&str> = df.par_chunks(2).map_rows(|row: Flight| row.origin).expect("rows fit");
    assert_eq!(borrowed[4].as_ptr(), df.column("origin").unwrap().str().unwrap().get(4).unwrap().as_ptr());
}

#[test]
fn rows_are_read_across_column_chunks() {
    let one = flights();
    let mut df = one.clone();
    for times in 1..4 {
        // The chunks of the columns end at different rows.
        let mut more = one.clone();
        if times == 2 {
            more.rechunk_mut();
        }
        df.vstack_mut(&more.slice(0, 3)).expect("one schema");
        df.vstack_mut(&more.slice(3, 2)).expect("one schema");
    }
    let delay = df.column("delay").unwrap().rechunk();
    df.with_column(delay).expect("equal lengths");
    let expected: Vec<Option<i64>> = df.column("delay").unwrap().i64().unwrap().iter().collect();
    let rows: Vec<Option<i64>> = df.par_rows(7).map_rows(|row: Flight| row.delay).expect("rows fit");
    assert_eq!(rows, expected);
}

#[derive(Serialize)]
struct Verdict<'a> {
    origin: &'a str,
    late: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minutes: Option<i32>,
}

#[test]
fn results_become_a_frame_or_a_series() {
    let df = flights();
    let judge = |row: Flight| -> Option<bool> { row.delay.map(|delay| delay > 5) };
    let out: DataFrame =
        df.par_rows(1).map_rows(|row: Flight| (row.origin.len() as u32, judge(row))).expect("rows fit");
    assert_eq!(
        out,
        df!("column_0" => [3_u32, 3, 3, 3, 39], "column_1" => [Some(true), None, Some(false), Some(false), Some(true)])
            .unwrap()
    );
    let late: Series = df.par_rows(2).map_rows(judge).expect("rows fit");
    assert_eq!(
        late.bool().unwrap().iter().collect::<Vec<_>>(),
        [Some(true), None, Some(false), Some(false), Some(true)]
    );

    let verdicts: DataFrame = df
        .par_rows(2)
        .map_rows(|(origin, delay, _, _): (String, Option<i64>, f64, bool)| {
            let minutes = delay.and_then(|delay| i32::try_from(delay).ok());
            let origin: &'static str = if origin == "JFK" { "hub" } else { "other" };
            Verdict { origin, late: delay.map(|delay| delay > 5), minutes: minutes.filter(|m| *m > 5) }
        })
        .expect("rows fit");
    let expected = df!(
        "origin" => ["hub", "other", "other", "hub", "other"],
        "late" => [Some(true), None, Some(false), Some(false), Some(true)],
        "minutes" => [Some(7), None, None, None, Some(90)]
    );
    // A field that a row skips is null, also where all rows of a chunk skip it.
    assert_eq!(verdicts, expected.unwrap());
}

#[test]
fn tuples_single_values_maps_and_newtypes_can_be_rows() {
    let df = flights();
    let sums: Vec<f64> = df
        .par()
        .map_rows(|(_, delay, miles, _): (&str, Option<i32>, f64, bool)| miles + f64::from(delay.unwrap_or(0)))
        .expect("rows fit");
    assert_eq!(sums[2], 263.0);
    let single = df.select(["miles"]).unwrap();
    let doubled: Vec<f64> = single.par().map_rows(|miles: f64| miles * 2.0).expect("rows fit");
    assert_eq!(doubled[0], 4950.0);

    #[derive(Deserialize)]
    struct Miles(f64);
    let wrapped: Vec<f64> = single.par().map_rows(|Miles(miles)| miles).expect("rows fit");
    assert_eq!(wrapped[1], 2475.0);

    let delays: Vec<Option<Option<i64>>> = df
        .select(["delay"])
        .unwrap()
        .par()
        .map_rows(|row: BTreeMap<String, Option<i64>>| row.get("delay").copied())
        .expect("rows fit");
    assert_eq!(delays[1], Some(None));
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
enum Airport {
    Jfk,
    Lax,
    #[serde(other, rename = "?")]
    Other,
}

#[test]
fn serde_attributes_are_respected() {
    #[derive(Deserialize)]
    struct Renamed {
        #[serde(rename = "miles", alias = "distance")]
        length: f64,
        #[serde(default)]
        seats: u32,
        #[serde(rename = "origin")]
        from: Airport,
    }
    let df = flights();
    let rows: Vec<(f64, u32, Airport)> =
        df.par_rows(2).map_rows(|row: Renamed| (row.length, row.seats, row.from)).expect("rows fit");
    assert_eq!(rows[0], (2475.0, 0, Airport::Jfk));
    assert_eq!(rows[1].2, Airport::Lax);
    assert_eq!(rows[2].2, Airport::Other);
    // Both names of one field are present. Serde refuses the row, so no value comes from the wrong column.
    let mut both = df.clone();
    both.with_column(both.column("miles").unwrap().clone().with_name("distance".into())).unwrap();
    let read = both.par_rows(2).map_rows::<_, _, Vec<f64>>(|row: Renamed| row.length);
    assert!(read.expect_err("one field twice").to_string().contains("duplicate field"));

    #[derive(Deserialize)]
    struct Inner {
        delay: Option<i64>,
    }
    #[derive(Deserialize)]
    struct Flat {
        miles: f64,
        #[serde(flatten)]
        inner: Inner,
    }
    let flat: Vec<f64> =
        df.par_rows(2).map_rows(|row: Flat| row.miles + row.inner.delay.unwrap_or(0) as f64).expect("rows fit");
    assert_eq!(flat, [2482.0, 2475.0, 263.0, 1089.0, 91.0]);
}

#[test]
fn logical_types_are_read_as_their_values() {
    let df = flights();
    let mut df = df.select(["origin", "delay"]).unwrap();
    let delay = df.column("delay").unwrap().clone();
    df.with_column(delay.cast(&DataType::Datetime(TimeUnit::Microseconds, None)).unwrap().with_name("at".into()))
        .unwrap();
    df.with_column(delay.cast(&DataType::Decimal(10, 2)).unwrap().with_name("cost".into())).unwrap();
    let origin = df.column("origin").unwrap().clone();
    df.with_column(origin.cast(&DataType::from_categories(Categories::global())).unwrap()).unwrap();
    #[derive(Deserialize)]
    struct Row {
        origin: String,
        at: Option<i64>,
        cost: Option<f64>,
    }
    let rows: Vec<(String, Option<i64>, Option<f64>)> =
        df.par_rows(2).map_rows(|row: Row| (row.origin, row.at, row.cost)).expect("rows fit");
    assert_eq!(rows[2], ("BTV".into(), Some(-3), Some(-3.0)));
    assert_eq!(rows[1], ("LAX".into(), None, None));
}

#[test]
fn rows_that_do_not_fit_are_clear_errors() {
    #[derive(Deserialize)]
    struct Strict {
        #[allow(dead_code, reason = "the row fails before the field is read")]
        delay: i64,
    }
    #[derive(Deserialize)]
    struct Lacking {
        #[allow(dead_code, reason = "the row fails before the field is read")]
        carrier: String,
    }
    let df = flights();
    let error = df.par_rows(1).map_rows::<_, _, Vec<()>>(|_: Strict| ()).expect_err("a null").to_string();
    assert!(error.starts_with("chunk 1 (rows 1..2): row 1: column `delay`: it is null"), "{error}");
    let error = df.par_rows(4).map_rows::<_, _, Vec<()>>(|_: Lacking| ()).expect_err("no column").to_string();
    assert!(error.contains("the frame has no column `carrier`"), "{error}");
    let error = df.par().map_rows::<_, _, Vec<()>>(|_: f64| ()).expect_err("four columns").to_string();
    assert!(error.contains("a row of 4 columns is not a single value"), "{error}");
    let error = df.par().map_rows::<_, _, Vec<()>>(|_: (String, i64)| ()).expect_err("four columns").to_string();
    assert!(error.contains("a tuple of 2 cannot hold a row of 4 columns"), "{error}");
    let narrow = df!("x" => [1_i64, 300]).unwrap();
    let error = narrow.par().map_rows::<_, _, Vec<()>>(|_: u8| ()).expect_err("300").to_string();
    assert!(error.contains("row 1") && error.contains("300"), "{error}");
    let error = narrow.par().map_rows::<_, _, DataFrame>(|n: i64| vec![n]).expect_err("nested").to_string();
    assert!(error.contains("a sequence cannot be a row of a frame"), "{error}");
    let error = narrow.par().overlap(1).map_rows::<_, _, Vec<i64>>(|n: i64| n).expect_err("overlap").to_string();
    assert!(error.contains("leave the overlap away"), "{error}");
    let lists = df!("l" => [Series::new("".into(), [1, 2])]).unwrap();
    let error = lists.par().map_rows::<_, _, Vec<i64>>(|n: i64| n).expect_err("a list").to_string();
    assert!(error.contains("it is list[i32], which no field of a row can hold"), "{error}");
}

#[test]
fn no_rows_give_no_results_and_a_declared_schema() {
    let df = flights().clear();
    let rows: Vec<f64> = df.par().map_rows(|row: Flight| row.miles).expect("no row fails");
    assert!(rows.is_empty());
    let schema = Schema::from_iter([Field::new("late".into(), DataType::Boolean)]);
    let out: DataFrame = df.par().schema(schema.clone()).map_rows(|row: Flight| (row.miles,)).expect("no row fails");
    assert_eq!((out.height(), out.schema().as_ref()), (0, &schema));
}

#[test]
fn columns_that_no_field_reads_may_be_of_any_type() {
    let lists = Series::new("l".into(), [Series::new("".into(), [1, 2]), Series::new("".into(), [3])]);
    let df = df!("x" => [1_i64, 2], "l" => lists).expect("equal lengths");
    #[derive(Deserialize)]
    struct Narrow {
        x: i64,
    }
    let rows: Vec<i64> = df.par_rows(1).map_rows(|row: Narrow| row.x).expect("the list is not read");
    assert_eq!(rows, [1, 2]);
}

#[test]
fn categories_and_decimals_are_read_in_every_chunk() {
    let texts = Series::new("c".into(), (0..1_000).map(|n| (n % 7).to_string()).collect::<Vec<_>>());
    let categories = texts.cast(&DataType::from_categories(Categories::global())).expect("texts are categories");
    let decimals = texts.cast(&DataType::Decimal(10, 2)).expect("numbers").with_name("d".into());
    let df = DataFrame::new(1_000, vec![categories.into_column(), decimals.into_column()]).expect("equal lengths");
    for rows in [1, 30, 1_000] {
        let read: Vec<(String, f64)> = df.par_rows(rows).map_rows(|row| row).expect("they fit");
        assert!(read.iter().enumerate().all(|(n, (c, d))| *c == (n % 7).to_string() && d.to_string() == *c), "{rows}");
    }
}

#[test]
fn a_type_that_needs_field_names_gets_them_for_every_row() {
    struct ByName(f64);
    impl<'de> Deserialize<'de> for ByName {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Names;
            impl<'de> serde::de::Visitor<'de> for Names {
                type Value = ByName;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a map")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut row: A) -> Result<ByName, A::Error> {
                    let mut miles = 0.0;
                    while let Some(name) = row.next_key::<String>()? {
                        match &*name {
                            "miles" => miles = row.next_value()?,
                            _ => drop(row.next_value::<serde::de::IgnoredAny>()?),
                        }
                    }
                    Ok(ByName(miles))
                }
            }
            deserializer.deserialize_struct("ByName", &["miles", "origin"], Names)
        }
    }
    let df = flights();
    let miles: Vec<f64> = df.par_chunks(1).map_rows(|row: ByName| row.0).expect("rows fit");
    assert_eq!(miles, [2475.0, 2475.0, 266.0, 1089.0, 1.0]);
}

#[test]
fn a_row_in_the_middle_that_does_not_fit_is_reported_with_its_column() {
    #[derive(Deserialize)]
    struct Strict {
        miles: f64,
        delay: i64,
    }
    let df = df!("miles" => [1.0, 2.0, 3.0, 4.0], "delay" => [Some(1_i64), Some(2), None, Some(4)]).unwrap();
    let seen = std::sync::Mutex::new(Vec::new());
    let read = df.par_chunks(1).map_rows::<_, _, Vec<f64>>(|row: Strict| {
        seen.lock().expect("no panic").push(row.delay);
        row.miles
    });
    let error = read.expect_err("a null").to_string();
    assert!(error.starts_with("chunk 0 (rows 0..4): row 2: column `delay`: it is null"), "{error}");
    assert_eq!(*seen.lock().expect("no panic"), [1, 2], "each earlier row once, and no later row");
}

#[test]
fn results_that_are_none_are_null_in_all_columns_for_any_chunk_size() {
    #[derive(Serialize)]
    struct Late {
        minutes: i64,
        far: bool,
    }
    let df = flights();
    let late = |row: Flight| {
        let minutes = row.delay.filter(|delay| *delay > 5)?;
        Some(Late { minutes, far: row.miles > 1_000.0 })
    };
    let expected = df!(
        "minutes" => [Some(7_i64), None, None, None, Some(90)],
        "far" => [Some(true), None, None, None, Some(false)]
    );
    let expected = expected.unwrap();
    for rows in 1..=5 {
        let out: DataFrame = df.par_rows(rows).map_rows(late).expect("rows fit");
        assert!(out.equals_missing(&expected), "{rows} rows a chunk: {out}");
    }
    let none: DataFrame = df.par_rows(2).map_rows(|_: Flight| None::<Late>).expect("rows fit");
    assert_eq!((none.height(), none.width()), (5, 0));
    let schema = expected.schema().as_ref().clone();
    let none: DataFrame = df.par_rows(2).schema(schema).map_rows(|_: Flight| None::<Late>).expect("rows fit");
    assert_eq!((none.height(), none.schema()), (5, expected.schema()));
    let column: Series = df.par_rows(2).map_rows(|row: Flight| late(row).map(|late| late.minutes)).expect("rows fit");
    assert_eq!(column.i64().unwrap().to_vec(), [Some(7), None, None, None, Some(90)]);
}

#[test]
fn rechunk_gives_results_of_rows_as_one_chunk() {
    let df = flights();
    let chunk_counts = |rechunk| -> (usize, usize) {
        let frame: DataFrame = df.par_rows(2).rechunk(rechunk).map_rows(|row: Flight| (row.miles,)).expect("rows fit");
        let series: Series = df.par_rows(2).rechunk(rechunk).map_rows(|row: Flight| row.miles).expect("rows fit");
        (frame.first_col_n_chunks(), series.n_chunks())
    };
    assert_eq!((chunk_counts(false), chunk_counts(true)), ((3, 3), (1, 1)));
}

#[test]
fn numbers_of_every_width_are_read_and_written() {
    let df = df!("n" => [1_i64, 2, 3]).unwrap();
    let n = df.column("n").unwrap();
    let cast = |dtype| DataFrame::new(3, vec![n.cast(&dtype).unwrap()]).unwrap();
    let signed: DataFrame = cast(DataType::Int128).par_rows(2).map_rows(|n: i128| (i128::MIN + n,)).expect("rows fit");
    let unsigned: DataFrame =
        cast(DataType::UInt128).par_rows(2).map_rows(|n: u128| (u128::MAX - n,)).expect("rows fit");
    assert_eq!((signed.dtypes(), unsigned.dtypes()), (vec![DataType::Int128], vec![DataType::UInt128]));
    let signed: Vec<i128> = signed.par().map_rows(|n: i128| n - i128::MIN).expect("rows fit");
    let unsigned: Vec<u128> = unsigned.par().map_rows(|n: u128| u128::MAX - n).expect("rows fit");
    assert_eq!((signed, unsigned), (vec![1, 2, 3], vec![1, 2, 3]));
    let halves: Vec<f32> = cast(DataType::Float16).par_rows(2).map_rows(|n: f32| n / 2.0).expect("rows fit");
    assert_eq!(halves, [0.5, 1.0, 1.5]);
}
