//! [`Sink`]: results written to a file, in one of three formats.
//!
//! Workers encode their own chunks, and what is encoded is written in input order.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use polars::io::ipc::BatchedWriter as IpcBatches;
use polars::io::parquet::write::BatchedWriter as ParquetBatches;
use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;
use polars_core::utils::arrow::io::ipc::write::default_ipc_fields;

use super::atomic_file::Beside;
use super::error::ScanError;
use super::pipeline::{Ending, Place};
use crate::chunks::gather::GatherError;
use crate::frame::concat::Shape;
use crate::frame::error::Misfit;

/// Fewer rows than this are no row group of their own.
const LEAST_ROWS: usize = 1 << 15;

/// The file as it is written.
pub(super) type Output = BufWriter<File>;

/// A format.
pub(super) trait SinkFile: Send + Sync + Sized {
    /// Whether it keeps the number of rows of a frame without columns.
    const COUNTS_ROWS: bool;
    /// Rows as they are written.
    type Encoded: Send;
    /// Begins the file.
    fn begin(schema: &Schema, output: Output) -> PolarsResult<Self>;
    /// Encodes rows whose columns are aligned.
    fn encode(&self, rows: DataFrame) -> PolarsResult<Self::Encoded>;
    fn write(&self, encoded: Self::Encoded) -> PolarsResult<()>;
    /// Ends the file.
    fn end(self) -> PolarsResult<Output>;
}

/// A file that results are written to.
pub(super) struct Sink<K> {
    path: PathBuf,
    declared: Option<SchemaRef>,
    beside: Beside,
    /// The file, until its format begins it.
    output: Mutex<Option<Output>>,
    begun: OnceLock<(Shape, K)>,
    /// Rows too few to be written yet.
    waiting: Mutex<Vec<DataFrame>>,
}

/// A result on its way to the file.
pub(super) enum Piece<E> {
    /// Of a chunk that is not encoded yet, as the first one decides on the columns, or that is too short.
    Rows(DataFrame),
    Encoded(E),
}

impl<K: SinkFile> Sink<K> {
    pub(super) fn new(path: &Path, declared: Option<SchemaRef>, sync: bool) -> Result<Self, ScanError> {
        let (beside, output) = Beside::create(path, sync)
            .map_err(|cause| ScanError::Write { path: path.to_owned(), source: PolarsError::from(cause) })?;
        let sink = Self {
            path: path.to_owned(),
            declared,
            beside,
            output: Mutex::new(Some(output)),
            begun: OnceLock::new(),
            waiting: Mutex::new(Vec::new()),
        };
        if let Some(schema) = &sink.declared {
            sink.begin(Shape::declared(schema)).map_err(|cause| sink.unwritable(cause))?;
        }
        Ok(sink)
    }

    fn unwritable(&self, source: PolarsError) -> ScanError {
        ScanError::Write { path: self.path.clone(), source }
    }

    /// Begins the file: once, with a declared schema or the first result's.
    fn begin(&self, shape: Shape) -> PolarsResult<()> {
        let output = lock(&self.output).take();
        let output = output.ok_or_else(|| polars_err!(ComputeError: "it was begun before"))?;
        shape.writable()?;
        let file = K::begin(&shape.schema(), output)?;
        let _ = self.begun.set((shape, file));
        Ok(())
    }

    /// A result with the file's columns.
    fn fitted(&self, shape: &Shape, place: &Place, mut rows: DataFrame) -> Result<DataFrame, ScanError> {
        if !K::COUNTS_ROWS && rows.width() == 0 && rows.height() > 0 {
            let height = rows.height();
            return Err(self.unwritable(polars_err!(
                InvalidOperation: "a result has {height} rows without any column, which the format cannot hold: give it a \
                                   column, or write a Parquet or IPC file"
            )));
        }
        let misfit = |reason| place.error(Misfit::Others(GatherError::new(place.chunk, reason)));
        shape.check(&rows).map_err(misfit)?;
        shape.fit(&mut rows).map_err(|error| misfit(error.to_string()))?;
        rows.rechunk_mut();
        Ok(rows)
    }

