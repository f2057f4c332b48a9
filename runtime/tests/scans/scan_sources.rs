//! Which files a scan reads: the ones that Polars reads, each in a single version even if it is replaced meanwhile.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Once;

use fanfold::prelude::*;
use fanfold::{Scan, ScanError};
use polars::prelude::*;
use tempfile::TempDir;

/// A table with a map column: `[{a: 1, b: 2}, null, {}, {c: null}]`, written by Arrow for C++.
const MAP: &str = "504152311500153815382c150a1500150615061c00000002000000030203000000034a02010000006101000000620100000063150015\
    2a152a2c150a1500150615061c00000002000000030203000000034f0201000000020000001504195c35001806736368656d61150200\
    350218016d150215024c2c000000350418096b65795f76616c7565150400150c250018036b657925004c1c0000001502250218057661\
    6c7565001608191c192c26001c150c192506001938016d096b65795f76616c7565036b65791500160a165e165e2608491c1500150015\
    02003c160619260802193602020600000026001c1502192506001938016d096b65795f76616c75650576616c75651500160a16501650\
    2666491c150015001502003c2926080219460202020400000016ae011608260816ae01002820706172717565742d6370702d6172726f\
    772076657273696f6e2032362e302e31192c1c00001c0000000201000050415231";
/// A table with a repeated field outside of a list: `[[1, 2], [], [3]]`.
const REPEATED: &str = "504152311500153015302c1508150015061506000002000000030202000000030b0100000002000000030000001502192c4806736368\
    656d6115020015022504180178001606191c191c26081c150219250006191801781500160816521652260800001652160600003c0000\
    0050415231";

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Parquet,
    Csv,
    Ipc,
}
use Format::{Csv, Ipc, Parquet};

const FORMATS: [Format; 3] = [Parquet, Csv, Ipc];

impl Format {
    fn write(self, frame: &DataFrame, path: &Path) {
        let (mut frame, file) = (frame.clone(), File::create(path).expect("it is created"));
        match self {
            Parquet => {
                ParquetWriter::new(file).with_row_group_size(Some(1_000)).finish(&mut frame).expect("written");
            }
            Csv => CsvWriter::new(file).finish(&mut frame).expect("written"),
            Ipc => IpcWriter::new(file).finish(&mut frame).expect("written"),
        }
    }

    fn scan(self, path: &Path) -> Scan {
        match self {
            Parquet => scan_parquet(path),
            Csv => scan_csv(path),
            Ipc => scan_ipc(path),
        }
    }

    fn by_polars(self, path: &Path) -> PolarsResult<DataFrame> {
        let path = PlRefPath::new(path.to_str().expect("UTF-8"));
        match self {
            Parquet => LazyFrame::scan_parquet(path, ScanArgsParquet::default())?.collect(),
            Csv => LazyCsvReader::new(path).with_glob(true).finish()?.collect(),
            Ipc => LazyFrame::scan_ipc(path, IpcScanOptions::default(), UnifiedScanArgs::default())?.collect(),
        }
    }
}

/// Rows that all contain the number of a file's version.
fn version(version: i64, rows: usize) -> DataFrame {
    df!("version" => vec![version; rows], "row" => (0..rows as u64).collect::<Vec<_>>()).expect("equal lengths")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder is created")
}

/// Writes a file under another name and renames it.
fn replace(format: Format, frame: &DataFrame, path: &Path) {
    let temporary = path.with_extension("new");
    format.write(frame, &temporary);
    fs::rename(temporary, path).expect("it can be renamed");
}

/// Scans, and calls `meanwhile` after the first chunk.
fn scan_while(scan: Scan, meanwhile: impl Fn() + Sync) -> Result<DataFrame, ScanError> {
    let first = Once::new();
    scan.par_rows(1_000)
        .map(|chunk| {
            first.call_once(&meanwhile);
            Ok(chunk)
        })
        .collect()
}

#[test]
fn a_file_replaced_during_a_scan_is_read_in_its_old_version() {
    for format in FORMATS {
        for name in ["a.data", "k=1/a.data"] {
            let folder = tree(&[(name, version(1, 30_000))], format);
            let path = folder.path().join(name);
            let old = format.by_polars(&path).expect("it is whole");
            // Of another length, so that no row group or batch is at its old offset.
            let read = scan_while(format.scan(&path), || replace(format, &version(2, 47_000), &path));
            assert_eq!(read.expect("the old file is whole"), old, "{format:?}");
            assert_eq!(format.scan(&path).map(Ok).collect().expect("the new one too").height(), 47_000);
        }
    }
}

