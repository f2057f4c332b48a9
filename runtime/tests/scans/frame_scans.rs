//! Scans: frames larger than memory are read, mapped and written in chunks.
#![allow(clippy::cast_precision_loss, reason = "row numbers are below 2^53")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfold::prelude::*;
use fanfold::{Pool, ScanError};
use polars::prelude::*;
use tempfile::TempDir;

fn frame(rows: i64) -> DataFrame {
    let names: Vec<Option<String>> = (0..rows).map(|n| (n % 7 != 0).then(|| format!("name, \"{n}\""))).collect();
    let half: Vec<f64> = (0..rows).map(|n| n as f64 / 2.0).collect();
    df!("n" => (0..rows).collect::<Vec<_>>(), "name" => names, "half" => half).expect("equal lengths")
}

/// A folder with one file of each format, and the frame that the files hold.
struct Files {
    folder: TempDir,
    frame: DataFrame,
}

impl Files {
    fn new(rows: i64) -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder is created"), frame: frame(rows) };
        let mut frame = files.frame.clone();
        let file = |name: &str| fs::File::create(files.path(name)).expect("it can be written");
        ParquetWriter::new(file("in.parquet")).with_row_group_size(Some(1_000)).finish(&mut frame).expect("written");
        CsvWriter::new(file("in.csv")).finish(&mut frame).expect("written");
        IpcWriter::new(file("in.ipc")).finish(&mut frame).expect("written");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names of all files in the folder, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("it is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

fn double(mut chunk: DataFrame) -> PolarsResult<DataFrame> {
    let doubled = chunk.column("n")? * 2;
    chunk.with_column(doubled)?;
    Ok(chunk)
}

fn read_parquet(path: &Path) -> DataFrame {
    ParquetReader::new(fs::File::open(path).expect("it is there")).finish().expect("it can be read")
}

#[test]
fn every_format_is_read_and_written_in_input_order() {
    let files = Files::new(50_000);
    let expected = double(files.frame.clone()).expect("n is there");
    for rows in [700, 33_000, 100_000] {
        for scan in
            [scan_parquet(files.path("in.parquet")), scan_csv(files.path("in.csv")), scan_ipc(files.path("in.ipc"))]
        {
            let out = files.path("out.parquet");
            scan.par_rows(rows).map(double).sink_parquet(&out).expect("no chunk fails");
            assert!(read_parquet(&out).equals_missing(&expected));
        }
        let scan = || scan_parquet(files.path("in.parquet")).par_rows(rows).map(double);
        let out = files.path("out.csv");
        scan().sink_csv(&out).expect("no chunk fails");
        let read = CsvReadOptions::default().try_into_reader_with_file_path(Some(out)).expect("it is there");
        assert!(read.finish().expect("it can be read").equals_missing(&expected));
        let out = files.path("out.ipc");
        scan().sink_ipc(&out).expect("no chunk fails");
        let read = IpcReader::new(fs::File::open(out).expect("it is there")).finish().expect("it can be read");
        assert!(read.equals_missing(&expected));
        assert!(scan().collect().expect("no chunk fails").equals_missing(&expected));
    }
    assert!(files.names().iter().all(|name| !name.starts_with('.')), "{:?}", files.names());
}

#[test]
fn a_pattern_reads_all_files_in_name_order() {
    let files = Files::new(3_000);
    for part in 0..3 {
        let mut rows = files.frame.slice(part * 1_000, 1_000);
        let file = fs::File::create(files.path(&format!("part-{part}.parquet"))).expect("it can be written");
        ParquetWriter::new(file).finish(&mut rows).expect("written");
    }
    let out = scan_parquet(files.path("part-*.parquet")).par_rows(700).map(Ok).collect().expect("no chunk fails");
    assert!(out.equals_missing(&files.frame));
}

#[test]
fn chunks_have_the_requested_rows_and_fold_in_order() {
    let files = Files::new(10_000);
    let heights = Mutex::new(Vec::new());
    let firsts = scan_parquet(files.path("in.parquet")).par_rows(3_000).map_reduce(
        |chunk| {
            heights.lock().expect("no panic").push(chunk.height());
            Ok(vec![chunk.column("n")?.i64()?.get(0)])
        },
        |mut all, more| {
            all.extend(more);
            all
        },
    );
    assert_eq!(firsts.expect("no chunk fails"), [Some(0), Some(3_000), Some(6_000), Some(9_000)]);
    let mut heights = heights.into_inner().expect("no panic");
    heights.sort_unstable();
    assert_eq!(heights, [1_000, 3_000, 3_000, 3_000]);

    let mut seen = Vec::new();
    let in_turn = files
        .frame
        .clone()
        .lazy()
        .filter(col("n").gt_eq(lit(5_000)))
        .par_rows(999)
        .map(|chunk| Ok(chunk.column("n")?.i64()?.get(0)));
    in_turn
        .for_each(|first| {
            seen.push(first);
            Ok(())
        })
        .expect("no chunk fails");
    assert_eq!(seen, (0..6).map(|chunk| Some(5_000 + chunk * 999)).collect::<Vec<_>>());
}

#[test]
fn an_input_without_rows_is_one_empty_chunk() {
    let files = Files::new(0);
    let calls = AtomicUsize::new(0);
    let out = files.path("out.parquet");
    let count = |chunk: DataFrame| {
        calls.fetch_add(1, Ordering::Relaxed);
        double(chunk)
    };
    scan_parquet(files.path("in.parquet")).map(count).sink_parquet(&out).expect("no chunk fails");
    assert_eq!(calls.into_inner(), 1);
    assert_eq!(read_parquet(&out).schema(), files.frame.schema());
}

#[test]
fn a_slow_chunk_bounds_how_many_later_chunks_are_read() {
    // While one chunk is blocked, only a few later chunks for each worker are read.
    let pool = Pool::io("window").threads(2).build().expect("threads start");
    let frame = frame(100_000);
    let (ended, released) = (AtomicUsize::new(0), Mutex::new(()));
    let held = released.lock().expect("no panic");
    let most = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            frame
                .clone()
                .lazy()
                .par_rows(1_000)
                .on(&pool)
                .map(|chunk| {
                    if chunk.column("n")?.i64()?.get(0) == Some(0) {
                        drop(released.lock());
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                    Ok(chunk)
                })
                .for_each(|_| Ok(()))
        });
        // The other worker runs until it reaches the end of the window, and then waits.
        while ended.load(Ordering::SeqCst) < 3 {
            std::thread::yield_now();
        }
        let most = ended.load(Ordering::SeqCst);
        drop(held);
        run.join().expect("no panic").expect("no chunk fails");
        most
    });
    assert!(most <= 4, "{most} chunks ended after the first");
    assert_eq!(ended.into_inner(), 100);
}

