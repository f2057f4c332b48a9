//! [`ScanInput`]: chooses how the rows of a scan are read: by Fanfold's Parquet reader, or by a query of Polars.

use std::path::Path;
use std::sync::Arc;

use polars::prelude::*;
use polars_buffer::Buffer;

use super::changed_file_check::ChangedFileCheck;
use super::failing_file::FailingFileFinder;
use super::input_files::InputFiles;
use super::open_file::OpenFile;
use super::parquet_chunks::ParquetChunks;
use super::query_steps::{Projection, QuerySteps};

/// Total bytes of the CSV or IPC files that are read into memory before the query begins. Larger inputs are
/// memory-mapped by Polars, and reading a mapped file that another process truncates ends the program (SIGBUS).
const MAX_BYTES_IN_MEMORY: u64 = 16 << 20;
/// Files that are held open at the same time.
const MAX_OPEN_FILES: usize = 32;

/// A file format.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Parquet,
    Csv,
    Ipc,
}

/// How the rows of a scan are read.
pub(super) enum ScanInput {
    /// The workers decode Parquet files.
    Parquet(ParquetChunks),
    /// Polars runs a query.
    Query(QueryInput),
}

/// A query, and its files as far as they are known.
pub(super) struct QueryInput {
    pub(super) frame: LazyFrame,
    /// Steps that are to be added to the query.
    pub(super) steps: QuerySteps,
    pub(super) changed_files: ChangedFileCheck,
    pub(super) failing_file: Option<Box<FailingFileFinder>>,
}

impl ScanInput {
    /// Opens each file once. `query` reads the files that Polars has to open itself.
    pub(super) fn from_files(
        path: &Path,
        format: Format,
        query: PolarsResult<LazyFrame>,
        steps: QuerySteps,
        rows: Option<usize>,
        workers: usize,
    ) -> PolarsResult<Self> {
        let Some(files) = InputFiles::expand(path)? else {
            let changed_files = ChangedFileCheck::default();
            return Ok(Self::Query(QueryInput { frame: query?, steps, changed_files, failing_file: None }));
        };
        match format {
            Format::Parquet => {
                let projection = steps.as_projection();
                if !matches!(projection, Projection::NotPossible)
                    && let Some(chunks) = ParquetChunks::new(&files, &projection, rows, workers)?
                {
                    return Ok(Self::Parquet(chunks));
                }
            }
            Format::Csv => {
                if let Some((sources, changed_files)) = open_sources(&files)? {
                    let query = LazyCsvReader::new_with_sources(sources).finish()?;
                    return Ok(Self::file_query(query, steps, changed_files, &files));
                }
            }
            Format::Ipc => {
                // Polars adds columns from the names of folders only where it opens the files itself.
                let no_schema = Schema::default();
                if files.hive(&no_schema)?.is_none()
                    && let Some((sources, changed_files)) = open_sources(&files)?
                {
                    let args = UnifiedScanArgs { hive_options: HiveOptions::new_disabled(), ..Default::default() };
                    let query = LazyFrame::scan_ipc_sources(sources, IpcScanOptions::default(), args)?;
                    return Ok(Self::file_query(query, steps, changed_files, &files));
                }
            }
        }
        Ok(Self::file_query(query?, steps, ChangedFileCheck::by_path(&files)?, &files))
    }

    /// A user's query.
    pub(super) fn from_query(frame: LazyFrame, steps: QuerySteps) -> Self {
        let failing_file = FailingFileFinder::from_query(&frame).map(Box::new);
        Self::Query(QueryInput { frame, steps, changed_files: ChangedFileCheck::default(), failing_file })
    }

    fn file_query(frame: LazyFrame, steps: QuerySteps, changed_files: ChangedFileCheck, files: &InputFiles) -> Self {
        let failing_file = Some(Box::new(FailingFileFinder::new(&frame, files)));
        Self::Query(QueryInput { frame, steps, changed_files, failing_file })
    }
}

/// Opens the files for Polars: as buffers in memory, or as handles that Polars memory-maps. `None` if they are too
/// large for memory and too many to be held open: Polars opens them itself then.
fn open_sources(files: &InputFiles) -> PolarsResult<Option<(ScanSources, ChangedFileCheck)>> {
    let length = |path: &PlRefPath| {
        let metadata = path.as_std_path().metadata().map_err(|error| files.name_file(path, error.into()))?;
        Ok(metadata.len())
    };
    let lengths = files.paths.iter().map(length).collect::<PolarsResult<Vec<_>>>()?;
    let total = lengths.iter().fold(0_u64, |sum, length| sum.saturating_add(*length));
    let in_memory = total <= MAX_BYTES_IN_MEMORY;
    if !in_memory && files.paths.len() > MAX_OPEN_FILES {
        return Ok(None);
    }
    let (mut changed_files, mut buffers, mut handles) =
        (ChangedFileCheck::default(), Vec::<Buffer<u8>>::new(), Vec::new());
    for path in &files.paths {
        let file = Arc::new(OpenFile::open(path.as_std_path()).map_err(|error| files.name_file(path, error))?);
        if in_memory {
            buffers.push(file.read(&(0..file.len())).map_err(|error| files.name_file(path, error))?);
        } else {
            handles.push(file.file().try_clone()?);
        }
        let stays_open = changed_files.len() < MAX_OPEN_FILES;
        changed_files.push(path, file.version(), stays_open.then_some(file));
    }
    let sources = if in_memory { ScanSources::Buffers(buffers.into()) } else { ScanSources::Files(handles.into()) };
    Ok(Some((sources, changed_files)))
}