#[test]
fn each_file_of_a_pattern_is_read_in_one_version() {
    for format in FORMATS {
        let folder = folder();
        // More files than a scan keeps open.
        let paths: Vec<PathBuf> = (0..150).map(|n| folder.path().join(format!("{n:03}.data"))).collect();
        paths.iter().for_each(|path| format.write(&version(1, 40), path));
        let read = scan_while(format.scan(&folder.path().join("*.data")), || {
            paths.iter().for_each(|path| replace(format, &version(2, 70), path));
        });
        let read = read.expect("each file is whole");
        let mut rows = read.column("version").unwrap().i64().unwrap().into_no_null_iter().peekable();
        let mut files = 0;
        while let Some(version) = rows.next() {
            for _ in 1..if version == 1 { 40 } else { 70 } {
                assert_eq!(rows.next(), Some(version), "{format:?}: file {files} is a mixture");
            }
            files += 1;
        }
        assert_eq!(files, 150, "{format:?}");
    }
}

#[test]
fn a_file_replaced_continuously_is_always_read_in_one_version() {
    for format in FORMATS {
        let folder = folder();
        let path = folder.path().join("a.data");
        format.write(&version(0, 3_000), &path);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = 1;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    replace(format, &version(next, if next % 2 == 0 { 3_000 } else { 2_500 }), &path);
                    next += 1;
                }
            });
            for _ in 0..30 {
                let read = format.scan(&path).par_rows(500).map(Ok).collect();
                let read = read.inspect_err(|_| done.store(true, std::sync::atomic::Ordering::Relaxed));
                let read = read.expect("a version of it");
                let first = read.column("version").unwrap().i64().unwrap().get(0).unwrap();
                let expected = version(first, if first % 2 == 0 { 3_000 } else { 2_500 });
                let same = read == expected;
                if !same {
                    done.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                assert!(same, "{format:?}: a mixture");
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}

#[test]
fn a_file_overwritten_during_a_scan_is_an_error_that_names_it() {
    for format in FORMATS {
        for rows in [30_000, 20_000] {
            let folder = folder();
            let (path, other) = (folder.path().join("a.data"), folder.path().join("other"));
            format.write(&version(1, 30_000), &path);
            format.write(&version(2, rows), &other);
            let new = fs::read(&other).expect("it is there");
            // One worker, so that no other worker finishes before the file is overwritten.
            let pool = fanfold::Pool::io("one").threads(1).build().expect("a thread starts");
            let scan = format.scan(&path).on(&pool);
            let error = scan_while(scan, || fs::write(&path, &new).expect("it can be written")).expect_err("changed");
            let error = error.to_string();
            assert!(error.contains("a.data` was written while it was read"), "{format:?}: {error}");
        }
    }
}

/// A folder with these files.
fn tree(files: &[(&str, DataFrame)], format: Format) -> TempDir {
    let folder = folder();
    for (name, frame) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("it is created");
        format.write(frame, &path);
    }
    folder
}

/// Compares a scan with Polars', for the folder itself and for paths in it.
fn same_as_polars(folder: &TempDir, paths: &[&str], format: Format) {
    for path in paths {
        let path = if path.is_empty() { folder.path().to_owned() } else { folder.path().join(path) };
        let theirs = format.by_polars(&path);
        for rows in [None, Some(2)] {
            let scan = format.scan(&path);
            let ours = rows.map_or(scan, |rows| format.scan(&path).par_rows(rows)).map(Ok).collect();
            match (&theirs, ours) {
                (Ok(theirs), Ok(ours)) => {
                    assert_eq!(ours.schema(), theirs.schema(), "{format:?} {}", path.display());
                    assert!(ours.equals_missing(theirs), "{format:?} {}: {ours} {theirs}", path.display());
                }
                (Err(_), Err(_)) => {}
                (theirs, ours) => panic!("{format:?} {}: {ours:?}, and Polars {theirs:?}", path.display()),
            }
        }
    }
}

