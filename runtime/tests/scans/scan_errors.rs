//! Errors of scans name the file that cannot be read, by its real path, for every format and every kind of damage.

use std::fs;
use std::path::{Path, PathBuf};

use fanfold::prelude::*;
use fanfold::{Scan, ScanError};
use polars::prelude::*;
use tempfile::TempDir;

const FORMATS: [&str; 3] = ["parquet", "csv", "ipc"];
/// Total bytes of files from which on they are not read completely before a query begins.
const LARGE: usize = 18 << 20;

fn bytes(format: &str, mut frame: DataFrame) -> Vec<u8> {
    let mut bytes = Vec::new();
    match format {
        "parquet" => {
            let writer = ParquetWriter::new(&mut bytes).with_row_group_size(Some(500));
            writer.finish(&mut frame).expect("written");
        }
        "csv" => CsvWriter::new(&mut bytes).finish(&mut frame).expect("written"),
        _ => {
            let writer = IpcWriter::new(&mut bytes).with_compression(Some(IpcCompression::LZ4));
            writer.with_record_batch_size(Some(500)).finish(&mut frame).expect("written");
        }
    }
    bytes
}

fn rows() -> DataFrame {
    let texts = (0..2_000).map(|n| format!("row {}", n * 7 % 1_000)).collect::<Vec<_>>();
    df!("id" => 0..2_000_i64, "text" => texts).expect("equal lengths")
}

fn scan(format: &str, path: &Path) -> Scan {
    match format {
        "parquet" => scan_parquet(path),
        "csv" => scan_csv(path),
        _ => scan_ipc(path),
    }
}

/// Ways to damage a file, with a name. The flag is false for files that are valid alone but differ from the others.
fn damages(format: &str) -> Vec<(&'static str, bool, Vec<u8>)> {
    let whole = bytes(format, rows());
    let middle = whole.len() / 2;
    let other = |frame: PolarsResult<DataFrame>| bytes(format, frame.expect("it is created"));
    let mut damages = Vec::new();
    if format == "csv" {
        let mut text = whole.clone();
        text.extend_from_slice(b"text,where a number was\n");
        let mut bytes = whole.clone();
        bytes.extend_from_slice(b"7,\xff\xfe\n");
        let mut ragged = whole.clone();
        ragged.extend_from_slice(b"1,2,3,4\n");
        damages.extend([
            ("text for a number", true, text),
            ("no UTF-8", true, bytes),
            ("too many fields", true, ragged),
        ]);
    } else {
        let mut holed = whole.clone();
        holed[middle - 2_000..middle].fill(0xff);
        let mut footless = whole.clone();
        let end = footless.len();
        footless[end - 40..end - 12].fill(0xff);
        damages.extend([
            ("half", true, whole[..middle].to_vec()),
            ("no such format", true, b"id,text\n1,x\n".repeat(20)),
            ("a hole", true, holed),
            ("a broken footer", true, footless),
            ("one byte", true, vec![b'P']),
        ]);
    }
    if format != "csv" {
        let types = df!("id" => vec!["x"; 2_000], "text" => vec!["y"; 2_000]);
        damages.push(("another type", false, other(types)));
        damages.push(("a column too few", false, other(rows().select(["id"]))));
        damages.push(("other names", false, other(df!("a" => 0..9_i64, "b" => vec!["x"; 9]))));
    }
    let mut more = rows();
    more.with_column(Column::new("more".into(), vec![1; 2_000])).expect("the same length");
    damages.push(("a column too many", false, other(Ok(more))));
    damages
}

/// Files of one pattern, with the damaged one in the middle.
fn files(format: &str, damaged: &[u8], large: bool, hive: bool) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder is created");
    let whole = bytes(format, rows());
    let path = |name: &str| {
        let path = if hive { format!("k={name}/{name}.{format}") } else { format!("{name}.{format}") };
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it is created");
        path
    };
    fs::write(path("a"), &whole).expect("new");
    fs::write(path("b"), damaged).expect("new");
    fs::write(path("c"), &whole).expect("new");
    if large {
        let last = df!("id" => 0..18_000_i64, "text" => vec!["x".repeat(LARGE / 18_000); 18_000]);
        let mut last = last.expect("equal lengths");
        let bytes = match format {
            "csv" => bytes(format, last),
            _ => {
                let mut bytes = Vec::new();
                IpcWriter::new(&mut bytes).finish(&mut last).expect("written");
                bytes
            }
        };
        fs::write(path("d"), bytes).expect("new");
    }
    let damaged = path("b");
    (folder, damaged)
}