#[test]
fn a_failing_chunk_leaves_no_file_and_keeps_the_old_one() {
    let files = Files::new(10_000);
    let before = files.names();
    let failing = |chunk: DataFrame| {
        polars_ensure!(chunk.column("n")?.i64()?.get(0) != Some(5_000), ComputeError: "unlucky");
        Ok(chunk)
    };
    for name in ["new.parquet", "new.csv", "new.ipc"] {
        let scan = scan_parquet(files.path("in.parquet")).par_rows(1_000).map(failing);
        let error = match name {
            "new.parquet" => scan.sink_parquet(files.path(name)),
            "new.csv" => scan.sink_csv(files.path(name)),
            _ => scan.sink_ipc(files.path(name)),
        };
        let error = error.expect_err("chunk 5 fails");
        assert_eq!(error.to_string(), "chunk 5 (rows 5000..6000): unlucky");
        assert!(matches!(&error, ScanError::Chunk(chunk) if chunk.rows() == (5_000..6_000)));
        assert!(matches!(PolarsError::from(error), PolarsError::ComputeError(_)));
    }
    assert_eq!(files.names(), before);
    // The output is an existing file, the input itself; it is kept.
    let error =
        scan_parquet(files.path("in.parquet")).par_rows(1_000).map(failing).sink_parquet(files.path("in.parquet"));
    assert!(error.is_err());
    assert!(read_parquet(&files.path("in.parquet")).equals_missing(&files.frame));
    scan_parquet(files.path("in.parquet"))
        .par_rows(1_000)
        .map(double)
        .sink_parquet(files.path("in.parquet"))
        .expect("none");
    assert!(read_parquet(&files.path("in.parquet")).equals_missing(&double(files.frame.clone()).expect("n is there")));
    assert_eq!(files.names(), before);
}