#[test]
fn hive_folders_add_the_columns_that_polars_adds() {
    let x = |x: i64| df!("x" => [x, x + 1, x + 2]).expect("one column");
    let keyed = |x: i64| df!("a" => [x], "k" => [x], "z" => [x]).expect("equal lengths");
    let empty = || df!("x" => Vec::<i64>::new()).expect("one column");
    let trees: Vec<Vec<(&str, DataFrame)>> = vec![
        vec![("k=1/a.f", x(0)), ("k=2/a.f", x(10)), ("k=2/b.f", x(20))],
        vec![("k=1/d=2020-01-02/a.f", x(0)), ("k=x y/d=2021-01-02/a.f", x(10))],
        vec![("k=__HIVE_DEFAULT_PARTITION__/a.f", x(0)), ("k=7/a.f", x(10))],
        vec![("k=__HIVE_DEFAULT_PARTITION__/a.f", x(0))],
        vec![("k=a%20b%2Fc/a.f", x(0)), ("k=%/a.f", x(1))],
        vec![("k=1.5/a.f", x(0)), ("k=true/a.f", x(10))],
        vec![("k=5/a.f", keyed(1)), ("k=6/a.f", keyed(2))],
        vec![("k=text/a.f", keyed(1))],
        vec![("z=8/k=5/a.f", keyed(1)), ("z=9/k=6/a.f", keyed(2))],
        vec![("y=8/k=5/a.f", keyed(1)), ("y=9/k=6/a.f", keyed(2))],
        vec![("x=5/a.f", x(0))],
        vec![("k=1/k=2/a.f", x(0))],
        vec![("k=1/k=1/a.f", x(0)), ("k=2/k=2/a.f", x(0))],
        vec![("k=1=2/a.f", x(0)), ("k=/a.f", x(3)), ("=v/a.f", x(6))],
        vec![("k=1/a=b.f", x(0))],
        vec![("k=1/a.f", x(0)), ("j=2/a.f", x(10))],
        vec![("k=1/a.f", x(0)), ("a.f", x(10))],
        vec![("k=1/a.f", empty()), ("k=2/a.f", x(10))],
        vec![("k=1/a.f", empty())],
        vec![("plain/k=1/more/a.f", x(0)), ("plain/k=2/more/a.f", x(4))],
        vec![("k=1/a.f", DataFrame::empty_with_height(3))],
    ];
    for format in FORMATS {
        for files in &trees {
            if format == Csv && files.iter().any(|(_, frame)| frame.width() == 0) {
                continue;
            }
            let folder = tree(files, format);
            let first = files[0].0;
            let parent = first.split_once('/').expect("in a folder").0;
            same_as_polars(&folder, &["", "**/*.f", "*/*.f", "*/*/*.f", first, parent, "k=*/*.f"], format);
            // A failed scan or sink leaves no file behind.
            let out = folder.path().join("out.parquet");
            let _ = format.scan(&folder.path().join(first)).map(Ok).sink_parquet(&out);
            let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
        }
    }
}

#[test]
fn empty_files_are_skipped_where_polars_skips_them() {
    for format in FORMATS {
        let x = df!("x" => [1_i64, 2]).expect("one column");
        let folder = tree(&[("part-0.f", x.clone()), ("part-2.f", x.clone()), ("sub/part-3.f", x)], format);
        for empty in ["_SUCCESS", "part-1.f", "a.f", "z.f", "sub/.hidden", "sub/empty.f"] {
            File::create(folder.path().join(empty)).expect("it is created");
        }
        fs::create_dir(folder.path().join("none")).expect("it is created");
        File::create(folder.path().join("none/a.f")).expect("it is created");
        let paths =
            ["", "*", "*.f", "**/*.f", "**/*", "part-*", "_SUCCESS", "part-1.f", "none", "none/*", "sub", "sub/*"];
        same_as_polars(&folder, &paths, format);
    }
}

#[test]
fn mixed_file_types_and_schemas_are_handled_as_by_polars() {
    for format in FORMATS {
        let ab = df!("a" => [1_i64], "b" => [2_i64]).expect("equal lengths");
        let ba = df!("b" => [1_i64], "a" => [2_i64]).expect("equal lengths");
        let text = df!("a" => ["x"], "b" => ["y"]).expect("equal lengths");
        let more = df!("a" => [1_i64], "b" => [2_i64], "c" => [3_i64]).expect("equal lengths");
        for other in [ba, text, more] {
            let folder = tree(
                &[("1.f", ab.clone()), ("2.f", other.clone()), ("deep/1.f", ab.clone()), ("deep/2.g", other)],
                format,
            );
            same_as_polars(&folder, &["*.f", "deep", "deep/*"], format);
        }
    }
}

