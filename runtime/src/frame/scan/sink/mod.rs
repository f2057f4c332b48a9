//! [`FileSink`]: writes the results of a scan to a file, in one of three formats.
//!
//! Workers encode their own chunks at the same time, and the encoded chunks are written in input order.

mod format;
mod output;
mod partitioned;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use super::atomic_file::{AtomicFile, SinkOptions};
use super::consumer::{ChunkPosition, OrderedConsumer};
use super::error::ScanError;
use crate::chunks::gather::GatherError;
use crate::frame::concat::ExpectedColumns;
use crate::frame::error::ChunkMismatch;
use crate::sys::mutex;

pub(super) use format::{CsvSink, IpcSink, ParquetSink, SinkFormat};
pub(super) use partitioned::PartitionedSink;

use output::OutputFile;

/// Rows of a row group or record batch at least; shorter results are gathered.
const MIN_GROUP_ROWS: usize = 1 << 15;

/// A file that results are written to.
pub(super) struct FileSink<S> {
    path: PathBuf,
    declared: Option<SchemaRef>,
    target: AtomicFile,
    /// The file, until the format begins it.
    output: Mutex<Option<OutputFile>>,
    /// The columns and the file, once it is begun.
    begun: OnceLock<(ExpectedColumns, S)>,
    /// Short results that are gathered for a row group.
    gathered: Mutex<Vec<DataFrame>>,
}

/// A result that is ready to be written.
pub(super) enum SinkRows<E> {
    /// Rows to be encoded later: the first result decides on the columns, and short results are gathered.
    Plain(DataFrame),
    Encoded(E),
}

impl<S: SinkFormat> FileSink<S> {
    pub(super) fn new(path: &Path, declared: Option<SchemaRef>, options: SinkOptions) -> Result<Self, ScanError> {
        let (target, output) = AtomicFile::create(path, options)
            .map_err(|cause| ScanError::Write { path: path.to_owned(), source: PolarsError::from(cause) })?;
        let sink = Self {
            path: path.to_owned(),
            declared,
            target,
            output: Mutex::new(Some(output)),
            begun: OnceLock::new(),
            gathered: Mutex::new(Vec::new()),
        };
        if let Some(schema) = &sink.declared {
            sink.begin(ExpectedColumns::declared(schema)).map_err(|cause| sink.write_error(cause))?;
        }
        Ok(sink)
    }

    fn write_error(&self, source: PolarsError) -> ScanError {
        ScanError::Write { path: self.path.clone(), source }
    }

    /// Begins the file with the columns of the declared schema or of the first result. Called once.
    fn begin(&self, columns: ExpectedColumns) -> PolarsResult<()> {
        let output = mutex::lock(&self.output).take();
        let output = output.ok_or_else(|| polars_err!(ComputeError: "it was begun before"))?;
        columns.check_writable()?;
        let file = S::begin(&columns.schema(), output)?;
        let _ = self.begun.set((columns, file));
        Ok(())
    }

    /// The result, checked and cast to the file's columns.
    fn conform(
        &self,
        columns: &ExpectedColumns,
        position: &ChunkPosition,
        mut rows: DataFrame,
    ) -> Result<DataFrame, ScanError> {
        if !S::COUNTS_ROWS && rows.width() == 0 && rows.height() > 0 {
            let height = rows.height();
            return Err(self.write_error(polars_err!(
                InvalidOperation: "a result has {height} rows without any column, which the format cannot hold: give \
                                   it a column, or write a Parquet or IPC file"
            )));
        }
        let mismatch = |reason| position.error(ChunkMismatch::OtherChunks(GatherError::new(position.chunk, reason)));
        columns.check(&rows).map_err(mismatch)?;
        columns.fill_nulls(&mut rows).map_err(|error| mismatch(error.to_string()))?;
        rows.rechunk_mut();
        Ok(rows)
    }

    fn write(&self, file: &S, rows: DataFrame) -> Result<(), ScanError> {
        file.encode(rows).and_then(|encoded| file.write(encoded)).map_err(|cause| self.write_error(cause))
    }

    /// Writes the gathered rows.
    fn flush(&self, file: &S) -> Result<(), ScanError> {
        let gathered = std::mem::take(&mut *mutex::lock(&self.gathered));
        if gathered.is_empty() {
            return Ok(());
        }
        let mut rows = accumulate_dataframes_vertical(gathered).map_err(|cause| self.write_error(cause))?;
        rows.rechunk_mut();
        self.write(file, rows)
    }

    /// Ends the file and renames it to its name.
    pub(super) fn finish(mut self) -> Result<(), ScanError> {
        if let Some((_, file)) = self.begun.get() {
            self.flush(file)?;
        }
        let path = std::mem::take(&mut self.path);
        let write_error = |source| ScanError::Write { path: path.clone(), source };
        let no_chunks = || write_error(polars_err!(NoData: "there were no chunks to write"));
        let (_, file) = self.begun.into_inner().ok_or_else(no_chunks)?;
        let output = file.finish().map_err(write_error)?;
        self.target.commit(output).map_err(|cause| write_error(PolarsError::from(cause)))
    }
}

impl<S: SinkFormat> OrderedConsumer<DataFrame> for FileSink<S> {
    const TAKES_ROWS: bool = true;
    type Prepared = SinkRows<S::Encoded>;

    fn prepare(&self, position: &ChunkPosition, rows: DataFrame) -> Result<Self::Prepared, ScanError> {
        let rows = position.trim(rows)?;
        match self.begun.get() {
            Some((columns, file)) if rows.height() >= MIN_GROUP_ROWS => {
                let rows = self.conform(columns, position, rows)?;
                file.encode(rows).map(SinkRows::Encoded).map_err(|cause| self.write_error(cause))
            }
            _ => Ok(SinkRows::Plain(rows)),
        }
    }

    fn consume(&self, position: &ChunkPosition, rows: Self::Prepared) -> Result<(), ScanError> {
        if self.begun.get().is_none()
            && let SinkRows::Plain(first) = &rows
        {
            self.begin(ExpectedColumns::from_written(first)).map_err(|cause| self.write_error(cause))?;
        }
        let Some((columns, file)) = self.begun.get() else {
            return Err(self.write_error(polars_err!(ComputeError: "a chunk was encoded before the first one")));
        };
        match rows {
            SinkRows::Encoded(encoded) => {
                self.flush(file)?;
                file.write(encoded).map_err(|cause| self.write_error(cause))
            }
            SinkRows::Plain(rows) => {
                let rows = self.conform(columns, position, rows)?;
                let mut gathered = mutex::lock(&self.gathered);
                gathered.push(rows);
                let is_enough = gathered.iter().map(DataFrame::height).sum::<usize>() >= MIN_GROUP_ROWS;
                drop(gathered);
                if is_enough { self.flush(file) } else { Ok(()) }
            }
        }
    }
}