#[test]
fn a_panicking_chunk_is_an_error_with_its_rows() {
    let files = Files::new(4_000);
    let error = scan_parquet(files.path("in.parquet")).par_rows(1_000).map(|chunk| {
        assert!(chunk.column("n")?.i64()?.get(0) != Some(2_000), "two thousand");
        Ok(chunk)
    });
    let error = error.sink_csv(files.path("out.csv")).expect_err("chunk 2 panics").to_string();
    assert!(error.starts_with("chunk 2 (rows 2000..3000): ") && error.ends_with("two thousand"), "{error}");
    let error = scan_parquet(files.path("in.parquet")).par_rows(1_000).map(Ok).for_each(|_| panic!("in turn"));
    assert!(error.expect_err("it panics").to_string().contains("in turn"));
}

#[test]
fn results_that_do_not_fit_are_errors_that_name_the_chunk() {
    let files = Files::new(4_000);
    let odd = |mut chunk: DataFrame| {
        if chunk.column("n")?.i64()?.get(0) == Some(3_000) {
            let text = chunk.column("n")?.cast(&DataType::String)?;
            chunk.with_column(text)?;
        }
        Ok(chunk)
    };
    let mismatch = "chunk 3 (rows 3000..4000): its result does not fit the others: its column `n` is str, and i64 in \
                    the chunks before";
    let scan = || scan_parquet(files.path("in.parquet")).par_rows(1_000);
    assert_eq!(scan().map(odd).sink_parquet(files.path("out.parquet")).expect_err("text").to_string(), mismatch);
    assert_eq!(scan().map(odd).collect().expect_err("text").to_string(), mismatch);

    let nulls_first = |mut chunk: DataFrame| {
        if chunk.column("n")?.i64()?.get(0) == Some(0) {
            chunk.with_column(Column::full_null("n".into(), chunk.height(), &DataType::Null))?;
        }
        Ok(chunk)
    };
    let error = scan().map(nulls_first).sink_csv(files.path("out.csv")).expect_err("not known yet").to_string();
    assert!(error.contains("chunk 1") && error.ends_with("declare its type by `.schema(..)`"), "{error}");
    let schema = files.frame.schema().clone();
    scan().schema(schema).map(nulls_first).sink_parquet(files.path("out.parquet")).expect("declared");
    assert_eq!(read_parquet(&files.path("out.parquet")).column("n").expect("it is there").null_count(), 1_000);
    assert_eq!(scan().map(nulls_first).collect().expect("known at the end").column("n").unwrap().null_count(), 1_000);
}

