//! Typed rows, `map_rows`: a serde deserializer that reads a row's fields directly from the columns.
//!
//! The first row is read by the names of the columns. Once it has shown that each field of the row type has a column,
//! the fields are read by position, and serde compares no names. Strings are borrowed from the frame, so a row type may
//! have `&str` fields.
#![allow(clippy::inline_always, reason = "a cell is read in a few nanoseconds: a call would double that")]
#![allow(clippy::box_collection, reason = "an error of one pointer keeps the success path short")]

mod cells;
mod error;
mod from_rows;
mod ordered_row;
mod row;
mod table;

use std::any::type_name_of_val;
use std::error::Error;
use std::ops::Range;

use polars::prelude::*;
use serde::de::Deserialize;

use super::chunks::FrameChunks;
use super::error::{ChunkError, ChunkMismatch, FailedRow, FrameError};
use super::plan::{ByRows, ChunkPlan, ChunkStrategy};
use crate::chunks::gather::GatherError;

pub use from_rows::FromRows;

use cells::ColumnCells;
use error::RowError;
use row::RowReader;

impl<'a> FrameChunks<'a, DataFrame, ByRows> {
    /// Maps each row, as a value of a type that implements `serde::Deserialize`, to a value.
    ///
    /// A row type is a struct whose fields are columns by name, a tuple of all columns by position, or, for a frame of
    /// one column, the type of the value. Fields that may be null are `Option`s, and `&str` fields borrow from the
    /// frame. Temporal columns give the integer that they store (a `Datetime` in microseconds: an `i64`), decimals an
    /// `f64`, and categoricals and enums their text. Nested columns cannot be read; the frame may have them if no field
    /// names them.
    ///
    /// The results become a `Vec`, or, if they implement `serde::Serialize`, a `Series`, or a `DataFrame` with a column
    /// for each field of a struct. `None` becomes null. A column without any value has the type `Null`, and without
    /// rows there is no column: declare it with [`schema`](Self::schema).
    ///
    /// # Errors
    ///
    /// [`ChunkError`] for the first row that cannot be read as its type, with the row's number, and if the function
    /// panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Deserialize)]
    /// struct Flight<'a> {
    ///     origin: &'a str,
    ///     delay: Option<i64>,
    /// }
    ///
    /// #[derive(Serialize)]
    /// struct Verdict {
    ///     late: Option<bool>,
    ///     hub: bool,
    /// }
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("origin" => ["JFK", "BTV"], "delay" => [Some(7_i64), None])?;
    /// let verdict = |flight: Flight| Verdict { late: flight.delay.map(|d| d > 0), hub: flight.origin == "JFK" };
    /// let out: DataFrame = df.par().map_rows(verdict)?;
    /// assert_eq!(out, df!("late" => [Some(true), None], "hub" => [true, false])?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    #[doc(alias = "apply")]
    #[doc(alias = "iterrows")]
    #[doc(alias = "itertuples")]
    pub fn map_rows<R, T, O>(self, f: impl Fn(R) -> T + Sync) -> Result<O, ChunkError>
    where
        R: Deserialize<'a>,
        O: FromRows<T>,
    {
        self.map_each_row(type_name_of_val(&f), |rows, builder: &mut O::Builder| {
            for_each_row(self.frame, rows, 0, |row: R| O::push(builder, f(row)))
                .map_err(|reason: String| ChunkMismatch::WithinChunk(reason).into())
        })
    }

    /// As [`map_rows`](Self::map_rows), for functions that can fail. The first error in row order is returned.
    ///
    /// # Errors
    ///
    /// As [`map_rows`](Self::map_rows); the function's error is the [`ChunkError`]'s `source`, and its `rows` are the
    /// failing row alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("age" => ["31", "27", "-", "x"])?;
    /// let ages: Result<Vec<u8>, ChunkError> = df.par().try_map_rows(|age: &str| age.parse::<u8>());
    /// let error = ages.unwrap_err();
    /// assert_eq!(error.to_string(), "chunk 0 (rows 2..3): invalid digit found in string");
    /// assert_eq!(df.head(Some(2)).par().try_map_rows(str::parse::<u8>).ok(), Some(vec![31, 27]));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn try_map_rows<R, T, E, O>(self, f: impl Fn(R) -> Result<T, E> + Sync) -> Result<O, ChunkError>
    where
        R: Deserialize<'a>,
        E: Into<Box<dyn Error + Send + Sync>>,
        O: FromRows<T>,
    {
        self.map_each_row(type_name_of_val(&f), |rows, builder: &mut O::Builder| {
            let mut row = rows.start;
            for_each_row(self.frame, rows, 0, |value: R| {
                let result = f(value).map_err(|error| RowFailure::Function(FailedRow { row, source: error.into() }))?;
                row += 1;
                O::push(builder, result).map_err(RowFailure::Cell)
            })
            .map_err(|failure: RowFailure| failure.into())
        })
    }

