//! [`ChunkFn`], the function of a scan's chunks: of a frame, of a frame with its number and rows, or of single rows.

use std::any::type_name;
use std::error::Error;
use std::marker::PhantomData;
use std::ops::Range;

use polars::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::error::{ChunkMismatch, FailedRow};
use crate::frame::typed::{FromRows, RowFailure, for_each_row};

type BoxedError = Box<dyn Error + Send + Sync>;

/// A function of a scan's chunks, whose results are `T`. Closures that take a `DataFrame` and return a `PolarsResult`
/// are, and so are the functions of [`Scan::map_indexed`](crate::Scan::map_indexed) and
/// [`Scan::map_rows`](crate::Scan::map_rows).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no function of chunks with the result `{T}`",
    label = "not a `Fn(DataFrame) -> PolarsResult<{T}>`"
)]
pub trait ChunkFn<T>: Sync {
    /// Maps the chunk of this number, with these rows of the input.
    #[doc(hidden)]
    fn call(&self, chunk: usize, rows: Range<usize>, frame: DataFrame) -> Result<T, BoxedError>;
    /// The name of the user's function.
    #[doc(hidden)]
    fn name() -> &'static str;
}

impl<T, F: Fn(DataFrame) -> PolarsResult<T> + Sync> ChunkFn<T> for F {
    fn call(&self, _: usize, _: Range<usize>, frame: DataFrame) -> Result<T, BoxedError> {
        Ok(self(frame)?)
    }

    fn name() -> &'static str {
        type_name::<F>()
    }
}

/// The function of [`Scan::map_indexed`](crate::Scan::map_indexed).
pub(super) struct IndexedFn<F>(pub(super) F);

impl<T, F: Fn(usize, Range<usize>, DataFrame) -> PolarsResult<T> + Sync> ChunkFn<T> for IndexedFn<F> {
    fn call(&self, chunk: usize, rows: Range<usize>, frame: DataFrame) -> Result<T, BoxedError> {
        Ok((self.0)(chunk, rows, frame)?)
    }

    fn name() -> &'static str {
        type_name::<F>()
    }
}

/// The function of [`Scan::map_rows`](crate::Scan::map_rows) and [`Scan::try_map_rows`](crate::Scan::try_map_rows).
pub(super) struct RowFn<F, R, T, E> {
    f: F,
    /// The columns of a chunk whose rows show none.
    schema: Option<SchemaRef>,
    _types: PhantomData<fn(R) -> Result<T, E>>,
}

impl<F, R, T, E> RowFn<F, R, T, E> {
    pub(super) fn new(f: F, schema: Option<SchemaRef>) -> Self {
        Self { f, schema, _types: PhantomData }
    }
}

impl<F, R, T, E> ChunkFn<DataFrame> for RowFn<F, R, T, E>
where
    F: Fn(R) -> Result<T, E> + Sync,
    R: DeserializeOwned,
    T: Serialize,
    E: Into<BoxedError>,
{
    fn call(&self, _: usize, rows: Range<usize>, frame: DataFrame) -> Result<DataFrame, BoxedError> {
        let height = frame.height();
        let mut builder = <DataFrame as FromRows<T>>::builder(height);
        let mut row = rows.start;
        for_each_row(&frame, 0..height, rows.start, |value: R| {
            let result = (self.f)(value);
            let result = result.map_err(|error| RowFailure::Function(FailedRow { row, source: error.into() }))?;
            row += 1;
            <DataFrame as FromRows<T>>::push(&mut builder, result).map_err(RowFailure::Cell)
        })?;
        let results = <DataFrame as FromRows<T>>::finish(builder);
        let results = results.map_err(|error| ChunkMismatch::WithinChunk(error.to_string()))?;
        Ok(match &self.schema {
            Some(schema) if results.width() == 0 => DataFrame::full_null(schema, height),
            _ => results,
        })
    }

    fn name() -> &'static str {
        type_name::<F>()
    }
}
