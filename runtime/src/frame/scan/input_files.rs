//! [`InputFiles`]: expands a path, folder or pattern into files, by the rules of Polars.

use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use polars::io::expand_paths_hive;
use polars::prelude::*;
use polars_plan::plans::hive::hive_partitions_from_paths;

use super::atomic_file::TEMPORARY_PREFIX;
use super::catch_panic::catch_polars_panic;
use super::error::error_in_file;

/// Regular local files, in the order in which Polars reads them.
///
/// Polars leaves out empty files of a folder or pattern, and refuses folders of several file types.
pub(super) struct InputFiles {
    pub(super) paths: Vec<PlRefPath>,
    /// The position in each path from which on Polars looks for folders named `key=value`.
    hive_start: usize,
}

impl InputFiles {
    /// Expands a path. `None` for what only Polars can read or report: cloud addresses, missing files, devices.
    pub(super) fn expand(path: &Path) -> PolarsResult<Option<Self>> {
        let Some(text) = path.to_str().filter(|text| !text.contains("://")) else { return Ok(None) };
        let (paths, glob) = ([PlRefPath::new(text)], super::files::is_pattern(path));
        // Hides files that a sink is still writing; but a file that is named itself is read.
        let hidden = if path.is_file() { None } else { Some(PlSmallStr::from_static(TEMPORARY_PREFIX)) };
        let expanded = catch_polars_panic(|| {
            let mut cloud = None;
            let expanded = pin!(expand_paths_hive(&paths, glob, hidden.as_slice(), &mut cloud, true));
            match expanded.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(expanded) => expanded.map(Some),
                // The future is pending for cloud addresses only.
                Poll::Pending => Ok(None),
            }
        });
        let Some((paths, hive_start)) = expanded? else { return Ok(None) };
        let paths = paths.to_vec();
        let all_regular = !paths.is_empty() && paths.iter().all(|path| path.as_std_path().is_file());
        Ok(all_regular.then_some(Self { paths, hive_start }))
    }

    /// The error about a file, with its path in front if there are several files and the text does not have it.
    pub(super) fn name_file(&self, path: &PlRefPath, error: PolarsError) -> PolarsError {
        let is_named = self.paths.len() == 1 || error.to_string().contains(path.as_str());
        if is_named { error } else { error_in_file(&error, path.as_std_path()) }
    }

    /// The columns that folder names add, one row per file. A column that the files have too takes the type it has
    /// there.
    pub(super) fn hive(&self, schema: &Schema) -> PolarsResult<Option<DataFrame>> {
        let options = HiveOptions::default();
        let parts = catch_polars_panic(|| {
            hive_partitions_from_paths(&self.paths, self.hive_start, None, schema, options.try_parse_dates)
        });
        Ok(parts?.map(|parts| parts.df().clone()))
    }
}
