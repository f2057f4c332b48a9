//! Reading of flights and airports: accepted files, and the errors of all others.

use std::fs;
use std::path::{Path, PathBuf};

use fanfold_quickstart::data;
use polars::prelude::*;

const HEADER: &str = "date,delay,distance,origin,destination\n";

fn file(name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).expect("the build's own folder can be written");
    path
}

fn parquet(name: &str, mut frame: DataFrame) -> PathBuf {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).expect("into memory");
    file(name, bytes)
}

/// The text of the error without the file's name.
#[track_caller]
fn refused(path: &Path) -> String {
    let text = data::flights(path).expect_err("it is refused").to_string();
    assert!(!text.contains('\n'), "{text}");
    let rest = text.strip_prefix(&format!("`{}` ", path.display()));
    rest.expect("the text begins with the file's name").to_owned()
}

#[test]
fn csv_dates_are_read_in_common_formats() {
    for (index, date) in ["2001-01-10 18:20:00", "2001-01-10T18:20:00.000000", "2001/01/10 18:20"].iter().enumerate() {
        let path = file(&format!("date-{index}.csv"), format!("{HEADER}{date},33,2176,LAS,PHL\n"));
        let flights = data::flights(&path).expect("a good file");
        let expected = df!("date" => [979_150_800_000_000_i64], "delay" => [33_i64], "distance" => [2176_i64],
            "origin" => ["LAS"], "destination" => ["PHL"]);
        let mut expected = expected.expect("equal lengths");
        let date = expected.column("date").expect("above").cast(&DataType::Datetime(TimeUnit::Microseconds, None));
        expected.with_column(date.expect("a number is a time")).expect("equal lengths");
        assert_eq!(flights, expected);
    }
}

#[test]
fn other_columns_integer_types_and_orders_are_accepted() {
    let frame = df!("x" => ["?"], "destination" => ["PHL"], "origin" => ["1E2"], "distance" => [2176_u16],
        "delay" => [-3_i32], "date" => [1_i64])
    .and_then(|mut frame| {
        let date = frame.column("date")?.cast(&DataType::Datetime(TimeUnit::Milliseconds, None))?;
        frame.with_column(date)?;
        Ok(frame)
    });
    let flights = data::flights(&parquet("other.parquet", frame.expect("a frame"))).expect("a good file");
    assert_eq!(flights.get_column_names(), ["date", "delay", "distance", "origin", "destination"]);
    let row = flights.get(0).expect("one row");
    assert_eq!(
        row[..3],
        [AnyValue::Datetime(1_000, TimeUnit::Microseconds, None), AnyValue::Int64(-3), AnyValue::Int64(2176)]
    );
    assert_eq!(row[3], AnyValue::String("1E2"));
}

#[test]
fn empty_cells_are_nulls_and_a_header_alone_is_an_empty_frame() {
    let flights = data::flights(&file("nulls.csv", format!("{HEADER}2001-01-01 00:01:00,,,LAS,\n,,,,\n")));
    let flights = flights.expect("a good file");
    assert_eq!(flights.height(), 2);
    assert_eq!(flights.columns().iter().map(Column::null_count).collect::<Vec<_>>(), [1, 2, 2, 1, 2]);
    assert_eq!(data::flights(&file("header.CSV", HEADER)).expect("a good file").shape(), (0, 5));
}

#[test]
fn missing_columns_are_named() {
    let all = "it must have date, delay, distance, origin, destination";
    let path = file("column.csv", "date,distance,origin,destination\n2001-01-01 00:01:00,9,LAS,PHL\n");
    assert_eq!(refused(&path), format!("has no column `delay`: {all}"));
    let path = parquet("column.parquet", df!("date" => [1]).expect("a frame"));
    assert_eq!(refused(&path), format!("has no column `delay`: {all}"));
}

