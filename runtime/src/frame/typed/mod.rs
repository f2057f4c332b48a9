//! Rows as values of a type of the user's: a serde deserializer over the columns, without a value in between.
//!
//! A row's fields are read by position once the first row has shown that each of them has its column; serde then
//! compares no names. Texts are lent from the frame, so a row type may hold `&str`.
#![allow(clippy::inline_always, reason = "a cell is read in some nanoseconds: a call would double that")]
#![allow(clippy::box_collection, reason = "an error as small as a pointer keeps the way without one short")]

mod cells;
mod error;
mod from_rows;
mod row;
mod table;

use std::any::type_name_of_val;
use std::ops::Range;

use polars::prelude::*;
use serde::de::Deserialize;

use super::chunks::FrameChunks;
use super::error::{BadCut, ChunkError, Misfit};
use super::plan::{ByRows, Pieces};

pub use from_rows::FromRows;

use cells::Cells;
use error::RowError;
use row::Reader;

impl<'a> FrameChunks<'a, DataFrame, ByRows> {
    /// Maps each row, as a value of a type that serde can deserialize, to a value.
    ///
    /// A row is a struct whose fields are columns by name, a tuple of all columns by position, or, of one column, the
    /// value itself. Fields that may be null are `Option`s; `&str` fields borrow from the frame. Temporal columns give
    /// the integer that is stored (a `Datetime` in microseconds: an `i64`), decimals an `f64`, categoricals and enums
    /// their text. Nested columns cannot be read, but may stand beside the others.
    ///
    /// The results become a `Vec`, or, where serde can serialize them, a `Series` or a `DataFrame`, whose columns are
    /// a struct's fields. A `None` is null in all of them. What no value shows is `Null`, or not there at all where
    /// there are no rows: declare it by [`schema`](Self::schema).
    ///
    /// # Errors
    ///
    /// [`ChunkError`] for the first row that does not fit its type, which the text names, and if the function panics.
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
    pub fn map_rows<R, T, O>(self, f: impl Fn(R) -> T + Sync) -> Result<O, ChunkError>
    where
        R: Deserialize<'a>,
        O: FromRows<T>,
    {
        if self.plan.overlaps() {
            return Err(BadCut::Asked("a row by itself sees no other: leave the overlap away, or use `map`").into());
        }
        let pieces = self.pieces()?;
        let parts = self.run(&pieces, type_name_of_val(&f), |piece| -> Result<O::Part, Misfit> {
            let rows = Pieces::<DataFrame>::rows(&pieces, piece);
            let mut built = O::builder(rows.len());
            each(self.whole, rows, |row: R| O::push(&mut built, f(row))).map_err(Misfit::Own)?;
            O::part(built).map_err(|error| Misfit::Own(error.to_string()))
        })?;
        let misfit = |misfit: crate::chunks::gather::GatherError| {
            let chunk = misfit.chunk();
            ChunkError::new(chunk, Pieces::<DataFrame>::rows(&pieces, chunk), Misfit::Others(misfit))
        };
        let joined = O::join(parts, self.declared()).map_err(misfit)?;
        Ok(if self.rechunk { joined.in_one_piece() } else { joined })
    }
}

/// Reads these rows of a frame, one after the other.
fn each<'a, R: Deserialize<'a>>(
    frame: &'a DataFrame,
    rows: Range<usize>,
    mut take: impl FnMut(R) -> Result<(), String>,
) -> Result<(), String> {
    let columns: Vec<&'a Series> = frame.columns().iter().map(Column::as_materialized_series).collect();
    let names: Vec<&'a str> = columns.iter().map(|column| column.name().as_str()).collect();
    let mut reader = Reader::new(&names);
    let mut start = rows.start;
    while start < rows.end {
        // Up to where one of the columns' pieces ends, so that each cell is an index away.
        let mut end = rows.end;
        let mut cells = Vec::with_capacity(columns.len());
        for column in &columns {
            let (column, last) = Cells::at(column, start..rows.end)?;
            cells.push(column);
            end = end.min(last);
        }
        let mut next = 0;
        while next < end - start {
            if let Some(ordered) = reader.ordered(&cells) {
                // The one call of its kind, so that it is inlined and the row stays in registers.
                while next < end - start
                    && let Ok(row) = R::deserialize(ordered.row(next))
                {
                    take(row)?;
                    next += 1;
                }
                if next == end - start {
                    break;
                }
                // By name again: for the error's text, or as the type knows its fields by name alone.
                reader.by_name();
            }
            let named = |error: RowError| format!("row {}: {error}", start + next);
            take(reader.read(&cells, next).map_err(named)?)?;
            next += 1;
        }
        start = end;
    }
    Ok(())
}
