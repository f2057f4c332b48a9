//! The patterns and folders that a query reads: files that sinks still write are hidden from them, and one that matches the
//! query's own output is found.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::*;

use super::atomic_file;

/// The query, with files that are still being written hidden from its patterns and folders.
pub(super) fn hide_temporaries(frame: LazyFrame) -> LazyFrame {
    if !frame.logical_plan.into_iter().any(|plan| matches!(plan, DslPlan::Scan { sources, .. } if has_pattern(sources)))
    {
        return frame;
    }
    let optimizations = frame.get_current_optimizations();
    let mut plan = frame.logical_plan;
    hide_in(&mut plan);
    LazyFrame::from(plan).with_optimizations(optimizations)
}

fn hide_in(plan: &mut DslPlan) {
    match plan {
        DslPlan::Scan { sources, unified_scan_args, cached_ir, .. }
            if has_pattern(sources) && unified_scan_args.hidden_file_prefix.is_none() =>
        {
            unified_scan_args.hidden_file_prefix = Some(Arc::from([PlSmallStr::from_static(atomic_file::PREFIX)]));
            // What the patterns stood for before.
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
        | DslPlan::Cache { input, .. } => hide_in(Arc::make_mut(input)),
        DslPlan::Union { inputs, .. } | DslPlan::HConcat { inputs, .. } => inputs.iter_mut().for_each(hide_in),
        DslPlan::Join { input_left: one, input_right: other, .. } | DslPlan::Gather { input: one, idxs: other, .. } => {
            hide_in(Arc::make_mut(one));
            hide_in(Arc::make_mut(other));
        }
        DslPlan::PipeWithSchema { input, .. } => Arc::make_mut(input).iter_mut().for_each(hide_in),
        DslPlan::ExtContext { input, contexts } => {
            hide_in(Arc::make_mut(input));
            contexts.iter_mut().for_each(hide_in);
        }
        // A query that was asked for its schema (`collect_schema`): `node` is what its patterns stood for then.
        DslPlan::IR { dsl, node, .. } => {
            *node = None;
            hide_in(Arc::make_mut(dsl));
        }
        _ => {}
    }
}

/// Whether one of the paths may stand for several files of this machine.
fn has_pattern(sources: &ScanSources) -> bool {
    let ScanSources::Paths(paths) = sources else { return false };
    paths.iter().any(|path| !path.has_scheme() && !path.as_std_path().is_file())
}

/// The pattern or folder of the query that stands for this file too; `None` for a file that is named, as that is read
/// to be replaced, and for one that is not there yet.
pub(super) fn pattern_of(frame: &LazyFrame, output: &Path) -> Option<String> {
    if !output.is_file() {
        return None;
    }
    frame.logical_plan.into_iter().find_map(|plan| {
        let DslPlan::Scan { sources: ScanSources::Paths(paths), unified_scan_args, .. } = plan else { return None };
        let mut local = paths.iter().filter(|path| !path.has_scheme());
        let found = local.find(|path| stands_for(path.as_std_path(), unified_scan_args.glob, output));
        found.map(ToString::to_string)
    })
}

/// Whether a pattern or folder stands for a file, by whatever name.
fn stands_for(path: &Path, glob: bool, file: &Path) -> bool {
    if path.is_file() {
        return false;
    }
    if path.is_dir() {
        return is_in(path, file, &mut Vec::new());
    }
    let matches = path.to_str().filter(|_| glob).and_then(|pattern| glob::glob(pattern).ok());
    matches.is_some_and(|matches| matches.flatten().any(|found| is_same_file(&found, file)))
}

/// Whether a file is in a folder, or in one of those in there. `above` are the folders around this one, which a link may
/// lead back to.
fn is_in(folder: &Path, file: &Path, above: &mut Vec<PathBuf>) -> bool {
    let Ok(folder) = fs::canonicalize(folder) else { return false };
    let Ok(entries) = fs::read_dir(&folder) else { return false };
    if above.contains(&folder) {
        return false;
    }
    above.push(folder);
    let mut paths = entries.flatten().map(|entry| entry.path());
    let found = paths.any(|path| if path.is_dir() { is_in(&path, file, above) } else { is_same_file(&path, file) });
    above.pop();
    found
}

/// Whether two paths lead to one file, by links of any kind.
fn is_same_file(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    let identity = |path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    #[cfg(not(unix))]
    let identity = |path| fs::canonicalize(path);
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}
