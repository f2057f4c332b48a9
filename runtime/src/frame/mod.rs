//! DataFrames in chunks (feature `polars`): [`ParallelFrame`] cuts a frame into balanced slices of its rows, or along
//! its groups, maps them on several threads, and stacks the results in row order.
//!
//! Chunks run on plain threads with Polars' own parallelism switched off inside them, so N chunks use N threads.

mod chunk_count;
mod chunks;
mod column;
mod concat;
mod error;
pub(crate) mod groups;
pub(crate) mod plan;
pub(crate) mod rows;
#[cfg(feature = "polars-lazy")]
mod scan;
mod typed;

use polars::prelude::*;

use crate::chunks::split::Cut;

pub use crate::pool::polars_threads::with_polars_threads;
pub use chunks::FrameChunks;
pub use column::ColumnMap;
pub use error::ChunkError;
pub use groups::ByGroups;
pub use plan::ByRows;
pub use rows::Rows;
#[cfg(feature = "polars-lazy")]
pub use scan::{ParallelScan, Scan, ScanError, ScanMap, scan_csv, scan_ipc, scan_parquet};
pub use typed::FromRows;

/// Chunks of a `DataFrame`, mapped in parallel. Import it with `use fanfold::prelude::*`.
///
/// # Examples
///
/// ```
/// use fanfold::prelude::*;
/// use polars::prelude::*;
///
/// # fn main() -> PolarsResult<()> {
/// let df = df!("carrier" => ["AA", "UA", "AA"], "delay" => [5.0, 0.0, 7.0])?;
/// let heads = df.par_groups(["carrier"]).map_groups(|flights| Ok(flights.head(Some(1))))?;
/// assert_eq!(heads, df.head(Some(2)));
/// let hours = df.par_column("delay").map(|minutes: f64| minutes / 60.0)?;
/// assert_eq!(hours.f64()?.get(1), Some(0.0));
/// # Ok(())
/// # }
/// ```
pub trait ParallelFrame {
    /// Cuts the frame into slices of its rows, as many as suit it: four a worker, fewer where a slice would have
    /// less than 1,024 rows, more where it would hold more than 64 MiB.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("x" => 0..100_000_i64)?;
    /// let rows = df.par().map_reduce(|chunk| Ok(chunk.height()), |a, b| a + b)?;
    /// assert_eq!(rows, 100_000);
    /// # Ok(())
    /// # }
    /// ```
    fn par(&self) -> FrameChunks<'_>;

    /// Cuts the frame into `chunks` slices of its rows, whose heights differ by one at most.
    ///
    /// No data is copied. A frame with fewer rows is cut into single rows, and an empty one is one empty chunk.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("x" => 0..10_i64)?;
    /// let firsts = df.par_chunks(4).map(|chunk| Ok(chunk.head(Some(1))))?;
    /// assert_eq!(firsts, df!("x" => [0_i64, 3, 6, 8])?);
    /// # Ok(())
    /// # }
    /// ```
    fn par_chunks(&self, chunks: usize) -> FrameChunks<'_>;

    /// Cuts the frame into slices of `rows` rows; the last one may be shorter.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("x" => 0..10_i64)?;
    /// let firsts = df.par_rows(4).map(|chunk| Ok(chunk.head(Some(1))))?;
    /// assert_eq!(firsts, df!("x" => [0_i64, 4, 8])?);
    /// # Ok(())
    /// # }
    /// ```
    fn par_rows(&self, rows: usize) -> FrameChunks<'_>;

