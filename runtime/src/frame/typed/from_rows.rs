//! [`FromRows`]: the collections that the results of `map_rows` become.

use std::sync::Arc;

use polars::prelude::*;
use serde::ser::Serialize;

use super::table::TableBuilder;
use crate::chunks::gather::GatherError;
use crate::frame::rows::Rows;

/// The types that the results of [`map_rows`](crate::FrameChunks::map_rows) can become: a `Vec`, and, if the results
/// implement `serde::Serialize`, a `DataFrame` or a `Series`.
#[diagnostic::on_unimplemented(
    message = "results of type `{T}` cannot become `{Self}`",
    label = "cannot be made of rows' results",
    note = "`map_rows` gives a `Vec`, or, of what implements `serde::Serialize`, a `DataFrame` or `Series`"
)]
pub trait FromRows<T>: sealed::Sealed + Sized {
    /// Collects the results of one chunk.
    #[doc(hidden)]
    type Builder;
    /// The results of one chunk.
    #[doc(hidden)]
    type ChunkResults: Send;
    #[doc(hidden)]
    fn builder(rows: usize) -> Self::Builder;
    #[doc(hidden)]
    fn push(builder: &mut Self::Builder, result: T) -> Result<(), String>;
    #[doc(hidden)]
    fn finish(builder: Self::Builder) -> PolarsResult<Self::ChunkResults>;
    #[doc(hidden)]
    fn join(parts: Vec<Self::ChunkResults>, schema: Option<&Schema>) -> Result<Self, GatherError>;
    /// Copies each column into one contiguous buffer. A `Vec` is returned as it is.
    #[doc(hidden)]
    #[must_use]
    fn rechunked(self) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for Vec<T> {}
    impl Sealed for polars::prelude::DataFrame {}
    impl Sealed for polars::prelude::Series {}
}

impl<T: Send> FromRows<T> for Vec<T> {
    type Builder = Vec<T>;
    type ChunkResults = Vec<T>;

    fn builder(rows: usize) -> Vec<T> {
        Vec::with_capacity(rows)
    }

    #[inline]
    fn push(builder: &mut Vec<T>, result: T) -> Result<(), String> {
        builder.push(result);
        Ok(())
    }

    fn finish(builder: Vec<T>) -> PolarsResult<Vec<T>> {
        Ok(builder)
    }

    fn join(mut parts: Vec<Vec<T>>, _: Option<&Schema>) -> Result<Self, GatherError> {
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return Ok(only);
        }
        let mut all = Vec::with_capacity(parts.iter().map(Vec::len).sum());
        parts.into_iter().for_each(|mut part| all.append(&mut part));
        Ok(all)
    }

    fn rechunked(self) -> Self {
        self
    }
}

impl<T: Serialize> FromRows<T> for DataFrame {
    type Builder = TableBuilder;
    type ChunkResults = DataFrame;

    fn builder(rows: usize) -> TableBuilder {
        TableBuilder::new(rows)
    }

    #[inline]
    fn push(builder: &mut TableBuilder, result: T) -> Result<(), String> {
        builder.push(&result)
    }

    fn finish(builder: TableBuilder) -> PolarsResult<DataFrame> {
        builder.finish()
    }

    fn join(mut parts: Vec<DataFrame>, schema: Option<&Schema>) -> Result<Self, GatherError> {
        // A part without rows, or with `None`s only, has no columns: it takes those of the others.
        let known = parts.iter().find(|part| part.width() > 0).map(|part| Arc::clone(part.schema()));
        if let Some(schema) = schema.or(known.as_deref()) {
            let without_columns = parts.iter_mut().filter(|part| part.width() == 0);
            without_columns.for_each(|part| *part = DataFrame::full_null(schema, part.height()));
        }
        Rows::stack(parts, schema)
    }

    fn rechunked(self) -> Self {
        Rows::rechunked(self)
    }
}

impl<T: Serialize> FromRows<T> for Series {
    type Builder = TableBuilder;
    type ChunkResults = Series;

    fn builder(rows: usize) -> TableBuilder {
        TableBuilder::new(rows)
    }

    #[inline]
    fn push(builder: &mut TableBuilder, result: T) -> Result<(), String> {
        builder.push(&result)
    }

    fn finish(builder: TableBuilder) -> PolarsResult<Series> {
        let frame = builder.finish()?;
        match frame.width() {
            0 => Ok(Series::new_null("".into(), frame.height())),
            1 => Ok(frame.columns()[0].as_materialized_series().clone()),
            _ => Ok(frame.into_struct("".into()).into_series()),
        }
    }

    fn join(parts: Vec<Series>, schema: Option<&Schema>) -> Result<Self, GatherError> {
        Rows::stack(parts, schema)
    }

    fn rechunked(self) -> Self {
        Rows::rechunked(self)
    }
}
