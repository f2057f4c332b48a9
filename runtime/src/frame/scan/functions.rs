//! The methods of a [`Scan`] that take the function of its chunks or rows.

use std::convert::Infallible;
use std::error::Error;
use std::ops::Range;

use polars::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Scan;
use super::chunk_fn::{ChunkFn, IndexedFn, RowFn};
use super::error::ScanError;
use super::map::ScanMap;

impl Scan {
    /// Sets the function that maps each chunk. A method of the [`ScanMap`] runs the scan: `sink_parquet`, `collect`,
    /// `for_each` or `reduce`.
    #[doc(alias = "map_batches")]
    #[doc(alias = "map_partitions")]
    #[doc(alias = "apply")]
    pub fn map<T, F>(self, f: F) -> ScanMap<F>
    where
        T: Send,
        F: Fn(DataFrame) -> PolarsResult<T> + Sync,
    {
        ScanMap::new(self, f)
    }

    /// As [`map`](Self::map), for functions that take the number of the chunk and its rows in the input too. With a
    /// [`filter`](Self::filter), rows are counted behind it.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("x" => 0..10_i64)?.lazy();
    /// let number = |chunk, rows: std::ops::Range<usize>, frame: DataFrame| {
    ///     assert_eq!(rows.start, 4 * chunk);
    ///     frame.with_row_index("row".into(), Some(rows.start as IdxSize))
    /// };
    /// let numbered = lazy.clone().par_rows(4).map_indexed(number).collect()?;
    /// assert_eq!(numbered, lazy.with_row_index("row", None).collect()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_indexed<T, F>(self, f: F) -> ScanMap<impl ChunkFn<T>>
    where
        T: Send,
        F: Fn(usize, Range<usize>, DataFrame) -> PolarsResult<T> + Sync,
    {
        ScanMap::new(self, IndexedFn(f))
    }

    /// Maps each row, as [`FrameChunks::map_rows`](crate::FrameChunks::map_rows) does, to a row of the result: a struct
    /// that implements `serde::Serialize` becomes a column for each field.
    ///
    /// A row type owns its values (`String`, not `&str`), as a chunk ends with its function. Where a chunk may show no
    /// columns, as all of its results are `None`, declare them with [`schema`](Self::schema).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Deserialize)]
    /// struct Flight {
    ///     origin: String,
    ///     delay: i64,
    /// }
    ///
    /// #[derive(Serialize)]
    /// struct Verdict {
    ///     late: bool,
    ///     from: String,
    /// }
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// # let (input, output) = (folder.path().join("in.csv"), folder.path().join("out.csv"));
    /// std::fs::write(&input, "origin,delay\nJFK,5\nBTV,0\n")?;
    /// let verdict = |flight: Flight| Verdict { late: flight.delay > 0, from: flight.origin };
    /// scan_csv(&input).map_rows(verdict).sink_csv(&output)?;
    /// assert_eq!(std::fs::read_to_string(&output)?, "late,from\ntrue,JFK\nfalse,BTV\n");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "iterrows")]
    pub fn map_rows<R, T>(self, f: impl Fn(R) -> T + Sync) -> ScanMap<impl ChunkFn<DataFrame>>
    where
        R: DeserializeOwned,
        T: Serialize,
    {
        self.try_map_rows(move |row| Ok::<T, Infallible>(f(row)))
    }

    /// As [`map_rows`](Self::map_rows), for functions that can fail. The rows of the error are the failing row alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("age" => ["31", "27", "-"])?.lazy();
    /// let ages = lazy.par_rows(2).try_map_rows(|age: String| age.parse::<i64>().map(|age| (age,))).collect();
    /// assert_eq!(ages.unwrap_err().to_string(), "chunk 1 (rows 2..3): invalid digit found in string");
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_map_rows<R, T, E>(self, f: impl Fn(R) -> Result<T, E> + Sync) -> ScanMap<impl ChunkFn<DataFrame>>
    where
        R: DeserializeOwned,
        T: Serialize,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let schema = self.schema.clone();
        ScanMap::new(self, RowFn::new(f, schema))
    }

    /// Calls the function with each chunk, on several threads at once and in no fixed order.
    ///
    /// # Errors
    ///
    /// [`ScanError`] if the input cannot be read, or if the function returns an error or panics.
    #[track_caller]
    pub fn for_each(self, f: impl Fn(DataFrame) -> PolarsResult<()> + Sync) -> Result<(), ScanError> {
        self.map(f).for_each(|()| Ok(()))
    }

    /// Maps each chunk to a value, and folds the values in input order.
    ///
    /// # Errors
    ///
    /// As [`for_each`](Self::for_each).
    #[track_caller]
    #[doc(alias = "fold")]
    pub fn map_reduce<T: Send>(
        self,
        f: impl Fn(DataFrame) -> PolarsResult<T> + Sync,
        fold: impl Fn(T, T) -> T + Sync,
    ) -> Result<T, ScanError> {
        self.map(f).reduce(fold)
    }
}
