//! [`Suspects`]: the files of a query, one of which made it fail.
//!
//! Polars' errors do not say which of several files cannot be read, and name files that it reads from memory or through a
//! handle `in-mem` and `open-file`. So after a failure the files are read one by one until one fails as the query did.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use polars::prelude::*;

use super::catch_panic::guarded_file;
use super::files::Files;
use super::parquet_file::of_file;
use crate::pool;

/// What Polars calls a file that it reads from memory, or through a handle.
const UNNAMED: [&str; 2] = ["'in-mem'", "'open-file'"];

pub(super) struct Suspects {
    /// A scan of all files.
    scan: LazyFrame,
    /// Nothing for a `LazyFrame` of a user, whose files are looked for when it has failed.
    paths: Option<Vec<PlRefPath>>,
}

impl Suspects {
    /// The files of a scan, in the order in which it reads them.
    pub(super) fn new(scan: &LazyFrame, files: &Files) -> Self {
        Self { scan: scan.clone(), paths: Some(files.paths.clone()) }
    }

    /// Those of a query that is a scan of files of this machine and nothing else: a file is at fault then if it fails.
    pub(super) fn of_query(query: &LazyFrame) -> Option<Self> {
        let mut plan = &query.logical_plan;
        // A query that was asked for its schema.
        while let DslPlan::IR { dsl, .. } = plan {
            plan = dsl;
        }
        let DslPlan::Scan { sources: ScanSources::Paths(_), .. } = plan else { return None };
        let scan = LazyFrame::from(plan.clone()).with_optimizations(query.get_current_optimizations());
        Some(Self { scan, paths: None })
    }

    /// The error, with the name of the file that it is about. Reads files again, on a thread of its own.
    pub(super) fn named(&self, error: PolarsError) -> PolarsError {
        let found;
        let (paths, is_query) = match &self.paths {
            Some(paths) => (paths, false),
            None => {
                let Some(paths) = self.expanded() else { return error };
                found = paths;
                (&found, true)
            }
        };
        if let [only] = &**paths {
            let renamed = renamed(&error, only);
            // What is said before the error of a path or pattern names that one.
            let is_named = !is_query || renamed.to_string().contains(only.as_str());
            return if is_named { renamed } else { of_file(&renamed, only.as_std_path()) };
        }
        let find = || {
            thread::scope(|scope| {
                let finder = thread::Builder::new().spawn_scoped(scope, || self.find(paths, &error));
                finder.ok()?.join().ok()?
            })
        };
        match pool::blocking_section(find) {
            Some(path) => of_file(&renamed(&error, path), path.as_std_path()),
            None => error,
        }
    }

    /// The files that the paths of the scan stand for.
    fn expanded(&self) -> Option<Vec<PlRefPath>> {
        let DslPlan::Scan { sources: ScanSources::Paths(paths), .. } = &self.scan.logical_plan else { return None };
        let mut files = Vec::new();
        for path in paths.iter() {
            files.extend(Files::of(path.as_std_path()).ok()??.paths);
        }
        Some(files)
    }

    /// The first file that fails alone, if possible with this error; otherwise the first one that does not fit the first
    /// of all.
    fn find<'p>(&self, paths: &'p [PlRefPath], error: &PolarsError) -> Option<&'p PlRefPath> {
        let mut first = None;
        for (index, path) in paths.iter().enumerate() {
            match self.read(paths, &[index], 0) {
                Err(found) if line(&found) == line(error) => return Some(path),
                Err(_) if first.is_none() => first = Some(path),
                _ => {}
            }
        }
        if first.is_some() {
            return first;
        }
        let rows = self.read(paths, &[0], 0).ok()?;
        (1..paths.len()).find(|index| self.read(paths, &[0, *index], rows).is_err()).map(|index| &paths[index])
    }

    /// Reads some of the files as the scan does, from a row on, and counts the rows.
    fn read(&self, paths: &[PlRefPath], files: &[usize], from: usize) -> PolarsResult<usize> {
        guarded_file(|| {
            let rows = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&rows);
            let count = PlanCallback::new(move |batch: DataFrame| {
                counted.fetch_add(batch.height(), Ordering::Relaxed);
                Ok(false)
            });
            let scan = self.of(paths, files)?.slice(i64::try_from(from).unwrap_or(i64::MAX), IdxSize::MAX);
            scan.sink_batches(count, true, None)?.collect_with_engine(Engine::Streaming)?;
            Ok(rows.load(Ordering::Relaxed))
        })
    }

    /// The scan, of some of its files.
    fn of(&self, paths: &[PlRefPath], files: &[usize]) -> PolarsResult<LazyFrame> {
        let DslPlan::Scan { sources, unified_scan_args, scan_type, .. } = &self.scan.logical_plan else {
            polars_bail!(ComputeError: "no scan of files")
        };
        let sources = match sources {
            ScanSources::Paths(_) => ScanSources::Paths(files.iter().map(|index| paths[*index].clone()).collect()),
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
