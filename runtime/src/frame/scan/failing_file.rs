//! [`FailingFileFinder`]: finds the file that made a query of several files fail.
//!
//! Polars' errors do not say which of several files cannot be read, and name files that are read from memory or through
//! a handle `in-mem` and `open-file`. So after a failure the files are read one by one, until one fails with the
//! query's error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use polars::prelude::*;

use super::catch_panic::catch_file_panic;
use super::error::error_in_file;
use super::input_files::InputFiles;
use crate::pool;

/// The names that Polars gives to files that it reads from memory, or through a handle.
const PLACEHOLDERS: [&str; 2] = ["'in-mem'", "'open-file'"];

/// The files of a query.
pub(super) struct FailingFileFinder {
    /// A scan of all files.
    scan: LazyFrame,
    /// `None` for a user's `LazyFrame`: its paths are expanded after a failure.
    paths: Option<Vec<PlRefPath>>,
}

impl FailingFileFinder {
    /// The files of a scan, in the order in which it reads them.
    pub(super) fn new(scan: &LazyFrame, files: &InputFiles) -> Self {
        Self { scan: scan.clone(), paths: Some(files.paths.clone()) }
    }

    /// The files of a user's query. `None` unless the query is a scan of local files and nothing else: only then does a
    /// failure come from one of the files.
    pub(super) fn from_query(query: &LazyFrame) -> Option<Self> {
        let mut plan = &query.logical_plan;
        // `collect_schema` wraps the plan in this node.
        while let DslPlan::IR { dsl, .. } = plan {
            plan = dsl;
        }
        let DslPlan::Scan { sources: ScanSources::Paths(_), .. } = plan else { return None };
        let scan = LazyFrame::from(plan.clone()).with_optimizations(query.get_current_optimizations());
        Some(Self { scan, paths: None })
    }

    /// The error, with the path of the file that it is about. Reads files again, on a thread of its own.
    pub(super) fn name_file(&self, error: PolarsError) -> PolarsError {
        let expanded;
        let (paths, is_query) = match &self.paths {
            Some(paths) => (paths, false),
            None => {
                let Some(paths) = self.expand_paths() else { return error };
                expanded = paths;
                (&expanded, true)
            }
        };
        if let [only] = &**paths {
            let renamed = replace_placeholders(&error, only);
            // `ScanError` puts the path in front of the error of a scan by path, but not of a user's query.
            let is_named = !is_query || renamed.to_string().contains(only.as_str());
            return if is_named { renamed } else { error_in_file(&renamed, only.as_std_path()) };
        }
        let find = || {
            thread::scope(|scope| {
                let finder = thread::Builder::new().spawn_scoped(scope, || self.find(paths, &error));
                finder.ok()?.join().ok()?
            })
        };
        match pool::blocking_section(find) {
            Some(path) => error_in_file(&replace_placeholders(&error, path), path.as_std_path()),
            None => error,
        }
    }

    /// The files that the paths of the scan expand to.
    fn expand_paths(&self) -> Option<Vec<PlRefPath>> {
        let DslPlan::Scan { sources: ScanSources::Paths(paths), .. } = &self.scan.logical_plan else { return None };
        let mut files = Vec::new();
        for path in paths.iter() {
            files.extend(InputFiles::expand(path.as_std_path()).ok()??.paths);
        }
        Some(files)
    }

    /// The first file that fails alone with this error; or else the first file that fails alone; or else the first file
    /// that fails together with the first one of the scan, as their schemas differ.
    fn find<'p>(&self, paths: &'p [PlRefPath], error: &PolarsError) -> Option<&'p PlRefPath> {
        let mut first_failing = None;
        for (index, path) in paths.iter().enumerate() {
            match self.read(paths, &[index], 0) {
                Err(found) if first_line(&found) == first_line(error) => return Some(path),
                Err(_) if first_failing.is_none() => first_failing = Some(path),
                _ => {}
            }
        }
        if first_failing.is_some() {
            return first_failing;
        }
        let rows = self.read(paths, &[0], 0).ok()?;
        (1..paths.len()).find(|index| self.read(paths, &[0, *index], rows).is_err()).map(|index| &paths[index])
    }

    /// Reads some of the files as the scan does, from row `start` on, and counts the rows.
    fn read(&self, paths: &[PlRefPath], files: &[usize], start: usize) -> PolarsResult<usize> {
        catch_file_panic(|| {
            let rows = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&rows);
            let count = PlanCallback::new(move |batch: DataFrame| {
                counter.fetch_add(batch.height(), Ordering::Relaxed);
                Ok(false)
            });
            let scan = self.scan_of(paths, files)?.slice(i64::try_from(start).unwrap_or(i64::MAX), IdxSize::MAX);
            scan.sink_batches(count, true, None)?.collect_with_engine(Engine::Streaming)?;
            Ok(rows.load(Ordering::Relaxed))
        })
    }

    /// The scan, restricted to some of its files.
    fn scan_of(&self, paths: &[PlRefPath], files: &[usize]) -> PolarsResult<LazyFrame> {
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

/// The first line of an error's text. The lines after it depend on the position in a batch.
fn first_line(error: &PolarsError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// The error, with the file's path in place of a placeholder of Polars.
fn replace_placeholders(error: &PolarsError, path: &PlRefPath) -> PolarsError {
    error.wrap_msg(|text| {
        PLACEHOLDERS.iter().fold(text.to_owned(), |text, placeholder| text.replace(placeholder, &format!("'{path}'")))
    })
}
