//! [`FromRows`]: what the results of rows become.

use std::sync::Arc;

use polars::prelude::*;
use serde::ser::Serialize;

use super::table::Table;
use crate::chunks::gather::GatherError;
use crate::frame::rows::Rows;

/// What the results of [`map_rows`](crate::FrameChunks::map_rows) can become: a `Vec` of them; and, where serde can
/// serialize them, a `DataFrame` or a `Series`.
#[diagnostic::on_unimplemented(
    message = "results of type `{T}` cannot become `{Self}`",
    label = "cannot be made of rows' results",
    note = "`map_rows` gives a `Vec`, or, of what implements `serde::Serialize`, a `DataFrame` or `Series`"
)]
pub trait FromRows<T>: sealed::Sealed + Sized {
    /// What a chunk's results are gathered in.
    #[doc(hidden)]
    type Builder;
    /// A chunk's results.
    #[doc(hidden)]
    type Part: Send;
    #[doc(hidden)]
    fn builder(rows: usize) -> Self::Builder;
    #[doc(hidden)]
    fn push(builder: &mut Self::Builder, result: T) -> Result<(), String>;
    #[doc(hidden)]
    fn part(builder: Self::Builder) -> PolarsResult<Self::Part>;
    #[doc(hidden)]
    fn join(parts: Vec<Self::Part>, schema: Option<&Schema>) -> Result<Self, GatherError>;
    /// In one buffer a column, where it has columns.
    #[doc(hidden)]
    #[must_use]
    fn in_one_piece(self) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for Vec<T> {}
    impl Sealed for polars::prelude::DataFrame {}
    impl Sealed for polars::prelude::Series {}
}

impl<T: Send> FromRows<T> for Vec<T> {
    type Builder = Vec<T>;
    type Part = Vec<T>;

    fn builder(rows: usize) -> Vec<T> {
        Vec::with_capacity(rows)
    }

    #[inline]
    fn push(builder: &mut Vec<T>, result: T) -> Result<(), String> {
        builder.push(result);
        Ok(())
    }

    fn part(builder: Vec<T>) -> PolarsResult<Vec<T>> {
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

    fn in_one_piece(self) -> Self {
        self
    }
}

impl<T: Serialize> FromRows<T> for DataFrame {
    type Builder = Table;
    type Part = DataFrame;

    fn builder(rows: usize) -> Table {
        Table::new(rows)
    }

    #[inline]
    fn push(builder: &mut Table, result: T) -> Result<(), String> {
        builder.push(&result)
    }

    fn part(builder: Table) -> PolarsResult<DataFrame> {
        builder.finish()
    }

    fn join(mut parts: Vec<DataFrame>, schema: Option<&Schema>) -> Result<Self, GatherError> {
        // Of no row at all, or of `None`s alone, nothing says which columns there would have been.
        let known = parts.iter().find(|part| part.width() > 0).map(|part| Arc::clone(part.schema()));
        if let Some(schema) = schema.or(known.as_deref()) {
            let unknown = parts.iter_mut().filter(|part| part.width() == 0);
            unknown.for_each(|part| *part = DataFrame::full_null(schema, part.height()));
        }
        Rows::stack(parts, schema)
    }

    fn in_one_piece(self) -> Self {
        Rows::in_one_piece(self)
    }
}

impl<T: Serialize> FromRows<T> for Series {
    type Builder = Table;
    type Part = Series;

    fn builder(rows: usize) -> Table {
        Table::new(rows)
    }

    #[inline]
    fn push(builder: &mut Table, result: T) -> Result<(), String> {
        builder.push(&result)
    }

    fn part(builder: Table) -> PolarsResult<Series> {
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

    fn in_one_piece(self) -> Self {
        Rows::in_one_piece(self)
    }
}
