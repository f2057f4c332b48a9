//! [`Suspects`]: the files of a query, one of which made it fail.
//!
//! Polars' errors do not say which of several files cannot be read, and name files that it reads from memory or through a
//! handle `in-mem` and `open-file`. So after a failure the files are read one by one until one fails as the query did.

use std::sync::Arc;
use std::thread;

use polars::prelude::*;

use super::files::Files;
use super::guarded::guarded_file;
use super::parquet_file::of_file;
use crate::workers;

/// What Polars calls a file that it reads from memory, or through a handle.
const UNNAMED: [&str; 2] = ["'in-mem'", "'open-file'"];

pub(super) struct Suspects {
    /// A scan of all files.
    scan: LazyFrame,
    paths: Vec<PlRefPath>,
}

impl Suspects {
    /// The files of a scan, in the order in which it reads them.
    pub(super) fn new(scan: &LazyFrame, files: &Files) -> Self {
        Self { scan: scan.clone(), paths: files.paths.clone() }
    }

    /// The error, with the name of the file that it is about. Reads files again, on a thread of its own.
    pub(super) fn named(&self, error: PolarsError) -> PolarsError {
        let find = || {
            thread::scope(|scope| Some(thread::Builder::new().spawn_scoped(scope, || self.find(&error)).ok()?.join()))
        };
        let [only] = &*self.paths else {
            return match workers::wait_by(find) {
                Some(Ok(Some(path))) => of_file(&renamed(&error, path), path.as_std_path()),
                _ => error,
            };
        };
        // That one is named in any case.
        renamed(&error, only)
    }

    /// The first file that fails alone, if possible with this error; otherwise the first one that does not fit the first
    /// of all.
    fn find(&self, error: &PolarsError) -> Option<&PlRefPath> {
        let mut first = None;
        for (index, path) in self.paths.iter().enumerate() {
            match self.read(&[index], 0) {
                Err(found) if line(&found) == line(error) => return Some(path),
                Err(_) if first.is_none() => first = Some(path),
                _ => {}
            }
        }
        if first.is_some() {
            return first;
        }
        let rows = self.read(&[0], 0).ok()?;
        (1..self.paths.len()).find(|index| self.read(&[0, *index], rows).is_err()).map(|index| &self.paths[index])
    }

    /// Reads some of the files as the scan does, from a row on, and counts the rows.
    fn read(&self, files: &[usize], from: usize) -> PolarsResult<usize> {
        guarded_file(|| {
            let rows = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let counted = Arc::clone(&rows);
            let count = PlanCallback::new(move |batch: DataFrame| {
                counted.fetch_add(batch.height(), std::sync::atomic::Ordering::Relaxed);
                Ok(false)
            });
            let scan = self.of(files)?.slice(i64::try_from(from).unwrap_or(i64::MAX), IdxSize::MAX);
            scan.sink_batches(count, true, None)?.collect_with_engine(Engine::Streaming)?;
            Ok(rows.load(std::sync::atomic::Ordering::Relaxed))
        })
    }

    /// The scan, of some of its files.
    fn of(&self, files: &[usize]) -> PolarsResult<LazyFrame> {
        let DslPlan::Scan { sources, unified_scan_args, scan_type, .. } = &self.scan.logical_plan else {
            polars_bail!(ComputeError: "no scan of files")
        };
        let sources = match sources {
            ScanSources::Paths(_) => ScanSources::Paths(files.iter().map(|index| self.paths[*index].clone()).collect()),
            ScanSources::Buffers(all) => ScanSources::Buffers(files.iter().map(|index| all[*index].clone()).collect()),
            ScanSources::Files(all) => {
                ScanSources::Files(files.iter().map(|index| all[*index].try_clone()).collect::<std::io::Result<_>>()?)
            }
        };
        let (unified_scan_args, scan_type) = (unified_scan_args.clone(), scan_type.clone());
        let plan = DslPlan::Scan { sources, unified_scan_args, scan_type, cached_ir: Arc::default() };
        Ok(LazyFrame::from(plan).with_optimizations(self.scan.get_current_optimizations()))
    }
}

/// What an error says in its first line: further ones tell where in a batch it is.
fn line(error: &PolarsError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// An error, with the file's name where Polars had none.
fn renamed(error: &PolarsError, path: &PlRefPath) -> PolarsError {
    error.wrap_msg(|text| {
        UNNAMED.iter().fold(text.to_owned(), |text, unnamed| text.replace(unnamed, &format!("'{path}'")))
    })
}
