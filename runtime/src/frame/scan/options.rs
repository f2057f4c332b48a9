//! The options of a [`Scan`]: how it is cut, what is read, its schema, progress and pool.

use std::path::PathBuf;
use std::sync::Arc;

use polars::prelude::*;

use super::Scan;
use super::group_scan::GroupedScan;
use super::input::Format;
use crate::frame::overlap_time::TimeSpan;
use crate::place::Place;
use crate::pool::Pool;

impl Scan {
    /// Sets the rows per chunk; the last chunk may be shorter.
    ///
    /// By default a chunk is a row group of a Parquet file: a part of one that holds more than 64 MiB, or several that
    /// have less than 32,768 rows. In other inputs it has 100,000 rows.
    pub fn par_rows(mut self, rows: usize) -> Self {
        self.chunk_rows = Some(rows);
        self
    }

    /// Cuts between groups: adjacent rows with equal values in the `keys` are in one chunk. Chunks have about as many
    /// rows as without groups, or more where a group has more.
    ///
    /// The rows of each group must be adjacent, as in an input that is sorted by the keys. They need not be in order.
    /// If rows of a group come again behind other groups, the scan ends with an error that says so. Nulls are equal to
    /// each other, and so are NaNs. The worker that takes a chunk decodes it, before another one takes the next.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("day" => [1, 1, 1, 2, 3, 3], "x" => 0..6_i64)?.lazy();
    /// let per_day = lazy.par_rows(2).par_groups(["day"]).map_groups(|day| Ok((day.height() as u64,))).collect()?;
    /// assert_eq!(per_day, df!("column_0" => [3_u64, 1, 2])?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "group_by")]
    #[doc(alias = "groupby")]
    pub fn par_groups<K>(mut self, keys: K) -> GroupedScan
    where
        K: IntoIterator<Item: Into<PlSmallStr>>,
    {
        let keys: Vec<PlSmallStr> = keys.into_iter().map(Into::into).collect();
        self.groups = Some(keys.clone());
        GroupedScan::new(self, keys)
    }

