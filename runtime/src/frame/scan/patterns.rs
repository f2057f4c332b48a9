//! The patterns and folders that a query reads: hides files that sinks are still writing from them, and finds a pattern
//! that matches the query's own output.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::*;

use super::atomic_file;

/// The query, with temporary files of sinks hidden from its patterns and folders.
pub(super) fn hide_temporary_files(frame: LazyFrame) -> LazyFrame {
    if !frame.logical_plan.into_iter().any(|plan| matches!(plan, DslPlan::Scan { sources, .. } if has_pattern(sources)))
    {
        return frame;
    }
    let optimizations = frame.get_current_optimizations();
    let mut plan = frame.logical_plan;
    hide_in_plan(&mut plan);
    LazyFrame::from(plan).with_optimizations(optimizations)
}

fn hide_in_plan(plan: &mut DslPlan) {
    match plan {
        DslPlan::Scan { sources, unified_scan_args, cached_ir, .. }
            if has_pattern(sources) && unified_scan_args.hidden_file_prefix.is_none() =>
        {
            unified_scan_args.hidden_file_prefix =
                Some(Arc::from([PlSmallStr::from_static(atomic_file::TEMPORARY_PREFIX)]));
            // Drops the cached expansion of the patterns.
            *cached_ir = Arc::default();
        }
        DslPlan::Select { input, .. }
        | DslPlan::GroupBy { input, .. }
        | DslPlan::Filter { input, .. }
        | DslPlan::Distinct { input, .. }
        | DslPlan::Sort { input, .. }
        | DslPlan::Slice { input, .. }
        | DslPlan::HStack { input, .. }
        | DslPlan::MatchToSchema { input, .. }
        | DslPlan::MapFunction { input, .. }
        | DslPlan::Cache { input, .. } => hide_in_plan(Arc::make_mut(input)),
        DslPlan::Union { inputs, .. } | DslPlan::HConcat { inputs, .. } => inputs.iter_mut().for_each(hide_in_plan),
        DslPlan::Join { input_left: one, input_right: other, .. } | DslPlan::Gather { input: one, idxs: other, .. } => {
            hide_in_plan(Arc::make_mut(one));
            hide_in_plan(Arc::make_mut(other));
        }
        DslPlan::PipeWithSchema { input, .. } => Arc::make_mut(input).iter_mut().for_each(hide_in_plan),
        DslPlan::ExtContext { input, contexts } => {
            hide_in_plan(Arc::make_mut(input));
            contexts.iter_mut().for_each(hide_in_plan);
        }
        // `collect_schema` wraps the plan in this node, and caches the expansion of the patterns in `node`.
        DslPlan::IR { dsl, node, .. } => {
            *node = None;
            hide_in_plan(Arc::make_mut(dsl));
        }
        _ => {}
    }
}

/// Whether one of the paths may expand to several local files.
fn has_pattern(sources: &ScanSources) -> bool {
    let ScanSources::Paths(paths) = sources else { return false };
    paths.iter().any(|path| !path.has_scheme() && !path.as_std_path().is_file())
}

/// The pattern or folder of the query that `output` matches. `None` if `output` does not exist yet, or if the query
/// names it: a named file is read and then replaced.
pub(super) fn pattern_matching(frame: &LazyFrame, output: &Path) -> Option<String> {
    if !output.is_file() {
        return None;
    }
    frame.logical_plan.into_iter().find_map(|plan| {
        let DslPlan::Scan { sources: ScanSources::Paths(paths), unified_scan_args, .. } = plan else { return None };
        let mut local = paths.iter().filter(|path| !path.has_scheme());
        let found = local.find(|path| expands_to(path.as_std_path(), unified_scan_args.glob, output));
        found.map(ToString::to_string)
    })
}

/// Whether a pattern or folder expands to a file, by any of its names.
fn expands_to(path: &Path, glob: bool, file: &Path) -> bool {
    if path.is_file() {
        return false;
    }
    if path.is_dir() {
        return is_below(path, file, &mut Vec::new());
    }
    let matches = path.to_str().filter(|_| glob).and_then(|pattern| glob::glob(pattern).ok());
    matches.is_some_and(|matches| matches.flatten().any(|found| is_same_file(&found, file)))
}

/// Whether a file is in a folder or below it. `ancestors` are the folders around this one: links may lead back to them.
fn is_below(folder: &Path, file: &Path, ancestors: &mut Vec<PathBuf>) -> bool {
    let Ok(folder) = fs::canonicalize(folder) else { return false };
    let Ok(entries) = fs::read_dir(&folder) else { return false };
    if ancestors.contains(&folder) {
        return false;
    }
    ancestors.push(folder);
    let mut paths = entries.flatten().map(|entry| entry.path());
    let found =
        paths.any(|path| if path.is_dir() { is_below(&path, file, ancestors) } else { is_same_file(&path, file) });
    ancestors.pop();
    found
}

/// Whether two paths lead to the same file, through links of any kind.
fn is_same_file(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    let identity = |path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    #[cfg(not(unix))]
    let identity = |path| fs::canonicalize(path);
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// Whether the path is a pattern of local files and matches none, apart from temporary files of sinks.
pub(super) fn is_unmatched_pattern(pattern: &Path) -> bool {
    let Some(text) = pattern.to_str() else { return false };
    let is_pattern = text.contains(['*', '?', '[']) && !text.contains("://") && !pattern.exists();
    let is_input = |found: glob::GlobResult| found.map_or(true, |path| !atomic_file::is_temporary(&path));
    is_pattern && glob::glob(text).is_ok_and(|mut matches| !matches.any(is_input))
}