    /// Cuts the frame between groups, the rows with equal values in the `keys`: each group is in one chunk.
    ///
    /// Where the rows of each group stand together, as in a sorted frame, chunks are slices and nothing is copied.
    /// Elsewhere each chunk is gathered from its groups' rows. Groups come in the order of their first rows, and the
    /// rows of a group in theirs, so results do not depend on the number of chunks; [`keep_order`] puts the results'
    /// rows where their input stood. Nulls are equal to each other, and so are NaNs.
    ///
    /// As many chunks as [`par`](Self::par) would make, unless [`chunks`](FrameChunks::chunks) says otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("carrier" => ["AA", "UA", "AA"], "delay" => [5, 0, 7])?;
    /// let totals = df.par_groups(["carrier"]).map_groups(|flights| {
    ///     let total: i32 = flights.column("delay")?.i32()?.sum().unwrap_or(0);
    ///     let carrier = flights.column("carrier")?.head(Some(1));
    ///     DataFrame::new(1, vec![carrier, Column::new("total".into(), [total])])
    /// })?;
    /// assert_eq!(totals, df!("carrier" => ["AA", "UA"], "total" => [12, 0])?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`keep_order`]: FrameChunks::keep_order
    fn par_groups<K>(&self, keys: K) -> FrameChunks<'_, DataFrame, ByGroups>
    where
        K: IntoIterator<Item: Into<PlSmallStr>>;

    /// One column of numbers, to be mapped number by number.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("c" => [Some(20.0), None])?;
    /// let fahrenheit = df.par_column("c").map(|c: f64| c * 1.8 + 32.0)?;
    /// assert_eq!(fahrenheit.f64()?.to_vec(), [Some(68.0), None]);
    /// # Ok(())
    /// # }
    /// ```
    fn par_column(&self, name: &str) -> ColumnMap<'_>;
}

impl ParallelFrame for DataFrame {
    fn par(&self) -> FrameChunks<'_> {
        FrameChunks::new(self, ByRows::new(Cut::Auto))
    }

    fn par_chunks(&self, chunks: usize) -> FrameChunks<'_> {
        FrameChunks::new(self, ByRows::new(Cut::Chunks(chunks)))
    }

    fn par_rows(&self, rows: usize) -> FrameChunks<'_> {
        FrameChunks::new(self, ByRows::new(Cut::Size(rows)))
    }

    fn par_groups<K>(&self, keys: K) -> FrameChunks<'_, DataFrame, ByGroups>
    where
        K: IntoIterator<Item: Into<PlSmallStr>>,
    {
        FrameChunks::new(self, ByGroups::new(keys.into_iter().map(Into::into).collect()))
    }

    fn par_column(&self, name: &str) -> ColumnMap<'_> {
        ColumnMap::new(self.column(name))
    }
}

/// Chunks of a `Series` or `Column`, mapped in parallel. Import it with `use fanfold::prelude::*`.
///
/// # Examples
///
/// ```
/// use fanfold::prelude::*;
/// use polars::prelude::*;
///
/// # fn main() -> PolarsResult<()> {
/// let numbers = Series::new("n".into(), 0..1_000_i64);
/// let doubled = numbers.par_chunks(8).map(|chunk| Ok(&chunk * 2))?;
/// assert_eq!(doubled, &numbers * 2);
/// # Ok(())
/// # }
/// ```
pub trait ParallelSeries: Rows {
    /// As [`ParallelFrame::par`].
    fn par(&self) -> FrameChunks<'_, Self>;

    /// As [`ParallelFrame::par_chunks`].
    fn par_chunks(&self, chunks: usize) -> FrameChunks<'_, Self>;

    /// As [`ParallelFrame::par_rows`].
    fn par_rows(&self, rows: usize) -> FrameChunks<'_, Self>;

    /// The numbers in it, to be mapped one by one.
    fn par_values(&self) -> ColumnMap<'_>;
}

macro_rules! parallel_series {
    ($type:ty, |$self:ident| $series:expr) => {
        impl ParallelSeries for $type {
            fn par(&self) -> FrameChunks<'_, Self> {
                FrameChunks::new(self, ByRows::new(Cut::Auto))
            }

            fn par_chunks(&self, chunks: usize) -> FrameChunks<'_, Self> {
                FrameChunks::new(self, ByRows::new(Cut::Chunks(chunks)))
            }

            fn par_rows(&self, rows: usize) -> FrameChunks<'_, Self> {
                FrameChunks::new(self, ByRows::new(Cut::Size(rows)))
            }

            fn par_values(&self) -> ColumnMap<'_> {
                let $self = self;
                ColumnMap::of($series)
            }
        }
    };
}
parallel_series!(Series, |series| series);
parallel_series!(Column, |column| column.as_materialized_series());
