//! What functions of chunks, groups and rows may return: errors of single rows, a value per group; and the numbers of
//! chunks that they may take.

use std::fmt;
use std::sync::Mutex;

use fanfold::prelude::*;
use polars::prelude::*;
use serde::{Deserialize, Serialize};

fn numbers(rows: i64) -> DataFrame {
    df!("n" => (0..rows).collect::<Vec<_>>()).expect("one column")
}

/// An error of a function.
#[derive(Debug, PartialEq)]
struct Odd(i64);

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is odd", self.0)
    }
}

impl std::error::Error for Odd {}

#[test]
fn the_first_row_that_fails_is_named_and_its_error_kept() {
    let half = |n: i64| if n >= 7_000 && n % 2 == 1 { Err(Odd(n)) } else { Ok(n / 2) };
    for chunks in [1, 3, 64] {
        let df = numbers(10_000);
        let error = df.par_chunks(chunks).try_map_rows::<_, _, _, Vec<i64>>(half).expect_err("7001 is odd");
        assert_eq!(error.rows(), 7_001..7_002);
        assert_eq!(error.source.downcast_ref(), Some(&Odd(7_001)));
        assert!(error.to_string().ends_with("(rows 7001..7002): 7001 is odd"), "{error}");
        let halves: Vec<i64> = numbers(7_000).par_chunks(chunks).try_map_rows(half).expect("all before are fine");
        assert_eq!(halves, (0..7_000).map(|n| n / 2).collect::<Vec<_>>());
        let halves: Series = numbers(10).par_chunks(chunks).try_map_rows(half).expect("all are fine");
        assert_eq!(halves.sum::<i64>().expect("integers"), 20);
    }
    let none: Vec<i64> = numbers(0).par().try_map_rows(half).expect("there are none");
    assert!(none.is_empty());
    // A cell that cannot be read is an error as in `map_rows`.
    let error =
        numbers(3).par().try_map_rows::<_, _, _, Vec<String>>(|n: String| Ok::<_, Odd>(n)).expect_err("integers");
    assert!(error.to_string().starts_with("chunk 0 (rows 0..3): row 0: "), "{error}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Total {
    key: i64,
    rows: usize,
}

#[test]
fn a_group_may_give_a_value() {
    let keys: Vec<i64> = (0..1_000).map(|n| n * 7 % 10).collect();
    let df = df!("key" => &keys).expect("one column");
    let total = |group: DataFrame| {
        let key = group.column("key")?.i64()?.get(0).expect("no nulls");
        Ok(Total { key, rows: group.height() })
    };
    for chunks in [1, 4, 50] {
        let groups = || df.par_groups(["key"]).chunks(chunks);
        let totals: Vec<Total> = groups().map_groups(total).expect("no group fails");
        assert_eq!(totals.iter().map(|total| total.key).collect::<Vec<_>>(), keys[..10]);
        assert!(totals.iter().all(|total| total.rows == 100));
        let totals: DataFrame = groups().map_groups(total).expect("no group fails");
        assert_eq!(totals, df!("key" => &keys[..10], "rows" => [100_u64; 10]).expect("two columns"));
        let heights: Series = groups().map_groups(|group| Ok(group.height() as u64)).expect("no group fails");
        assert_eq!(heights.len(), 10);
        // A frame per group, without an annotation.
        let heads = groups().map_groups(|group| Ok(group.head(Some(1)))).expect("no group fails");
        assert_eq!(heads.height(), 10);
    }
    let failing = |group: DataFrame| {
        let total = total(group)?;
        polars_ensure!(total.key != 7, ComputeError: "no seven");
        Ok(total)
    };
    let error = df.par_groups(["key"]).map_groups::<_, _, Vec<Total>>(failing).expect_err("seven fails");
    assert!(error.to_string().ends_with("group key = 7: no seven"), "{error}");
    let ordered = df.par_groups(["key"]).keep_order(true).map_groups::<_, _, Vec<Total>>(total);
    assert!(ordered.expect_err("no order of rows").to_string().contains("leave `keep_order` away"));
    let others = df.par_groups(["key"]).map_groups::<_, _, Vec<i64>>(|_| -> PolarsResult<i64> { panic!("in a group") });
    assert!(others.expect_err("it panics").to_string().contains("group key = 0: "));
}

#[test]
fn chunks_are_numbered_with_their_rows() {
    let (df, seen) = (numbers(10), Mutex::new(Vec::new()));
    let record = |chunk, rows: std::ops::Range<usize>, frame: DataFrame| {
        assert_eq!(frame.column("n")?.i64()?.get(0), i64::try_from(rows.start).ok());
        seen.lock().expect("no panic").push((chunk, rows));
        Ok(frame)
    };
    assert_eq!(df.par_rows(4).map_indexed(record).expect("as it was"), df);
    let mut seen = seen.into_inner().expect("no panic");
    seen.sort_by_key(|(chunk, _)| *chunk);
    assert_eq!(seen, [(0, 0..4), (1, 4..8), (2, 8..10)]);
    let with_overlap = |chunk, rows: std::ops::Range<usize>, frame: DataFrame| {
        // The rows are those without the overlap.
        assert_eq!(frame.height(), rows.len() + usize::from(chunk > 0));
        Ok(frame)
    };
    assert_eq!(df.par_rows(4).overlap(1).map_indexed(with_overlap).expect("as it was"), df);
    let failing = |chunk, _, frame: DataFrame| if chunk == 1 { polars_bail!(ComputeError: "none") } else { Ok(frame) };
    let error = df.par_rows(4).map_indexed(failing).expect_err("chunk 1 fails");
    assert_eq!(error.to_string(), "chunk 1 (rows 4..8): none");
}

#[test]
fn chunks_of_scans_are_numbered_with_their_rows() {
    let (df, folder) = (numbers(1_000), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("n.parquet");
    df.clone().lazy().par_rows(100).map(Ok).sink_parquet(&path).expect("written");
    for scan in [scan_parquet(&path), df.clone().lazy().par()] {
        let seen = Mutex::new(Vec::new());
        let record = |chunk, rows: std::ops::Range<usize>, frame: DataFrame| {
            assert_eq!(frame.column("n")?.i64()?.get(0), i64::try_from(rows.start).ok());
            seen.lock().expect("no panic").push((chunk, rows));
            Ok(frame.height())
        };
        assert_eq!(scan.par_rows(400).map_indexed(record).reduce(|a, b| a + b).expect("no chunk fails"), 1_000);
        let mut seen = seen.into_inner().expect("no panic");
        seen.sort_by_key(|(chunk, _)| *chunk);
        assert_eq!(seen, [(0, 0..400), (1, 400..800), (2, 800..1_000)]);
    }
}

#[derive(Deserialize)]
struct Row {
    key: Option<String>,
    n: i64,
}

#[derive(Serialize)]
struct Verdict {
    length: Option<usize>,
    even: bool,
}

#[derive(Deserialize)]
struct WithKey {
    key: String,
}

#[test]
fn rows_of_scans_are_values_and_the_failing_one_is_named() {
    let keys: Vec<Option<String>> = (0..1_000_i64).map(|n| (n != 700).then(|| format!("key {n}"))).collect();
    let df = df!("key" => keys, "n" => (0..1_000_i64).collect::<Vec<_>>()).expect("two columns");
    let map = |row: Row| Verdict { length: row.key.map(|key| key.len()), even: row.n % 2 == 0 };
    let scanned = df.clone().lazy().par_rows(130).map_rows(map).collect().expect("no row fails");
    let wanted: DataFrame = df.par().map_rows(map).expect("no row fails");
    assert_eq!(scanned, wanted);
    // A cell that cannot be read.
    let lengths = df.clone().lazy().par_rows(130).map_rows(|row: WithKey| (row.key.len(),)).collect();
    let error = lengths.expect_err("a null").to_string();
    assert!(error.starts_with("chunk 5 (rows 650..780): row 700: ") && error.contains("`key`"), "{error}");
    // A function that fails.
    let half = |row: Row| if row.n == 321 { Err(Odd(row.n)) } else { Ok((row.n / 2,)) };
    let error = df.clone().lazy().par_rows(130).try_map_rows(half).collect().expect_err("321 is odd");
    assert_eq!(error.to_string(), "chunk 2 (rows 321..322): 321 is odd");
    let fanfold::ScanError::Chunk(error) = error else { panic!("of a chunk") };
    assert_eq!(error.source.downcast_ref(), Some(&Odd(321)));
    // Chunks that show no columns have those of the schema.
    let schema = Schema::from_iter([Field::new("column_0".into(), DataType::Int64)]);
    let nothing = df.lazy().par_rows(130).schema(schema).map_rows(|row: Row| (row.n > 900).then_some((row.n,)));
    let nothing = nothing.collect().expect("nulls");
    assert_eq!((nothing.height(), nothing.columns()[0].null_count()), (1_000, 901));
}
