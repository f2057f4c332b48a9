//! The options of [`FrameChunks`]: schema, pool, progress bar, rechunking and overlap.

use std::sync::Arc;

use polars::prelude::*;

use super::chunks::FrameChunks;
use super::overlap_time::TimeOverlap;
use super::plan::ByRows;
use super::rows::Rows;
use crate::place::Place;
use crate::pool::Pool;

impl<'a, S, P> FrameChunks<'a, S, P> {
    /// Sets whether each column of the result is copied into one contiguous buffer; the default is `false`. Columns of
    /// objects are not copied.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("x" => 0..10_i64)?;
    /// assert_eq!(df.par_chunks(4).map(Ok)?.first_col_n_chunks(), 4);
    /// assert_eq!(df.par_chunks(4).rechunk(true).map(Ok)?.first_col_n_chunks(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn rechunk(mut self, rechunk: bool) -> Self {
        self.rechunk = rechunk;
        self
    }

    /// Declares the columns that each chunk's result must have: their names, order and types.
    ///
    /// The default is the columns that the results have in common. A column that is null in a chunk (type `Null`) takes
    /// the declared type; any other difference is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let nulls = DataFrame::new(4, vec![Column::full_null("x".into(), 4, &DataType::Null)])?;
    /// let schema = Schema::from_iter([Field::new("x".into(), DataType::Int32)]);
    /// let out = nulls.par_chunks(2).schema(schema).map(Ok)?;
    /// assert_eq!(out.column("x")?.dtype(), &DataType::Int32);
    /// # Ok(())
    /// # }
    /// ```
    pub fn schema(mut self, schema: impl Into<SchemaRef>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Shows a progress bar with this label, the rows per second and the remaining time, on a terminal and with the
    /// feature `progress`.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Calls `report` with the number of rows done and that of all rows, as [`Map::on_progress`] does. It needs no
    /// feature.
    ///
    /// # Panics
    ///
    /// The method that maps the chunks panics with the payload of `report`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let (df, last) = (df!("x" => 0..10_i64)?, Mutex::new(None));
    /// df.par_chunks(4).on_progress(|done, total| *last.lock().unwrap() = Some((done, total))).map(Ok)?;
    /// assert_eq!(last.into_inner().unwrap(), Some((10, Some(10))));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Map::on_progress`]: crate::Map::on_progress
    pub fn on_progress(mut self, report: impl Fn(usize, Option<usize>) + Send + Sync + 'a) -> Self {
        self.report = Some(Arc::new(report));
        self
    }

    /// Maps the chunks on this pool, as many at once as it has threads; or on another [`Place`], such as a cluster. The
    /// default is one chunk per core.
    ///
    /// Chunks run on threads of their own, not on the pool's other threads: where Polars' threads are switched off on a
    /// thread, Polars makes that thread a rayon pool of one thread, permanently. So a pool of any kind starts plain
    /// threads for chunks when they are first needed, with its name, hooks and thread limit, and ends them when it
    /// ends.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`]. The method that maps the chunks panics, with the pool's name, if the pool is shut down by
    /// then.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let pool = fanfold::Pool::cpu("nightly").threads(1).build().expect("a thread can be had");
    /// let df = df!("x" => 0..10_i64)?;
    /// assert_eq!(df.par_chunks(4).on(&pool).map(Ok)?, df);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn on<L: Place<Self> + ?Sized>(self, place: &L) -> L::Placed {
        place.place(self)
    }
}

impl<'a, S, P> Place<FrameChunks<'a, S, P>> for Pool {
    type Placed = FrameChunks<'a, S, P>;

    #[track_caller]
    fn place(&self, mut chunks: FrameChunks<'a, S, P>) -> FrameChunks<'a, S, P> {
        chunks.core = Some(Arc::clone(self.core().with_threads("closures").frames()));
        chunks
    }
}

impl<S: Rows> FrameChunks<'_, S, ByRows> {
    /// Passes each chunk with the `rows` rows before it, fewer at the frame's start: for rolling windows and
    /// differences. The function must return one row for each row it gets; the rows of the overlap are cut off the
    /// result.
    ///
    /// An overlap may be longer than a chunk.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("x" => 0..100_i64)?;
    /// let step = |mut chunk: DataFrame| {
    ///     let x = chunk.column("x")?;
    ///     let step = (x - &x.shift(1))?;
    ///     chunk.with_column(step)?;
    ///     Ok(chunk)
    /// };
    /// let out = df.par_chunks(8).overlap(1).map(step)?;
    /// assert_eq!(out.column("x")?.null_count(), 1); // in the first row alone, as without chunks
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "map_overlap")]
    #[doc(alias = "rolling")]
    pub fn overlap(mut self, rows: usize) -> Self {
        self.strategy.overlap_before = rows;
        self
    }

    /// As [`overlap`](Self::overlap), with the `rows` rows after the chunk.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("x" => [1, 2, 4, 8])?;
    /// let next = |chunk: DataFrame| chunk.column("x").map(|x| x.shift(-1).take_materialized_series());
    /// let next = df.par_rows(2).overlap_after(1).map_series(next)?;
    /// assert_eq!(next.i32()?.to_vec(), [Some(2), Some(4), Some(8), None]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "map_overlap")]
    pub fn overlap_after(mut self, rows: usize) -> Self {
        self.strategy.overlap_after = rows;
        self
    }
}

impl FrameChunks<'_, DataFrame, ByRows> {
    /// As [`overlap`](Self::overlap), with the rows before the chunk that are at most `duration` older than its first
    /// row, by the times in `column`: for rolling windows over time.
    ///
    /// The column has dates, datetimes, times or durations, ascending and without nulls. A duration is a number with a
    /// unit (`ns`, `us`, `ms`, `s`, `m`, `h`, `d` or `w`), or several: `"1h30m"`. With [`overlap`](Self::overlap) too,
    /// a chunk sees the rows of both.
    ///
    /// # Errors
    ///
    /// The method that maps the chunks returns an error if there is no such column, if it has another type, nulls, or
    /// an earlier time behind a later one, and if `duration` is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let minutes = Column::new("time".into(), (0..600_i64).map(|n| n * 60_000).collect::<Vec<_>>());
    /// let time = minutes.cast(&DataType::Datetime(TimeUnit::Milliseconds, None))?;
    /// let df = DataFrame::new(600, vec![time])?;
    /// let heights = |chunk: usize, rows: std::ops::Range<usize>, frame: DataFrame| {
    ///     assert_eq!(frame.height(), rows.len() + if chunk == 0 { 0 } else { 60 });
    ///     Ok(frame)
    /// };
    /// assert_eq!(df.par_chunks(4).overlap_by("time", "1h").map_indexed(heights)?, df);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "rolling")]
    #[doc(alias = "map_overlap")]
    pub fn overlap_by(mut self, column: &str, duration: &str) -> Self {
        self.strategy.overlap_time = Some(TimeOverlap::new(self.frame.column(column).cloned(), duration));
        self
    }
}