    /// Has `map_rows` push the results of a chunk's rows, and joins the results of all chunks.
    #[track_caller]
    fn map_each_row<T, O: FromRows<T>>(
        &self,
        name: &'static str,
        map_rows: impl Fn(Range<usize>, &mut O::Builder) -> Result<(), Box<dyn Error + Send + Sync>> + Sync,
    ) -> Result<O, ChunkError> {
        if self.strategy.has_overlap() {
            return Err(FrameError::InvalidRequest(
                "`map_rows` maps single rows and has no overlap: leave the overlap away, or use `map`",
            )
            .into());
        }
        let plan = self.make_plan()?;
        let map_chunk = |chunk| -> Result<O::ChunkResults, Box<dyn Error + Send + Sync>> {
            let rows = ChunkPlan::<DataFrame>::rows(&plan, chunk);
            let mut builder = O::builder(rows.len());
            map_rows(rows, &mut builder)?;
            O::finish(builder).map_err(|error| ChunkMismatch::WithinChunk(error.to_string()).into())
        };
        self.run_chunks(&plan, name, map_chunk, |parts| self.join_rows(&plan, parts))
    }
}

impl<P: ChunkStrategy<DataFrame>> FrameChunks<'_, DataFrame, P> {
    /// Joins the results of all chunks, one per row or group.
    pub(super) fn join_rows<T, O: FromRows<T>>(
        &self,
        plan: &P::Plan,
        parts: Vec<O::ChunkResults>,
    ) -> Result<O, ChunkError> {
        let chunk_error = |mismatch: GatherError| {
            let chunk = mismatch.chunk();
            ChunkError::new(chunk, plan.rows(chunk), ChunkMismatch::OtherChunks(mismatch))
        };
        let joined = O::join(parts, self.declared_schema()).map_err(chunk_error)?;
        Ok(if self.rechunk { joined.rechunked() } else { joined })
    }
}

/// Why a row has no result.
pub(super) enum RowFailure {
    /// A cell cannot be read as its field, or a result cannot be written to a cell.
    Cell(String),
    Function(FailedRow),
}

impl From<String> for RowFailure {
    fn from(reason: String) -> Self {
        Self::Cell(reason)
    }
}

impl From<RowFailure> for Box<dyn Error + Send + Sync> {
    fn from(failure: RowFailure) -> Self {
        match failure {
            RowFailure::Cell(reason) => ChunkMismatch::WithinChunk(reason).into(),
            RowFailure::Function(failed) => failed.into(),
        }
    }
}

/// Calls `take` with these rows of a frame, in order. `base` is the number of the frame's first row, for errors.
pub(super) fn for_each_row<'a, R: Deserialize<'a>, E: From<String>>(
    frame: &'a DataFrame,
    rows: Range<usize>,
    base: usize,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let columns: Vec<&'a Series> = frame.columns().iter().map(Column::as_materialized_series).collect();
    let names: Vec<&'a str> = columns.iter().map(|column| column.name().as_str()).collect();
    let mut reader = RowReader::new(&names);
    let mut start = rows.start;
    while start < rows.end {
        // Ends where the buffer of one of the columns ends, so that a cell is read by one index in its column's buffer.
        let mut end = rows.end;
        let mut cells = Vec::with_capacity(columns.len());
        for column in &columns {
            let (column, last) = ColumnCells::at(column, start..rows.end)?;
            cells.push(column);
            end = end.min(last);
        }
        let mut next = 0;
        while next < end - start {
            if let Some(ordered) = reader.ordered_columns(&cells) {
                // The only call of this `deserialize`, so that it is inlined and the row stays in registers.
                while next < end - start
                    && let Ok(row) = R::deserialize(ordered.row(next))
                {
                    take(row)?;
                    next += 1;
                }
                if next == end - start {
                    break;
                }
                // Reads the row again by name: for an error that names the column, or because the type can be
                // deserialized by name only.
                reader.use_names();
            }
            let name_row = |error: RowError| format!("row {}: {error}", base + start + next);
            take(reader.read(&cells, next).map_err(name_row)?)?;
            next += 1;
        }
        start = end;
    }
    Ok(())
}