#[test]
fn invalid_inputs_are_clear_errors() {
    let files = Files::new(10_000);
    let missing = files.path("missing.parquet");
    let error = scan_parquet(&missing).map(Ok).collect().expect_err("no such file");
    assert!(matches!(error, ScanError::Read { .. }));
    assert!(error.to_string().starts_with(&format!("cannot read `{}`: ", missing.display())), "{error}");
    let whole = fs::read(files.path("in.parquet")).expect("it is there");
    for (name, bytes) in [
        ("half.parquet", whole[..whole.len() / 2].to_vec()),
        ("holed.parquet", [&whole[..4], &whole[whole.len() - 3_000..]].concat()),
        ("empty.parquet", Vec::new()),
    ] {
        fs::write(files.path(name), bytes).expect("it can be written");
        let before = files.names();
        let error = scan_parquet(files.path(name)).map(Ok).sink_parquet(files.path("out.parquet"));
        assert!(matches!(error.expect_err("damaged"), ScanError::Read { .. }), "{name}");
        assert_eq!(files.names(), before);
    }
    let whole = fs::read(files.path("in.ipc")).expect("it is there");
    for (name, bytes) in [("half.ipc", &whole[..whole.len() / 2]), ("empty.ipc", &[])] {
        fs::write(files.path(name), bytes).expect("it can be written");
        let before = files.names();
        let error = scan_ipc(files.path(name)).map(Ok).sink_ipc(files.path("out.ipc")).expect_err("damaged");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(files.names(), before);
    }
    let zero = scan_parquet(files.path("in.parquet")).par_rows(0).map(Ok).collect().expect_err("0 rows").to_string();
    assert!(zero.contains("nothing can be read in chunks of 0 rows"), "{zero}");
    let column = files.frame.clone().lazy().select([col("missing")]).par_rows(10).map(Ok).collect();
    let column = PolarsError::from(column.expect_err("no column")).to_string();
    assert!(column.contains("cannot read the query") && column.contains("missing"), "{column}");
    let folder = scan_parquet(files.path("in.parquet")).map(Ok).sink_parquet(files.path("no/such/folder.parquet"));
    let folder = folder.expect_err("no folder");
    assert!(matches!(folder, ScanError::Write { .. }));
    assert!(folder.to_string().starts_with("cannot write `"), "{folder}");
    let is_folder = scan_parquet(files.path("in.parquet")).map(Ok).sink_csv(files.folder.path());
    assert!(is_folder.expect_err("a folder").to_string().contains("it is a directory"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_clear_error() {
    let files = Files::new(50_000);
    let scan = || scan_parquet(files.path("in.parquet")).par_rows(1_000).map(Ok);
    for error in [scan().sink_parquet("/dev/full"), scan().sink_csv("/dev/full"), scan().sink_ipc("/dev/full")] {
        let error = error.expect_err("there is no room");
        assert!(matches!(error, ScanError::Write { .. }), "{error:?}");
        assert!(error.to_string().starts_with("cannot write `/dev/full`: No space left on device"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_new_file_has_default_permissions_and_a_replaced_one_keeps_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new(10);
    let mode = |name: &str| fs::metadata(files.path(name)).expect("it is there").permissions().mode() & 0o777;
    let scan = || scan_parquet(files.path("in.parquet")).map(Ok);
    scan().sink_csv(files.path("new.csv")).expect("no chunk fails");
    assert_eq!(mode("new.csv"), mode("in.csv"));
    fs::set_permissions(files.path("new.csv"), fs::Permissions::from_mode(0o640)).expect("this user owns it");
    std::os::unix::fs::symlink(files.path("new.csv"), files.path("link.csv")).expect("links can be made");
    scan().sink_csv(files.path("link.csv")).expect("no chunk fails");
    assert_eq!(mode("new.csv"), 0o640);
    assert!(fs::symlink_metadata(files.path("link.csv")).expect("it is there").is_symlink());
}

#[test]
fn scans_inside_chunks_run_on_a_named_pool() {
    let files = Files::new(5_000);
    let pool = Pool::io("scans").threads(1).build().expect("a thread starts");
    let rows = files.frame.par_chunks(3).on(&pool).map_reduce(
        |_| {
            let inner = scan_parquet(files.path("in.parquet")).par_rows(500).on(&pool);
            Ok(inner.map_reduce(|chunk| Ok(chunk.height()), |a, b| a + b)?)
        },
        |a, b| a + b,
    );
    assert_eq!(rows.expect("no chunk fails"), 15_000);
}

#[test]
fn data_that_a_format_cannot_hold_is_an_error() {
    let files = Files::new(100);
    let before = files.names();
    let without_columns = || {
        let scan = scan_parquet(files.path("in.parquet")).par_rows(30);
        scan.map(|chunk| Ok(DataFrame::empty_with_height(chunk.height())))
    };
    let refused = without_columns().sink_csv(files.path("o.csv"));
    let refused = refused.expect_err("there is no column to count them by").to_string();
    assert!(refused.contains("rows without any column"), "{refused}");
    assert_eq!(files.names(), before);
    without_columns().sink_ipc(files.path("o.ipc")).expect("it counts rows");
    assert_eq!(scan_ipc(files.path("o.ipc")).map_reduce(|c| Ok(c.height()), |a, b| a + b).expect("readable"), 100);
    let nested = files.frame.clone().lazy().select([col("n").implode(true)]).par().map(Ok);
    let nested = nested.sink_csv(files.path("o.csv")).expect_err("a list").to_string();
    assert!(nested.contains("CSV format does not support nested data"), "{nested}");
}

#[test]
fn growing_categories_are_an_ipc_error_that_suggests_parquet() {
    let files = Files::new(100_000);
    let text = files.frame.column("n").unwrap().cast(&DataType::String).unwrap();
    let categories = text.cast(&DataType::from_categories(Categories::global())).unwrap();
    let frame = DataFrame::new(text.len(), vec![categories.with_name("kind".into())]).unwrap();
    let before = files.names();
    let refused = frame.lazy().par_rows(40_000).map(Ok).sink_ipc(files.path("o.ipc")).expect_err("they grow");
    let refused = refused.to_string();
    assert!(refused.contains("those of `kind` differ") && refused.contains("or write Parquet"), "{refused}");
    assert_eq!(files.names(), before);
}

#[test]
fn a_file_whose_name_looks_like_a_pattern_is_read_literally() {
    let files = Files::new(10);
    for kind in ["parquet", "csv", "ipc"] {
        fs::copy(files.path(&format!("in.{kind}")), files.path(&format!("[2020]*.{kind}"))).expect("it can be copied");
    }
    for scan in [
        scan_parquet(files.path("[2020]*.parquet")),
        scan_csv(files.path("[2020]*.csv")),
        scan_ipc(files.path("[2020]*.ipc")),
    ] {
        assert!(scan.map(Ok).collect().expect("it is there").equals_missing(&files.frame));
    }
}

#[test]
fn an_error_names_the_damaged_file_of_a_pattern() {
    let files = Files::new(5_000);
    let mut bytes = fs::read(files.path("in.parquet")).expect("it is there");
    fs::write(files.path("part-1.parquet"), &bytes).expect("it can be written");
    fs::write(files.path("part-2.parquet"), &bytes[..1_000]).expect("it can be written");
    let names = |error: ScanError| error.to_string();
    let error = names(scan_parquet(files.path("part-*.parquet")).map(Ok).collect().expect_err("cut off"));
    assert!(error.contains("part-*.parquet`: `") && error.contains("part-2.parquet`: "), "{error}");
    // The footer is intact; the pages are not.
    bytes[4..2_000].fill(0xff);
    fs::write(files.path("part-2.parquet"), &bytes).expect("it can be written");
    let error = names(scan_parquet(files.path("part-*.parquet")).map(Ok).collect().expect_err("broken pages"));
    assert!(error.contains("part-*.parquet`: `") && error.contains("part-2.parquet`: "), "{error}");
}

#[test]
fn errors_name_missing_patterns_and_folders() {
    let files = Files::new(10);
    let pattern = files.path("none-*.x");
    for scan in [scan_parquet(&pattern), scan_csv(&pattern), scan_ipc(&pattern)] {
        let error = scan.map(Ok).collect().expect_err("no such files").to_string();
        assert_eq!(error, format!("cannot read `{}`: no file matches the pattern", pattern.display()));
    }
    let out = files.path("none").join("o.csv");
    let error = scan_parquet(files.path("in.parquet")).map(Ok).sink_csv(&out).expect_err("no folder").to_string();
    let folder = files.path("none");
    let wanted =
        format!("cannot write `{}`: the folder `{}` is not there: make it first", out.display(), folder.display());
    assert_eq!(error, wanted);
}