    /// Passes each chunk with the `rows` rows before it, as [`FrameChunks::overlap`](crate::FrameChunks::overlap) does:
    /// the function must return one row for each row it gets, and the scan ends with `collect` or a sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let step = |mut chunk: DataFrame| {
    ///     let x = chunk.column("x")?;
    ///     let step = (x - &x.shift(1))?;
    ///     chunk.with_column(step)?;
    ///     Ok(chunk)
    /// };
    /// let steps = df!("x" => 0..100_i64)?.lazy().par_rows(8).overlap(1).map(step).collect()?;
    /// assert_eq!(steps.column("x")?.null_count(), 1); // in the first row alone, as without chunks
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "map_overlap")]
    #[doc(alias = "rolling")]
    pub fn overlap(mut self, rows: usize) -> Self {
        self.overlap.before = rows;
        self
    }

    /// As [`overlap`](Self::overlap), with the `rows` rows after the chunk.
    #[doc(alias = "map_overlap")]
    pub fn overlap_after(mut self, rows: usize) -> Self {
        self.overlap.after = rows;
        self
    }

    /// As [`overlap`](Self::overlap), with the rows before the chunk that are at most `duration` older than its first
    /// row, by the times in `column`, as [`FrameChunks::overlap_by`](crate::FrameChunks::overlap_by) does. The worker
    /// that takes a chunk decodes it, before another one takes the next.
    ///
    /// # Errors
    ///
    /// The method that runs the scan returns an error if there is no such column in what is [selected](Self::select),
    /// if it has another type than a time, nulls, or an earlier time behind a later one, and if `duration` is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let minutes = df!("time" => (0..600_i64).map(|n| n * 60_000).collect::<Vec<_>>())?.lazy();
    /// let lazy = minutes.select([col("time").cast(DataType::Datetime(TimeUnit::Milliseconds, None))]);
    /// let heights = |chunk: usize, rows: std::ops::Range<usize>, frame: DataFrame| {
    ///     assert_eq!(frame.height(), rows.len() + if chunk == 0 { 0 } else { 60 });
    ///     Ok(frame)
    /// };
    /// assert_eq!(lazy.par_rows(150).overlap_by("time", "1h").map_indexed(heights).collect()?.height(), 600);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "rolling")]
    #[doc(alias = "map_overlap")]
    pub fn overlap_by(mut self, column: &str, duration: &str) -> Self {
        self.overlap.time = Some((column.into(), TimeSpan::new(duration)));
        self
    }

    /// Reads these columns only, in this order: names, or expressions as in Polars' `LazyFrame::select`.
    ///
    /// The reader skips the other columns of Parquet and IPC files. So a sum of one column reads that column alone.
    ///
    /// # Errors
    ///
    /// The method that runs the scan returns an error that names the column if there is none of that name.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("flights.parquet");
    /// let flights = df!("origin" => ["JFK", "BTV"], "delay" => [5_i64, 7])?;
    /// flights.lazy().par().map(Ok).sink_parquet(&path)?;
    /// let sum = |chunk: DataFrame| Ok(chunk.column("delay")?.i64()?.sum().unwrap_or(0));
    /// assert_eq!(scan_parquet(&path).select(["delay"]).map_reduce(sum, |a, b| a + b)?, 12);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "usecols")]
    #[doc(alias = "columns")]
    #[doc(alias = "project")]
    pub fn select<E: Into<Expr>>(mut self, columns: impl IntoIterator<Item = E>) -> Self {
        self.steps.select(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Reads the rows only for which the expression is true, as Polars' `LazyFrame::filter`.
    ///
    /// Polars' streaming engine reads the input then, and skips what the statistics of a Parquet file exclude. Chunks
    /// have the rows that are left, and [`par_rows`](Self::par_rows) counts these.
    ///
    /// # Errors
    ///
    /// The method that runs the scan returns an error if the expression fails or panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("flights.csv");
    /// std::fs::write(&path, "origin,delay\nJFK,5\nBTV,7\nJFK,9\n")?;
    /// let jfk = scan_csv(&path).filter(col("origin").eq(lit("JFK"))).select(["delay"]).map(Ok).collect()?;
    /// assert_eq!(jfk, df!("delay" => [5_i64, 9])?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "predicate")]
    #[doc(alias = "where")]
    pub fn filter(mut self, predicate: Expr) -> Self {
        self.steps.filter(predicate);
        self
    }

    /// Declares the columns that each chunk's result must have: their names, order and types.
    ///
    /// The default is the columns of the first chunk's result. If a file is written, a column that has the type `Null`
    /// there must be declared: the file is begun before a later chunk shows the column's type.
    pub fn schema(mut self, schema: impl Into<SchemaRef>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Shows a progress bar with this label and the rows per second, on a terminal and with the feature `progress`. For
    /// Parquet and IPC files, whose metadata has the number of rows, it shows the remaining time too.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Calls `report` with the number of rows done, and with that of all rows if the files' metadata has it, as
    /// [`Map::on_progress`] does.
    ///
    /// # Panics
    ///
    /// The method that runs the scan panics with the payload of `report`, and starts no further chunk.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("x" => 0..10_i64)?.lazy();
    /// let out = lazy.par_rows(4).on_progress(|done, _| eprintln!("{done} rows")).map(Ok).collect()?;
    /// assert_eq!(out.height(), 10);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Map::on_progress`]: crate::Map::on_progress
    pub fn on_progress(mut self, report: impl Fn(usize, Option<usize>) + Send + Sync + 'static) -> Self {
        self.report = Some(Arc::new(report));
        self
    }

    /// Maps the chunks on this pool, as [`FrameChunks::on`](crate::FrameChunks::on) does.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`]. The method that runs the scan panics, with the pool's name, if the pool is shut down by
    /// then.
    #[track_caller]
    pub fn on<L: Place<Self> + ?Sized>(self, place: &L) -> L::Placed {
        place.place(self)
    }

    /// The path or pattern of a scan of Parquet files that reads all rows and columns, and the rows per chunk, if they
    /// were set: what a cluster needs to read the files itself.
    ///
    /// # Errors
    ///
    /// What the scan has besides.
    #[doc(hidden)]
    pub fn whole_parquet_files(&self) -> Result<(PathBuf, Option<usize>), &'static str> {
        match (&self.path, self.format) {
            _ if self.groups.is_some() => Err("groups"),
            _ if self.overlap.is_some() => Err("an overlap"),
            _ if !self.steps.is_empty() => Err("a selection of rows or columns"),
            (Some(path), Some(Format::Parquet)) => Ok((path.clone(), self.chunk_rows)),
            _ => Err("an input other than Parquet files"),
        }
    }
}

impl Place<Scan> for Pool {
    type Placed = Scan;

    #[track_caller]
    fn place(&self, mut scan: Scan) -> Scan {
        scan.core = Some(Arc::clone(self.core().with_threads("closures").frames()));
        scan
    }
}
