//! [`scan_parquet`], [`scan_csv`] and [`scan_ipc`]: scans of files.

use std::path::Path;

use polars::prelude::*;

use super::Scan;
use super::input::Format;

/// Reads Parquet files in chunks: one file, all files that a pattern matches (`data/*.parquet`), or all files below a
/// folder, in the order of their names.
///
/// Empty files of a pattern or folder are left out, and folders named `key=value` add columns, as in Polars. Files that
/// a sink is still writing, in this program or another one, are left out too: those whose names begin with `.fanfold-`.
/// This holds for all scans.
///
/// Several workers decode row groups, or columns of one row group, at the same time. Cloud addresses, and files whose
/// schemas differ, are read by Polars' streaming engine.
///
/// See [`Scan`] for files that change during the scan, and for hostile files.
pub fn scan_parquet(path: impl AsRef<Path>) -> Scan {
    let scanned = polars_path(path.as_ref()).and_then(|path| LazyFrame::scan_parquet(path, ScanArgsParquet::default()));
    Scan { knows_height: true, ..Scan::from_files(path.as_ref(), Format::Parquet, scanned) }
}

/// Reads CSV files in chunks: one file, or all files that a pattern matches, in the order of their names.
///
/// The files have a header, and the column types are inferred from the first 100 rows. For other options make a
/// `LazyFrame` with Polars' `LazyCsvReader`, and cut it with [`par_rows`](crate::ParallelScan::par_rows).
///
/// See [`Scan`] for files that change during the scan, and for hostile files.
pub fn scan_csv(path: impl AsRef<Path>) -> Scan {
    let glob = is_pattern(path.as_ref());
    let scanned = polars_path(path.as_ref()).and_then(|path| LazyCsvReader::new(path).with_glob(glob).finish());
    Scan::from_files(path.as_ref(), Format::Csv, scanned)
}

/// Reads Arrow IPC (Feather) files in chunks: one file, or all files that a pattern matches, in the order of their
/// names.
///
/// See [`Scan`] for files that change during the scan, and for hostile files.
pub fn scan_ipc(path: impl AsRef<Path>) -> Scan {
    let options = UnifiedScanArgs { glob: is_pattern(path.as_ref()), ..Default::default() };
    let scanned =
        polars_path(path.as_ref()).and_then(|path| LazyFrame::scan_ipc(path, IpcScanOptions::default(), options));
    Scan { knows_height: true, ..Scan::from_files(path.as_ref(), Format::Ipc, scanned) }
}

/// Whether a path may expand to several files. The path of an existing file does not, whatever characters it has.
pub(super) fn is_pattern(path: &Path) -> bool {
    !path.is_file()
}

fn polars_path(path: &Path) -> PolarsResult<PlRefPath> {
    let path = path.to_str().ok_or_else(
        || polars_err!(ComputeError: "the path is not UTF-8, which Polars requires: rename the file or its folder"),
    )?;
    Ok(PlRefPath::new(path))
}
