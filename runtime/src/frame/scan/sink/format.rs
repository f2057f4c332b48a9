//! [`SinkFormat`]: the formats that a sink writes: Parquet, CSV and Arrow IPC.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use polars::io::ipc::BatchedWriter as IpcBatchWriter;
use polars::io::parquet::write::BatchedWriter as ParquetBatchWriter;
use polars::prelude::*;
use polars_core::utils::arrow::io::ipc::write::default_ipc_fields;

use super::output::{OutputFile, SharedOutput};
use crate::sys::mutex;

/// A file format, and a file of it that is being written.
pub(in crate::frame::scan) trait SinkFormat: Send + Sync + Sized {
    /// Whether the format keeps the number of rows of a frame without columns.
    const COUNTS_ROWS: bool;
    /// Rows that are encoded and not written yet.
    type Encoded: Send;
    /// Begins the file.
    fn begin(schema: &Schema, output: OutputFile) -> PolarsResult<Self>;
    /// Encodes rows whose columns have equal chunks. Called by several workers at once.
    fn encode(&self, rows: DataFrame) -> PolarsResult<Self::Encoded>;
    /// Writes encoded rows. Called in input order.
    fn write(&self, encoded: Self::Encoded) -> PolarsResult<()>;
    /// Ends the file.
    fn finish(self) -> PolarsResult<OutputFile>;
}

/// A Parquet file that is being written.
pub(in crate::frame::scan) struct ParquetSink {
    writer: ParquetBatchWriter<SharedOutput>,
    output: SharedOutput,
}

impl SinkFormat for ParquetSink {
    const COUNTS_ROWS: bool = true;
    /// Writes pages that are compressed already.
    type Encoded = Box<dyn FnOnce(&ParquetBatchWriter<SharedOutput>) -> PolarsResult<()> + Send>;

    fn begin(schema: &Schema, output: OutputFile) -> PolarsResult<Self> {
        let output = SharedOutput::new(output);
        let writer = ParquetWriter::new(output.clone()).set_parallel(false).batched(schema);
        Ok(Self { writer: output.prefer_io_error(writer)?, output })
    }

    fn encode(&self, rows: DataFrame) -> PolarsResult<Self::Encoded> {
        let mut groups = self.writer.encode_and_compress(&rows).collect::<PolarsResult<Vec<_>>>()?;
        let height = rows.height() as u64;
        if rows.width() > 0 {
            return Ok(Box::new(move |writer| writer.write_row_groups(groups)));
        }
        // Polars counts a row group's rows by its pages. Without columns there are none, so the height is passed here.
        Ok(Box::new(move |writer| match groups.pop() {
            Some(group) => mutex::lock(writer.get_writer()).write(height, group),
            None => Ok(()),
        }))
    }

    fn write(&self, encoded: Self::Encoded) -> PolarsResult<()> {
        self.output.prefer_io_error(encoded(&self.writer))
    }

    fn finish(self) -> PolarsResult<OutputFile> {
        self.output.prefer_io_error(self.writer.finish())?;
        drop(self.writer);
        self.output.into_inner()
    }
}

/// A CSV file that is being written.
pub(in crate::frame::scan) struct CsvSink {
    output: Mutex<OutputFile>,
}

impl SinkFormat for CsvSink {
    const COUNTS_ROWS: bool = false;
    type Encoded = Vec<u8>;

    fn begin(schema: &Schema, mut output: OutputFile) -> PolarsResult<Self> {
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
        Ok(mutex::lock(&self.output).write_all(&encoded)?)
    }

    fn finish(self) -> PolarsResult<OutputFile> {
        Ok(self.output.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An Arrow IPC file that is being written.
pub(in crate::frame::scan) struct IpcSink {
    writer: Mutex<IpcBatchWriter<SharedOutput>>,
    /// The first categorical column. The format stores one set of categories, so they must not grow between batches.
    categorical: Option<PlSmallStr>,
    output: SharedOutput,
}

impl SinkFormat for IpcSink {
    const COUNTS_ROWS: bool = true;
    type Encoded = DataFrame;

    fn begin(schema: &Schema, output: OutputFile) -> PolarsResult<Self> {
        let output = SharedOutput::new(output);
        let arrow = schema.to_arrow(CompatLevel::newest());
        let fields = default_ipc_fields(arrow.iter_values());
        let writer = IpcWriter::new(output.clone()).with_parallel(false).batched(schema, fields);
        let categorical = schema.iter().find(|(_, dtype)| dtype.is_categorical()).map(|(name, _)| name.clone());
        Ok(Self { writer: Mutex::new(output.prefer_io_error(writer)?), categorical, output })
    }

    fn encode(&self, rows: DataFrame) -> PolarsResult<DataFrame> {
        Ok(rows)
    }

    fn write(&self, rows: DataFrame) -> PolarsResult<()> {
        let written = self.output.prefer_io_error(mutex::lock(&self.writer).write_batch(&rows));
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

    fn finish(self) -> PolarsResult<OutputFile> {
        let mut writer = self.writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.output.prefer_io_error(writer.finish())?;
        drop(writer);
        self.output.into_inner()
    }
}
