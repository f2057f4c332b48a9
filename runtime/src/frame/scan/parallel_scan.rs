//! [`ParallelScan`]: `par` and `par_rows` of a `LazyFrame`.

use polars::prelude::*;

use super::{Scan, lazy_map};

/// Maps the rows of a `LazyFrame` in chunks. Import it with `use fanfold::prelude::*`.
///
/// The query runs on Polars' streaming engine and waits while the workers have enough batches. Functions that it calls
/// (`LazyFrame::map`) may use Fanfold themselves: a worker that waits for the query's rows lets another worker run.
///
/// # Examples
///
/// ```
/// use fanfold::prelude::*;
/// use polars::prelude::*;
///
/// # fn main() -> PolarsResult<()> {
/// let lazy = df!("x" => 0..1_000_i64)?.lazy().filter(col("x").lt(lit(500)));
/// let out = lazy.par_rows(100).map(|chunk| chunk.head(Some(1)).select(["x"])).collect()?;
/// assert_eq!(out, df!("x" => [0_i64, 100, 200, 300, 400])?);
/// # Ok(())
/// # }
/// ```
pub trait ParallelScan {
    /// Cuts the rows into chunks of `rows` rows; the last one may be shorter.
    #[doc(alias = "map_batches")]
    #[doc(alias = "collect_batches")]
    fn par_rows(self, rows: usize) -> Scan;

    /// Cuts the rows into chunks of 100,000.
    fn par(self) -> Scan;

    /// Maps the rows in batches, as a part of the query: it goes on behind the function. `schema` are the columns of
    /// the function's results.
    ///
    /// On the streaming engine the function is called with the engine's batches, on all of its threads, and rows keep
    /// their order. On the in-memory engine the rows are cut into chunks, as [`ParallelFrame::par`] does. The function
    /// may get frames without rows.
    ///
    /// # Errors
    ///
    /// The query fails if the function returns an error or panics, or if its result has other columns than `schema`.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let hours = |mut batch: DataFrame| {
    ///     let hours = batch.column("minutes")? / 60.0;
    ///     batch.with_column(hours.with_name("hours".into()))?;
    ///     Ok(batch)
    /// };
    /// let schema = Schema::from_iter([
    ///     Field::new("minutes".into(), DataType::Float64),
    ///     Field::new("hours".into(), DataType::Float64),
    /// ]);
    /// let lazy = df!("minutes" => [30.0, 90.0, 120.0])?.lazy();
    /// let long = lazy.par_map_batches(hours, schema).filter(col("hours").gt(lit(1.0))).select([col("hours")]);
    /// assert_eq!(long.collect()?, df!("hours" => [1.5, 2.0])?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`ParallelFrame::par`]: crate::ParallelFrame::par
    #[doc(alias = "map_batches")]
    #[doc(alias = "map_partitions")]
    #[doc(alias = "pipe")]
    fn par_map_batches<F>(self, f: F, schema: impl Into<SchemaRef>) -> LazyFrame
    where
        F: Fn(DataFrame) -> PolarsResult<DataFrame> + Send + Sync + 'static;
}

impl ParallelScan for LazyFrame {
    fn par_rows(self, rows: usize) -> Scan {
        self.par().par_rows(rows)
    }

    fn par(self) -> Scan {
        Scan::new("the query".into(), Ok(self))
    }

    fn par_map_batches<F>(self, f: F, schema: impl Into<SchemaRef>) -> LazyFrame
    where
        F: Fn(DataFrame) -> PolarsResult<DataFrame> + Send + Sync + 'static,
    {
        lazy_map::map_batches(self, f, schema.into())
    }
}
