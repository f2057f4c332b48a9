//! [`Files`]: the files that a path or a pattern stands for, by Polars' own rules.

use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use polars::io::expand_paths_hive;
use polars::prelude::*;
use polars_plan::plans::hive::hive_partitions_from_paths;

use super::atomic_file::PREFIX;
use super::catch_panic::guarded;
use super::parquet_file::of_file;

/// Plain files of this machine, in the order in which Polars reads them.
///
/// Polars leaves out empty files of a folder or pattern, and refuses folders of several file types.
pub(super) struct Files {
    pub(super) paths: Vec<PlRefPath>,
    /// Where in each path Polars begins to look for folders named `key=value`.
    hive_start: usize,
}

impl Files {
    /// Nothing where it is for Polars to find out: addresses in a cloud, what is not there, devices.
    pub(super) fn of(path: &Path) -> PolarsResult<Option<Self>> {
        let Some(text) = path.to_str().filter(|text| !text.contains("://")) else { return Ok(None) };
        let (paths, glob) = ([PlRefPath::new(text)], super::is_pattern(path));
        // Files that a sink is still writing; one that is named is read.
        let hidden = if path.is_file() { None } else { Some(PlSmallStr::from_static(PREFIX)) };
        let expanded = guarded(|| {
            let mut cloud = None;
            let expanded = pin!(expand_paths_hive(&paths, glob, hidden.as_slice(), &mut cloud, true));
            match expanded.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(expanded) => expanded.map(Some),
                // Only clouds are waited for.
                Poll::Pending => Ok(None),
            }
        });
        let Some((paths, hive_start)) = expanded? else { return Ok(None) };
        let paths = paths.to_vec();
        let plain = !paths.is_empty() && paths.iter().all(|path| path.as_std_path().is_file());
        Ok(plain.then_some(Self { paths, hive_start }))
    }

    /// An error about one of them, with its name if there are others and the error does not say it.
    pub(super) fn named(&self, path: &PlRefPath, error: PolarsError) -> PolarsError {
        let is_named = self.paths.len() == 1 || error.to_string().contains(path.as_str());
        if is_named { error } else { of_file(&error, path.as_std_path()) }
    }

    /// The columns that the names of folders add, with a row a file; of a type in the files where these have them too.
    pub(super) fn hive(&self, schema: &Schema) -> PolarsResult<Option<DataFrame>> {
        let options = HiveOptions::default();
        let parts =
            guarded(|| hive_partitions_from_paths(&self.paths, self.hive_start, None, schema, options.try_parse_dates));
        Ok(parts?.map(|parts| parts.df().clone()))
    }
}
