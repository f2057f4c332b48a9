//! [`Input`]: how the rows of a scan are read.

use std::path::Path;

use polars::prelude::*;

use super::files::Files;
use super::parquet::Blocks;
use super::suspects::Suspects;
use super::watched::{Watched, sources};

/// A format of files.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Parquet,
    Csv,
    Ipc,
}

/// How rows are read.
pub(super) enum Input {
    /// By the workers, block by block.
    Blocks(Blocks),
    /// By a query of Polars; of files if it is known which.
    Query(LazyFrame, Watched, Option<Box<Suspects>>),
}

impl Input {
    /// Opens files, each once; `query` reads those that Polars must open itself.
    pub(super) fn files(
        path: &Path,
        format: Format,
        query: PolarsResult<LazyFrame>,
        rows: Option<usize>,
        workers: usize,
    ) -> PolarsResult<Self> {
        let Some(files) = Files::of(path)? else { return Ok(Self::Query(query?, Watched::default(), None)) };
        match format {
            Format::Parquet => {
                if let Some(blocks) = Blocks::new(&files, rows, workers)? {
                    return Ok(Self::Blocks(blocks));
                }
            }
            Format::Csv => {
                if let Some((sources, watched)) = sources(&files)? {
                    return Ok(Self::of(LazyCsvReader::new_with_sources(sources).finish()?, watched, &files));
                }
            }
            Format::Ipc => {
                // Polars takes columns from the names of folders only where it opens the files itself.
                let no_schema = Schema::default();
                if files.hive(&no_schema)?.is_none()
                    && let Some((sources, watched)) = sources(&files)?
                {
                    let args = UnifiedScanArgs { hive_options: HiveOptions::new_disabled(), ..Default::default() };
                    let query = LazyFrame::scan_ipc_sources(sources, IpcScanOptions::default(), args)?;
                    return Ok(Self::of(query, watched, &files));
                }
            }
        }
        Ok(Self::of(query?, Watched::by_path(&files)?, &files))
    }

    /// A query of the user.
    pub(super) fn query(query: LazyFrame) -> Self {
        let suspects = Suspects::of_query(&query).map(Box::new);
        Self::Query(query, Watched::default(), suspects)
    }

    fn of(query: LazyFrame, watched: Watched, files: &Files) -> Self {
        let suspects = Suspects::new(&query, files);
        Self::Query(query, watched, Some(Box::new(suspects)))
    }
}
