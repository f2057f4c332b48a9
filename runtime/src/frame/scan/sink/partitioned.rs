//! [`PartitionedSink`]: writes the results of a scan to Parquet files in folders named `key=value`, by the values of
//! some of their columns.
//!
//! Workers write the long parts of their own chunks at the same time, one file each. Short parts are gathered per
//! folder, in input order, until their folder or all folders together have many. No file stays open, so the number of
//! folders is not limited by that of file descriptors. A file is named by the number of its first chunk: the files of a
//! folder are in input order by their names.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use polars::io::hive::HivePathFormatter;
use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use super::MIN_GROUP_ROWS;
use crate::chunks::gather::GatherError;
use crate::frame::concat::ExpectedColumns;
use crate::frame::error::ChunkMismatch;
use crate::frame::group_index::GroupIndex;
use crate::frame::rows::Rows;
use crate::frame::scan::atomic_file::SinkOptions;
use crate::frame::scan::atomic_folder::{AtomicFolder, temporary_name};
use crate::frame::scan::consumer::{ChunkPosition, OrderedConsumer};
use crate::frame::scan::error::ScanError;
use crate::sys::mutex;

/// Bytes of gathered rows in all folders at most, as Polars estimates them; then the folder with the most is written.
const MAX_GATHERED_BYTES: usize = 128 << 20;

/// Folders that results are written to.
pub(in crate::frame::scan) struct PartitionedSink {
    path: PathBuf,
    keys: Vec<PlSmallStr>,
    target: AtomicFolder,
    options: SinkOptions,
    declared: Option<SchemaRef>,
    /// The columns of the results, once the first one is consumed.
    columns: OnceLock<ExpectedColumns>,
    gathered: Mutex<Gathered>,
}

/// Short parts that are not written yet.
#[derive(Default)]
struct Gathered {
    folders: HashMap<String, FolderRows>,
    bytes: usize,
}

/// The rows of one folder that are not written yet.
struct FolderRows {
    parts: Vec<DataFrame>,
    rows: usize,
    bytes: usize,
    /// The chunk of the first part.
    first_chunk: usize,
}

/// The part of a result that belongs to one folder.
pub(in crate::frame::scan) enum Part {
    /// Written to a file already.
    Written,
    Rows(DataFrame),
}

/// A result that is ready to be consumed.
pub(in crate::frame::scan) enum SplitRows {
    /// Not split yet: the first result decides on the columns.
    Whole(DataFrame),
    /// By folder.
    Parts(Vec<(String, Part)>),
}

impl PartitionedSink {
    pub(in crate::frame::scan) fn new(
        path: &Path,
        keys: Vec<PlSmallStr>,
        declared: Option<SchemaRef>,
        options: SinkOptions,
    ) -> Result<Self, ScanError> {
        let write_error = |source| ScanError::Write { path: path.to_owned(), source };
        check_keys(&keys).map_err(write_error)?;
        let target = AtomicFolder::create(path).map_err(|cause| write_error(PolarsError::from(cause)))?;
        let sink = Self {
            path: path.to_owned(),
            keys,
            target,
            options,
            declared,
            columns: OnceLock::new(),
            gathered: Mutex::default(),
        };
        if let Some(schema) = &sink.declared {
            sink.set_columns(ExpectedColumns::declared(schema)).map_err(|cause| sink.write_error(cause))?;
        }
        Ok(sink)
    }

    fn write_error(&self, source: PolarsError) -> ScanError {
        ScanError::Write { path: self.path.clone(), source }
    }

    /// Sets the columns of the results. Called once.
    fn set_columns(&self, columns: ExpectedColumns) -> PolarsResult<()> {
        columns.check_writable()?;
        let schema = columns.schema();
        for key in &self.keys {
            let found = schema.get(key);
            let dtype = found.ok_or_else(|| {
                let names = schema.iter_names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                polars_err!(ColumnNotFound: "the results have no column `{key}` to partition by, only {names}")
            })?;
            polars_ensure!(
                is_key_type(dtype),
                InvalidOperation: "the column `{key}` is {dtype}, whose values cannot be names of folders: partition by \
                                   integers, strings, booleans or dates"
            );
        }
        polars_ensure!(
            schema.len() > self.keys.len(),
            InvalidOperation: "all columns are partitioned by, so that nothing is left for the files: keep another column"
        );
        let _ = self.columns.set(columns);
        Ok(())
    }

    /// Splits a result by folder. Parts that are long enough are written.
    fn split(
        &self,
        columns: &ExpectedColumns,
        position: &ChunkPosition,
        mut rows: DataFrame,
    ) -> Result<Vec<(String, Part)>, ScanError> {
        let mismatch = |reason| position.error(ChunkMismatch::OtherChunks(GatherError::new(position.chunk, reason)));
        columns.check(&rows).map_err(mismatch)?;
        columns.fill_nulls(&mut rows).map_err(|error| mismatch(error.to_string()))?;
        self.split_by_folder(&rows, position.chunk).map_err(|cause| self.write_error(cause))
    }