#[test]
fn a_large_row_group_is_read_in_parts_with_the_rows_of_polars() {
    // 100 MiB in one row group: more than is decoded at a time. Zstandard is fast also in unoptimized builds.
    let blobs: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n; 1 << 20]).collect();
    let lists: Vec<Option<Series>> =
        (0..100_i64).map(|n| (n % 7 != 0).then(|| Series::new("".into(), (0..n % 4).collect::<Vec<_>>()))).collect();
    let text: Vec<Option<String>> = (0..100).map(|n| (n % 5 != 0).then(|| format!("text {}", n % 3))).collect();
    let pair = df!("a" => (0..100_i32).collect::<Vec<_>>(), "b" => &text).expect("equal lengths");
    let frame = df!(
        "n" => (0..100_i64).collect::<Vec<_>>(),
        "blob" => blobs,
        "list" => lists,
        "text" => text,
        "pair" => pair.into_struct("pair".into()).into_series(),
    );
    let mut frame = frame.expect("equal lengths");
    let folder = folder();
    let path = folder.path().join("a.parquet");
    let writer = ParquetWriter::new(File::create(&path).expect("it is created"));
    let writer = writer.with_compression(ParquetCompression::Zstd(None)).with_data_page_size(Some(4 << 20));
    writer.finish(&mut frame).expect("written");
    for rows in [7, 1_000] {
        let read = scan_parquet(&path).par_rows(rows).map(Ok).collect().expect("it is whole");
        assert!(read.equals_missing(&frame), "{rows} rows");
    }
}

#[test]
fn a_large_ipc_file_replaced_during_a_scan_is_read_in_its_old_version() {
    // Larger than what is read before the query begins.
    let blobs = |byte: u8| df!("blob" => vec![vec![byte; 1 << 20]; 20]).expect("one column");
    let folder = folder();
    let path = folder.path().join("a.ipc");
    let old = blobs(1);
    Ipc.write(&old, &path);
    let first = Once::new();
    let read = scan_ipc(&path).par_rows(3).map(|chunk| {
        first.call_once(|| replace(Ipc, &blobs(2), &path));
        Ok(chunk)
    });
    assert!(read.collect().expect("the old file is whole") == old);
}

#[test]
fn batches_of_a_query_are_split_to_the_requested_rows() {
    let frame = version(1, 10_007);
    for rows in [1, 7, 1_000, 10_006, 10_007, 20_000] {
        let heights = frame.clone().lazy().filter(col("row").neq(lit(5_u64))).par_rows(rows);
        let heights = heights.map(|chunk| Ok(vec![chunk.height()]));
        let heights = heights.reduce(|a, b| [a, b].concat()).expect("no chunk fails");
        let whole = 10_006 / rows;
        let expected = [vec![rows; whole], vec![10_006 % rows; usize::from(10_006 % rows > 0)]].concat();
        assert_eq!(heights, expected);
    }
}

#[test]
fn types_that_only_the_polars_scan_supports_are_read() {
    let folder = folder();
    let half = Series::new("x".into(), [Some(1.5_f32), None, Some(-2.0)]).cast(&DataType::Float16).expect("a number");
    let nested = half.implode().expect("a list").into_series().into_frame();
    Parquet.write(&half.into_frame(), &folder.path().join("half.parquet"));
    Parquet.write(&nested, &folder.path().join("halves.parquet"));
    Parquet.write(&DataFrame::empty_with_height(3), &folder.path().join("none.parquet"));
    fs::write(folder.path().join("map.parquet"), bytes(MAP)).expect("it can be written");
    fs::write(folder.path().join("repeated.parquet"), bytes(REPEATED)).expect("it can be written");
    let names = ["half.parquet", "halves.parquet", "none.parquet", "map.parquet", "repeated.parquet"];
    same_as_polars(&folder, &names, Parquet);
    for (name, height) in names.into_iter().zip([3, 1, 3, 4, 3]) {
        let read = scan_parquet(folder.path().join(name)).map(Ok).collect().expect("Polars reads it");
        assert_eq!(read.height(), height, "{name}");
    }
    let rows = scan_parquet(folder.path().join("none.parquet")).par_rows(2);
    assert_eq!(rows.map_reduce(|chunk| Ok(vec![chunk.height()]), |a, b| [a, b].concat()).expect("rows"), [2, 1]);
    Ipc.write(&DataFrame::empty_with_height(3), &folder.path().join("none.ipc"));
    assert_eq!(scan_ipc(folder.path().join("none.ipc")).map(Ok).collect().expect("rows").shape(), (3, 0));
}