    fn write(&self, file: &K, rows: DataFrame) -> Result<(), ScanError> {
        file.encode(rows).and_then(|encoded| file.write(encoded)).map_err(|cause| self.unwritable(cause))
    }

    /// Writes the rows that wait.
    fn flush(&self, file: &K) -> Result<(), ScanError> {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        if waiting.is_empty() {
            return Ok(());
        }
        let mut rows = accumulate_dataframes_vertical(waiting).map_err(|cause| self.unwritable(cause))?;
        rows.rechunk_mut();
        self.write(file, rows)
    }

    /// Ends the file and gives it its name.
    pub(super) fn finish(mut self) -> Result<(), ScanError> {
        if let Some((_, file)) = self.begun.get() {
            self.flush(file)?;
        }
        let path = std::mem::take(&mut self.path);
        let unwritable = |source| ScanError::Write { path: path.clone(), source };
        let (_, file) =
            self.begun.into_inner().ok_or_else(|| unwritable(polars_err!(NoData: "there were no chunks to write")))?;
        let output = file.end().map_err(unwritable)?;
        self.beside.keep(output).map_err(|cause| unwritable(PolarsError::from(cause)))
    }
}

impl<K: SinkFile> Ending<DataFrame> for Sink<K> {
    type Part = Piece<K::Encoded>;

    fn prepare(&self, place: &Place, rows: DataFrame) -> Result<Self::Part, ScanError> {
        match self.begun.get() {
            Some((shape, file)) if rows.height() >= LEAST_ROWS => {
                let rows = self.fitted(shape, place, rows)?;
                file.encode(rows).map(Piece::Encoded).map_err(|cause| self.unwritable(cause))
            }
            _ => Ok(Piece::Rows(rows)),
        }
    }

