//! The codec of DataFrames, series and columns: their buffers are copied into a segment once.
//!
//! A worker uses the columns that Polars keeps as Arrow does in place: numbers, dates, text, bytes, lists, arrays,
//! structs. The parent uses numbers, dates, times and decimals in place, because any bits are valid for them, and
//! checks a copy of everything else ([`buffers::ReceivedBuffers`]). Categorical and enum columns are rebuilt from their
//! categories. Object columns are refused.
//!
//! The reader compares what it read with what was sent: the height, and for each column its length, its type and its
//! number of nulls. So a column that Polars reads differently is an error, and never another column.

mod arrays;
mod bitmaps;
mod buffers;
mod categories;
mod pack_views;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod types;
mod views;

use std::fmt;

use polars::prelude::{Column, CompatLevel, DataFrame, DataType, PolarsError, Series};
use polars_arrow::datatypes::Field;
use polars_core::series::IsSorted;

use super::{CodecError, Decoder, Direct, Encoder};
use buffers::{ColumnBuffers, ReceivedBuffers};

/// A column that is written.
struct OutgoingColumn {
    field: Field,
    sorted: usize,
    len: usize,
    nulls: usize,
    chunks: Vec<Box<dyn polars_arrow::array::Array>>,
}

impl OutgoingColumn {
    fn new(column: &Series) -> Result<Self, CodecError> {
        if column.dtype().contains_objects() {
            let (name, dtype) = (column.name(), column.dtype());
            return Err(CodecError::new(format!(
                "column `{name}` of type `{dtype}` holds values of this process alone"
            )));
        }
        let mut field = column.field().to_arrow(CompatLevel::newest());
        field.name = column.name().clone();
        types::check_field(&field).map_err(|error| of_column(&field, error))?;
        let sorted = match column.is_sorted_flag() {
            IsSorted::Ascending => 1,
            IsSorted::Descending => 2,
            IsSorted::Not => 0,
        };
        let (len, nulls) = (column.len(), column.null_count());
        // Polars joins chunks of categories by their values, and drops nested chunks without any, so such a column is
        // sent as one chunk. An enum then also sends its categories once.
        let joined = (column.n_chunks() > 1 && types::has_categories(&field.dtype)).then(|| column.rechunk());
        let column = joined.as_ref().unwrap_or(column);
        let trimmed = column.trim_lists_to_normalized_offsets();
        let column = trimmed.as_ref().unwrap_or(column);
        let chunks = (0..column.n_chunks()).map(|chunk| column.to_arrow(chunk, CompatLevel::newest())).collect();
        Ok(Self { field, sorted, len, nulls, chunks })
    }

    fn write(&self, buffers: &mut ColumnBuffers) -> Result<(), CodecError> {
        buffers.numbers.extend([self.sorted, self.len, self.nulls, self.chunks.len()]);
        self.chunks.iter().try_for_each(|chunk| arrays::write(&**chunk, buffers))
    }
}

/// Writes columns of one height, with all their buffers in one attachment.
fn write(height: usize, columns: &[OutgoingColumn], out: &mut Encoder<'_>) -> Result<(), CodecError> {
    let mut buffers = ColumnBuffers::default();
    for column in columns {
        column.write(&mut buffers).map_err(|error| of_column(&column.field, error))?;
    }
    out.value(&(height, columns.iter().map(|column| &column.field).collect::<Vec<_>>()))?;
    buffers.write(out)
}

fn of_column(field: &Field, what: impl fmt::Display) -> CodecError {
    CodecError::new(format!("column `{}`: {what}", field.name))
}

fn read(input: &mut Decoder<'_>) -> Result<(usize, Vec<Series>), CodecError> {
    let (height, fields): (usize, Vec<Field>) = input.value()?;
    let mut received = ReceivedBuffers::read(input)?;
    let columns = fields.iter().map(|field| read_column(field, &mut received).map_err(|error| of_column(field, error)));
    Ok((height, columns.collect::<Result<_, CodecError>>()?))
}