#[test]
fn wrong_types_are_named() {
    let frame = |delay: Column| {
        let mut frame = df!("date" => [0_i64], "distance" => [9], "origin" => ["LAS"], "destination" => ["PHL"])?;
        let date = frame.column("date")?.cast(&DataType::Datetime(TimeUnit::Microseconds, None))?;
        frame.with_column(date)?;
        frame.with_column(delay)?;
        Ok::<_, PolarsError>(frame)
    };
    let text = frame(Column::new("delay".into(), ["late"])).expect("a frame");
    let said = refused(&parquet("text.parquet", text));
    assert_eq!(said, "has the column `delay` of type str: it must hold whole numbers (an integer type)");
    let mut number = frame(Column::new("delay".into(), [1])).expect("a frame");
    number.with_column(Column::new("date".into(), [1.5])).expect("equal lengths");
    let said = refused(&parquet("number.parquet", number));
    assert_eq!(said, "has the column `date` of type f64: it must hold a date and time (datetime, no time zone)");
    let huge = frame(Column::new("delay".into(), [u64::MAX])).expect("a frame");
    assert!(refused(&parquet("huge.parquet", huge)).contains("18446744073709551615"));
}

#[test]
fn errors_quote_csv_cells_that_do_not_fit() {
    for (index, (row, part)) in [
        ("2001-01-01 00:01:00,late,9,LAS,PHL", "could not parse `late` as dtype `i64` at column 'delay'"),
        ("2001-01-01 00:01:00,1.5,9,LAS,PHL", "could not parse `1.5` as dtype `i64` at column 'delay'"),
        ("yesterday,1,9,LAS,PHL", "could not parse `yesterday`"),
        ("2001-01-01 00:01:00,1,9,LAS,PHL,X,Y", "more fields"),
    ]
    .into_iter()
    .enumerate()
    {
        let said = refused(&file(&format!("cell-{index}.csv"), format!("{HEADER}{row}\n")));
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn unreadable_files_are_errors() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let said = refused(&folder.join("nowhere.parquet"));
    assert!(said.starts_with("cannot be opened (") && said.ends_with("): check the path"), "{said}");
    fs::create_dir_all(folder.join("folder.csv")).expect("the build's own folder can be written");
    assert_eq!(refused(&folder.join("folder.csv")), "is a directory: give a .parquet or .csv file");
    assert_eq!(refused(&folder.join("flights.txt")), "is neither .parquet nor .csv: give one of these");
    assert_eq!(refused(&folder.join("flights")), "is neither .parquet nor .csv: give one of these");
    for name in ["empty.csv", "empty.parquet"] {
        assert!(refused(&file(name, "")).starts_with("cannot be read ("));
    }
    assert!(refused(&file("bytes.csv", [0xff, 0xfe, b'\n', 0xc8])).starts_with("cannot be read ("));
    assert!(refused(&file("text.parquet", "This is no Parquet file.")).starts_with("cannot be read ("));
    let whole = fs::read(data::bundled("flights-200k.parquet")).expect("it comes with the examples");
    for length in [4, 100, whole.len() / 2, whole.len() - 1] {
        assert!(refused(&file("cut.parquet", &whole[..length])).starts_with("cannot be read ("));
    }
}

#[test]
fn airports_without_code_or_position_are_skipped() {
    let rows = "iata,latitude,longitude\nAAA,1.5,-2\nBBB,,3\n,1,1\nCCC,91,0\nDDD,NaN,0\n";
    let airports = data::airports(&file("airports.csv", rows)).expect("a good file");
    assert_eq!((airports.len(), airports.is_empty()), (1, false));
    let place = airports.get("AAA").expect("it is there");
    assert!((place.latitude - 1.5).abs() < 1e-12 && (place.longitude + 2.0).abs() < 1e-12);
    assert_eq!(airports.get("aaa"), None);
    assert_eq!(airports.route("AAA", "BBB"), None);
    assert!(airports.route("AAA", "AAA").is_some());
}