    fn accept(&self, place: &Place, piece: Self::Part) -> Result<(), ScanError> {
        if self.begun.get().is_none()
            && let Piece::Rows(first) = &piece
        {
            self.begin(Shape::first(first)).map_err(|cause| self.unwritable(cause))?;
        }
        let Some((shape, file)) = self.begun.get() else {
            return Err(self.unwritable(polars_err!(ComputeError: "a chunk was encoded before the first one")));
        };
        match piece {
            Piece::Encoded(encoded) => {
                self.flush(file)?;
                file.write(encoded).map_err(|cause| self.unwritable(cause))
            }
            Piece::Rows(rows) => {
                let rows = self.fitted(shape, place, rows)?;
                let mut waiting = lock(&self.waiting);
                waiting.push(rows);
                let enough = waiting.iter().map(DataFrame::height).sum::<usize>() >= LEAST_ROWS;
                drop(waiting);
                if enough { self.flush(file) } else { Ok(()) }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that Polars' writers write to, which keep it to themselves.
struct Outlet {
    output: Output,
    /// Why writing failed, which Polars' Parquet writer tells of as a file out of specification.
    failed: Option<std::io::Error>,
}

/// One owner of a file: the writer, or who takes it back at the end.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Outlet>>);

impl Shared {
    fn new(output: Output) -> Self {
        Self(Arc::new(Mutex::new(Outlet { output, failed: None })))
    }

    /// The file's own error, if it is behind what a writer tells.
    fn told<T>(&self, written: PolarsResult<T>) -> PolarsResult<T> {
        written.map_err(|told| lock(&self.0).failed.take().map_or(told, PolarsError::from))
    }

    /// The file, once its other owners are gone.
    fn back(self) -> PolarsResult<Output> {
        let outlet = Arc::into_inner(self.0);
        let outlet = outlet.ok_or_else(|| polars_err!(ComputeError: "the file is still being written"))?;
        Ok(outlet.into_inner().unwrap_or_else(PoisonError::into_inner).output)
    }

    fn kept<T>(&self, work: impl FnOnce(&mut Output) -> std::io::Result<T>) -> std::io::Result<T> {
        let mut outlet = lock(&self.0);
        work(&mut outlet.output).map_err(|error| {
            let copy = error.raw_os_error().map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error);
            outlet.failed = Some(error);
            copy
        })
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.kept(|output| output.write(bytes))
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.kept(|output| output.write_all(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.kept(Write::flush)
    }
}

/// A Parquet file.
pub(super) struct ParquetFile {
    writer: ParquetBatches<Shared>,
    output: Shared,
}

impl SinkFile for ParquetFile {
    const COUNTS_ROWS: bool = true;
    /// Writes pages that are compressed already.
    type Encoded = Box<dyn FnOnce(&ParquetBatches<Shared>) -> PolarsResult<()> + Send>;

    fn begin(schema: &Schema, output: Output) -> PolarsResult<Self> {
        let output = Shared::new(output);
        let writer = ParquetWriter::new(output.clone()).set_parallel(false).batched(schema);
        Ok(Self { writer: output.told(writer)?, output })
    }

    fn encode(&self, rows: DataFrame) -> PolarsResult<Self::Encoded> {
        let mut groups = self.writer.encode_and_compress(&rows).collect::<PolarsResult<Vec<_>>>()?;
        let height = rows.height() as u64;
        if rows.width() > 0 {
            return Ok(Box::new(move |writer| writer.write_row_groups(groups)));
        }
        // Polars counts rows by their pages, of which there are none here.
        Ok(Box::new(move |writer| match groups.pop() {
            Some(group) => writer.get_writer().lock().unwrap_or_else(PoisonError::into_inner).write(height, group),
            None => Ok(()),
        }))
    }

    fn write(&self, encoded: Self::Encoded) -> PolarsResult<()> {
        self.output.told(encoded(&self.writer))
    }

    fn end(self) -> PolarsResult<Output> {
        self.output.told(self.writer.finish())?;
        drop(self.writer);
        self.output.back()
    }
}

/// A CSV file.
pub(super) struct CsvFile {
    output: Mutex<Output>,
}

impl SinkFile for CsvFile {
    const COUNTS_ROWS: bool = false;
    type Encoded = Vec<u8>;

    fn begin(schema: &Schema, mut output: Output) -> PolarsResult<Self> {
        let mut header = DataFrame::empty_with_schema(schema);
        CsvWriter::new(&mut output).finish(&mut header)?;
        Ok(Self { output: Mutex::new(output) })
    }

    fn encode(&self, mut rows: DataFrame) -> PolarsResult<Vec<u8>> {
        let mut bytes = Vec::new();
        CsvWriter::new(&mut bytes).include_header(false).n_threads(1).finish(&mut rows)?;
        Ok(bytes)
    }

    fn write(&self, encoded: Vec<u8>) -> PolarsResult<()> {
        Ok(lock(&self.output).write_all(&encoded)?)
    }

    fn end(self) -> PolarsResult<Output> {
        Ok(self.output.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An Arrow IPC file.
pub(super) struct IpcFile {
    writer: Mutex<IpcBatches<Shared>>,
    /// A column whose categories grow from batch to batch, which the format has no place for.
    categorical: Option<PlSmallStr>,
    output: Shared,
}

impl SinkFile for IpcFile {
    const COUNTS_ROWS: bool = true;
    type Encoded = DataFrame;

    fn begin(schema: &Schema, output: Output) -> PolarsResult<Self> {
        let output = Shared::new(output);
        let arrow = schema.to_arrow(CompatLevel::newest());
        let fields = default_ipc_fields(arrow.iter_values());
        let writer = IpcWriter::new(output.clone()).with_parallel(false).batched(schema, fields);
        let categorical = schema.iter().find(|(_, dtype)| dtype.is_categorical()).map(|(name, _)| name.clone());
        Ok(Self { writer: Mutex::new(output.told(writer)?), categorical, output })
    }

    fn encode(&self, rows: DataFrame) -> PolarsResult<DataFrame> {
        Ok(rows)
    }

    fn write(&self, rows: DataFrame) -> PolarsResult<()> {
        let written = self.output.told(lock(&self.writer).write_batch(&rows));
        written.map_err(|error| match &self.categorical {
            Some(name) => error.wrap_msg(|text| {
                format!(
                    "{text}: an IPC file keeps the categories of its first batch, and those of `{name}` differ later \
                     on: make it an `Enum` or `String` column, or write Parquet"
                )
            }),
            None => error,
        })
    }

    fn end(self) -> PolarsResult<Output> {
        let mut writer = self.writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.output.told(writer.finish())?;
        drop(writer);
        self.output.back()
    }
}