fn read_column(field: &Field, received: &mut ReceivedBuffers) -> Result<Series, CodecError> {
    types::check_field(field)?;
    let (sorted, len, nulls, chunks) = (received.number()?, received.number()?, received.number()?, received.number()?);
    let chunks = (0..chunks).map(|_| arrays::read(&field.dtype, received)).collect::<Result<Vec<_>, _>>()?;
    let mut series = if chunks.is_empty() {
        Series::new_empty(field.name.clone(), &DataType::from_arrow_field(field))
    } else {
        Series::try_from((field, chunks)).map_err(CodecError::new)?
    };
    let received = (series.len(), series.null_count());
    if received != (len, nulls) {
        let (rows, null) = received;
        return Err(CodecError::new(format!(
            "{len} rows were sent, {nulls} of them null, and {rows} came, {null} null"
        )));
    }
    let dtype = series.dtype();
    let as_sent = dtype.to_arrow_field(field.name.clone(), CompatLevel::newest());
    if (&as_sent.dtype, &as_sent.metadata) != (&field.dtype, &field.metadata) {
        return Err(CodecError::new(format!(
            "it was sent as {:?} and came as `{dtype}`: extension types must be registered in both processes",
            field.dtype
        )));
    }
    match sorted {
        1 => series.set_sorted_flag(IsSorted::Ascending),
        2 => series.set_sorted_flag(IsSorted::Descending),
        _ => {}
    }
    Ok(series)
}

impl Direct for DataFrame {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        let columns = self.columns().iter().map(|column| OutgoingColumn::new(column.as_materialized_series()));
        write(self.height(), &columns.collect::<Result<Vec<_>, _>>()?, out)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let (height, columns) = read(input)?;
        DataFrame::new(height, columns.into_iter().map(Column::from).collect()).map_err(CodecError::new)
    }
}

impl Direct for Series {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        write(self.len(), &[OutgoingColumn::new(self)?], out)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let (_, mut columns) = read(input)?;
        columns.pop().ok_or_else(|| CodecError::new("a column is missing"))
    }
}

impl Direct for Column {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        Direct::write(self.as_materialized_series(), out)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        <Series as Direct>::read(input).map(Column::from)
    }
}

/// A Polars error crosses as its kind and its message.
impl Direct for PolarsError {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        let said = self.to_string();
        let kind =
            KINDS.iter().position(|make| std::mem::discriminant(&make(String::new())) == std::mem::discriminant(self));
        // `to_string` puts a prefix before the message of each kind.
        let prefix = kind.map(|kind| KINDS[kind](String::new()).to_string());
        let said = prefix.and_then(|prefix| said.strip_prefix(&prefix).map(str::to_owned)).unwrap_or(said);
        out.value(&(kind, said))
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let (kind, said): (Option<usize>, String) = input.value()?;
        Ok(match kind.and_then(|kind| KINDS.get(kind)) {
            Some(make) => make(said),
            None => PolarsError::ComputeError(said.into()),
        })
    }
}

/// The kinds of Polars errors that consist of a message.
const KINDS: [fn(String) -> PolarsError; 11] = [
    |said| PolarsError::ComputeError(said.into()),
    |said| PolarsError::ColumnNotFound(said.into()),
    |said| PolarsError::Duplicate(said.into()),
    |said| PolarsError::InvalidOperation(said.into()),
    |said| PolarsError::NoData(said.into()),
    |said| PolarsError::OutOfBounds(said.into()),
    |said| PolarsError::SchemaFieldNotFound(said.into()),
    |said| PolarsError::SchemaMismatch(said.into()),
    |said| PolarsError::ShapeMismatch(said.into()),
    |said| PolarsError::StringCacheMismatch(said.into()),
    |said| PolarsError::StructFieldNotFound(said.into()),
];