/// The same scan as a query of Polars.
fn query(format: &str, path: &Path) -> LazyFrame {
    let path = PlRefPath::new(path.to_str().expect("UTF-8"));
    let query = match format {
        "parquet" => LazyFrame::scan_parquet(path, ScanArgsParquet::default()),
        "csv" => LazyCsvReader::new(path).with_glob(true).finish(),
        _ => LazyFrame::scan_ipc(path, IpcScanOptions::default(), UnifiedScanArgs::default()),
    };
    query.expect("nothing is read yet")
}

fn error_of_scan(format: &str, path: &Path) -> Option<String> {
    scan(format, path).par_rows(300).map(Ok).collect().err().map(|error: ScanError| error.to_string())
}

#[test]
fn every_error_names_the_file() {
    let mut wrong = Vec::new();
    for format in FORMATS {
        for (what, alone, damaged) in damages(format) {
            // Large and small Parquet files are read alike. For other formats, one kind of damage covers large files.
            let large = format != "parquet" && matches!(what, "half" | "no UTF-8" | "a column too many");
            for (large, hive) in [(false, false), (false, true), (large, false)] {
                let (folder, file) = files(format, &damaged, large, hive);
                let pattern = if hive { folder.path().to_owned() } else { folder.path().join(format!("*.{format}")) };
                let named = format!("`{}`", file.display());
                for path in [&pattern, &file] {
                    let name = format!("{format} with {what}, large: {large}, hive: {hive}, alone: {}", path == &file);
                    let of_query = || query(format, path).par_rows(300).map(Ok).collect().err();
                    let errors = [error_of_scan(format, path), of_query().map(|error: ScanError| error.to_string())];
                    for error in errors {
                        match error {
                            None if path == &file && !alone => {}
                            None => wrong.push(format!("{name}: no error")),
                            Some(error) if ["in-mem", "open-file"].iter().any(|unnamed| error.contains(unnamed)) => {
                                wrong.push(format!("{name}: {error}"));
                            }
                            Some(error) if error.contains(&named) => {}
                            Some(error) if path == &file && error.contains(file.to_str().expect("UTF-8")) => {}
                            Some(error) => wrong.push(format!("{name}: {error}")),
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_is_named() {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::process::Command;
    const CHILD: &str = "FANFOLD_TEST_CHILD";
    let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) else {
        let folder = tempfile::tempdir().expect("a folder is created");
        let output = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["scan_errors::an_unreadable_file_is_named", "--exact", "--nocapture"])
            .env(CHILD, folder.path())
            .output()
            .expect("this program starts again");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success() && text.contains("1 passed"), "{text}");
    };
    let user = 200_000 + std::process::id();
    // SAFETY: `geteuid` and `setuid` take only numbers.
    unsafe {
        if libc::geteuid() == 0 {
            chown(&folder, Some(user), Some(user)).expect("root may");
            assert!(libc::setgid(user) == 0 && libc::setuid(user) == 0);
        }
    }
    for format in FORMATS {
        let path = |name: &str| folder.join(format!("{name}.{format}"));
        for name in ["a", "b"] {
            fs::write(path(name), bytes(format, rows())).expect("new");
        }
        fs::set_permissions(path("b"), fs::Permissions::from_mode(0o200)).expect("this user owns it");
        for scanned in [path("b"), path("*")] {
            let error = error_of_scan(format, &scanned).expect("it may not be read");
            let named = format!("`{}`", path("b").display());
            assert!(error.contains(&named) && error.contains("Permission denied"), "{error}");
        }
    }
}

/// These tests are built without Polars' cloud features. It reads `http://`, and tries for seconds before it fails.
#[test]
fn an_address_is_an_error_that_names_it_and_the_missing_feature() {
    for format in FORMATS {
        for scheme in ["s3", "gs", "az", "abfss"] {
            let address = format!("{scheme}://127.0.0.1:1/bucket/x.{format}");
            let error = scan(format, Path::new(&address)).par_rows(10).map(Ok).collect().expect_err(&address);
            let text = error.to_string();
            assert!(text.starts_with(&format!("cannot read `{address}`: feature '")), "{address}: {text}");
            assert!(text.contains("must be enabled"), "{address}: {text}");
        }
    }
}

#[test]
fn an_address_of_a_local_file_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let path = folder.path().join("x").with_extension(format);
        fs::write(&path, bytes(format, rows())).expect("written");
        let address = format!("file://{}", path.display());
        let read = scan(format, Path::new(&address)).par_rows(500).map(Ok).collect().expect(&address);
        assert_eq!(read.height(), 2_000, "{address}");
    }
}
