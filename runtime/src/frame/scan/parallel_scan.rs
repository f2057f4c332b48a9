//! [`ParallelScan`]: `par` and `par_rows` of a `LazyFrame`.

use polars::prelude::*;

use super::Scan;

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
}

impl ParallelScan for LazyFrame {
    fn par_rows(self, rows: usize) -> Scan {
        self.par().par_rows(rows)
    }

    fn par(self) -> Scan {
        Scan::new("the query".into(), Ok(self))
    }
}