    fn split_by_folder(&self, rows: &DataFrame, chunk: usize) -> PolarsResult<Vec<(String, Part)>> {
        let keys = rows.select(self.keys.iter().cloned())?;
        let values = rows.drop_many(self.keys.iter().cloned());
        let GroupIndex { starts, order } = GroupIndex::new(&keys)?;
        let ends = starts.iter().skip(1).copied().chain([rows.height()]);
        let parts = starts.iter().zip(ends).map(|(&start, end)| {
            let (first, part) = match &order {
                None => (start, values.slice_rows(start..end)),
                Some(order) => (order[start] as usize, values.take(&IdxCa::from_slice("".into(), &order[start..end]))?),
            };
            let folder = HivePathFormatter::new(keys.slice_rows(first..first + 1).columns()).to_string();
            if part.height() < MIN_GROUP_ROWS {
                return Ok((folder, Part::Rows(part)));
            }
            self.write_file(&folder, chunk, part)?;
            Ok((folder, Part::Written))
        });
        parts.collect()
    }

    /// Writes a file of a folder.
    fn write_file(&self, folder: &str, first_chunk: usize, mut rows: DataFrame) -> PolarsResult<()> {
        let folder = self.target.path().join(folder);
        fs::create_dir_all(&folder)?;
        let name = temporary_name(&format!("{first_chunk:010}.parquet"));
        let mut file = BufWriter::new(File::create_new(folder.join(name))?);
        rows.rechunk_mut();
        ParquetWriter::new(&mut file).set_parallel(false).finish(&mut rows)?;
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        if self.options.sync {
            file.sync_all()?;
        }
        Ok(())
    }

    /// Writes the gathered rows of a folder.
    fn flush(&self, folder: &str) -> PolarsResult<()> {
        let mut gathered = mutex::lock(&self.gathered);
        let Some(rows) = gathered.folders.remove(folder) else { return Ok(()) };
        gathered.bytes -= rows.bytes;
        drop(gathered);
        self.write_file(folder, rows.first_chunk, accumulate_dataframes_vertical(rows.parts)?)
    }

    /// Adds a short part, and writes what has become long.
    fn gather(&self, folder: String, chunk: usize, part: DataFrame) -> PolarsResult<()> {
        let bytes = part.estimated_size();
        let mut gathered = mutex::lock(&self.gathered);
        gathered.bytes += bytes;
        let is_full = gathered.bytes > MAX_GATHERED_BYTES;
        let new = || FolderRows { parts: Vec::new(), rows: 0, bytes: 0, first_chunk: chunk };
        let rows = gathered.folders.entry(folder.clone()).or_insert_with(new);
        rows.rows += part.height();
        rows.bytes += bytes;
        rows.parts.push(part);
        let long = if rows.rows >= MIN_GROUP_ROWS {
            Some(folder)
        } else if is_full {
            let most = gathered.folders.iter().max_by_key(|(_, rows)| rows.bytes);
            most.map(|(folder, _)| folder.clone())
        } else {
            None
        };
        drop(gathered);
        long.map_or(Ok(()), |folder| self.flush(&folder))
    }

    /// Writes what is left, and gives the folder its name.
    pub(in crate::frame::scan) fn finish(self) -> Result<(), ScanError> {
        let folders: Vec<String> = mutex::lock(&self.gathered).folders.keys().cloned().collect();
        for folder in folders {
            self.flush(&folder).map_err(|cause| self.write_error(cause))?;
        }
        let Self { path, target, options, .. } = self;
        target.commit(options).map_err(|cause| ScanError::Write { path, source: PolarsError::from(cause) })
    }
}

impl OrderedConsumer<DataFrame> for PartitionedSink {
    const TAKES_ROWS: bool = true;
    type Prepared = SplitRows;

    fn prepare(&self, position: &ChunkPosition, rows: DataFrame) -> Result<SplitRows, ScanError> {
        let rows = position.trim(rows)?;
        match self.columns.get() {
            Some(columns) => self.split(columns, position, rows).map(SplitRows::Parts),
            None => Ok(SplitRows::Whole(rows)),
        }
    }

    fn consume(&self, position: &ChunkPosition, rows: SplitRows) -> Result<(), ScanError> {
        let parts = match rows {
            SplitRows::Parts(parts) => parts,
            SplitRows::Whole(rows) => {
                if self.columns.get().is_none() {
                    let columns = ExpectedColumns::from_written(&rows);
                    self.set_columns(columns).map_err(|cause| position.error(cause))?;
                }
                let Some(columns) = self.columns.get() else {
                    return Err(self.write_error(polars_err!(ComputeError: "the results have no columns")));
                };
                self.split(columns, position, rows)?
            }
        };
        for (folder, part) in parts {
            let written = match part {
                // The rows before it belong to a file before it.
                Part::Written => self.flush(&folder),
                Part::Rows(part) => self.gather(folder, position.chunk, part),
            };
            written.map_err(|cause| self.write_error(cause))?;
        }
        Ok(())
    }
}

/// Whether values of this type can be names of folders, from which they are read again.
fn is_key_type(dtype: &DataType) -> bool {
    dtype.is_integer()
        || dtype.is_float()
        || matches!(
            dtype,
            DataType::Boolean | DataType::String | DataType::Date | DataType::Datetime(..) | DataType::Null
        )
        || dtype.is_categorical()
        || dtype.is_enum()
}

/// Fails if no folder can be named after these columns.
fn check_keys(keys: &[PlSmallStr]) -> PolarsResult<()> {
    polars_ensure!(!keys.is_empty(), InvalidOperation: "no column to partition by: name at least one");
    for (index, key) in keys.iter().enumerate() {
        polars_ensure!(
            !keys[..index].contains(key),
            Duplicate: "the column `{key}` to partition by is named twice: name it once"
        );
        polars_ensure!(
            !key.is_empty() && !key.contains(['/', '\\', '=', '%', '\0']),
            InvalidOperation: "`{key}` cannot be part of a folder's name: rename the column"
        );
    }
    Ok(())
}
