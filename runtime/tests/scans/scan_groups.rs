//! Groups of scans: whole groups in each chunk, for any size of chunks, and an error where a group comes twice.

use fanfold::prelude::*;
use polars::prelude::*;
use serde::Serialize;

/// Groups of 1 to 40 rows, and one of 2,000; nulls are a group.
fn grouped() -> DataFrame {
    let mut keys = Vec::new();
    for group in 0..200_i64 {
        let height = if group == 77 { 2_000 } else { 1 + group * 7919 % 40 };
        keys.extend((0..height).map(|_| (group != 50).then_some(group * 31 % 200)));
    }
    let rows: Vec<i64> = (0_i64..).take(keys.len()).collect();
    df!("key" => keys, "row" => rows).expect("two columns")
}

#[derive(Serialize)]
struct Total {
    key: Option<i64>,
    rows: usize,
    first: i64,
}

#[allow(clippy::needless_pass_by_value, reason = "the signature of a group's function")]
fn total(group: DataFrame) -> PolarsResult<Total> {
    assert_eq!(group.column("key")?.n_unique()?, 1);
    let first = group.column("row")?.i64()?.get(0).expect("no nulls");
    let key = group.column("key")?.i64()?.get(0);
    Ok(Total { key, rows: group.height(), first })
}

#[test]
fn groups_are_whole_for_any_size_of_chunks() {
    let (df, folder) = (grouped(), tempfile::tempdir().expect("a folder"));
    let (parquet, csv) = (folder.path().join("g.parquet"), folder.path().join("g.csv"));
    df.clone().lazy().par_rows(333).map(Ok).sink_parquet(&parquet).expect("written");
    df.clone().lazy().par_rows(333).map(Ok).sink_csv(&csv).expect("written");
    let wanted: DataFrame = df.par_groups(["key"]).map_groups(total).expect("no group fails");
    assert_eq!(wanted.height(), 200);
    for rows in [1, 10, 700, 1_000_000] {
        for scan in [scan_parquet(&parquet), scan_csv(&csv), df.clone().lazy().par()] {
            let totals = scan.par_rows(rows).par_groups(["key"]).map_groups(total).collect().expect("no group fails");
            assert!(totals.equals_missing(&wanted), "{rows}: {totals}");
        }
        let same = df.clone().lazy().par_rows(rows).par_groups(["key"]).map_groups(Ok).collect().expect("as it was");
        assert!(same.equals_missing(&df), "{rows}");
        // `map` gets whole groups too.
        let groups = |chunk: DataFrame| chunk.column("key")?.n_unique();
        let groups = df.clone().lazy().par_rows(rows).par_groups(["key"]).map(groups).reduce(|a, b| a + b);
        assert_eq!(groups.expect("no chunk fails"), 200);
    }
    let none = df.head(Some(0)).lazy().par().par_groups(["key"]).map_groups(Ok).collect().expect("no rows");
    assert_eq!((none.height(), none.width()), (0, 2));
}

#[test]
fn a_group_that_comes_again_is_an_error_that_names_it() {
    let df = df!("key" => ["a", "b", "b", "a"], "n" => [1, 2, 3, 4]).expect("two columns");
    for rows in [1, 2, 100] {
        let scan = df.clone().lazy().par_rows(rows).par_groups(["key"]).map_groups(Ok).collect();
        let error = scan.expect_err("`a` comes twice").to_string();
        assert!(error.contains("rows of the group key = \"a\" come again behind other groups"), "{error}");
    }
}

#[test]
fn keys_and_functions_that_fail_are_errors() {
    let lazy = || grouped().lazy().par_rows(100);
    let error = lazy().par_groups(["nome"]).map_groups(Ok).collect().expect_err("no such column").to_string();
    assert!(error.contains("nome"), "{error}");
    let error = lazy().par_groups([""; 0]).map_groups(Ok).collect().expect_err("no key").to_string();
    assert!(error.contains("at least one key"), "{error}");
    let error = lazy().overlap(1).par_groups(["key"]).map(Ok).collect().expect_err("an overlap").to_string();
    assert_eq!(error, "groups have no overlap: leave it away");
    let fails = |group: DataFrame| {
        polars_ensure!(group.column("key")?.i64()?.get(0) != Some(7), ComputeError: "no seven");
        Ok(group)
    };
    let error = lazy().par_groups(["key"]).map_groups(fails).collect().expect_err("seven fails").to_string();
    assert!(error.ends_with("group key = 7: no seven"), "{error}");
    let panics = |group: DataFrame| -> PolarsResult<DataFrame> { panic!("at {}", group.height()) };
    let error = lazy().par_groups(["key"]).map_groups(panics).collect().expect_err("it panics").to_string();
    assert!(error.contains("group key = 0: ") && error.contains("at 1"), "{error}");
}
