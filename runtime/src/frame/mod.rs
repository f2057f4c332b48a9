//! Polars frames mapped in chunks (feature `polars`): [`ParallelFrame`] cuts a frame into balanced slices of its rows,
//! or between groups, maps the chunks on several threads, and stacks the results in row order.
//!
//! Chunks run on plain threads with Polars' own parallelism switched off, so N chunks use N threads. `README.md` in
//! this folder describes the steps and the invariants.

mod chunk_count;
mod chunks;
mod column;
mod concat;
mod error;
mod group_index;
pub(crate) mod groups;
mod on_error;
mod options;
mod overlap_time;
pub(crate) mod plan;
pub(crate) mod rows;
#[cfg(feature = "polars-lazy")]
mod scan;
mod submit;
mod typed;

use polars::prelude::*;

use crate::chunks::split::Cut;

pub use crate::pool::polars_threads::with_polars_threads;
pub use chunks::FrameChunks;
pub use column::ColumnMap;
pub use error::ChunkError;
pub use groups::{ByGroups, GroupResult};
pub use on_error::{ListingChunks, OnError};
pub use plan::ByRows;
pub use rows::Rows;
#[cfg(feature = "polars-lazy")]
pub use scan::{
    ChunkFn, GroupedScan, ListingScan, ParallelScan, Scan, ScanError, ScanMap, scan_csv, scan_ipc, scan_parquet,
};
pub use typed::FromRows;

/// Maps a `DataFrame` in chunks, in parallel. Import it with `use fanfold::prelude::*`.
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
    /// Cuts the frame into slices of its rows, with a default number: four per worker, fewer if a slice would have less
    /// than 1,024 rows, and more if it would hold more than 64 MiB.
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
    #[doc(alias = "par_iter")]
    #[doc(alias = "from_pandas")]
    fn par(&self) -> FrameChunks<'_>;

    /// Cuts the frame into `chunks` slices of its rows, whose heights differ by at most one.
    ///
    /// No values are copied. A frame with fewer rows is cut into single rows, and an empty frame has one empty chunk.
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
    #[doc(alias = "map_partitions")]
    #[doc(alias = "repartition")]
    #[doc(alias = "npartitions")]
    #[doc(alias = "split_chunks_by_n")]
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
    #[doc(alias = "iter_slices")]
    #[doc(alias = "chunksize")]
    fn par_rows(&self, rows: usize) -> FrameChunks<'_>;

    /// Cuts the frame between groups: the rows with equal values in the `keys` are in one chunk.
    ///
    /// If the rows of each group are adjacent, as in a sorted frame, chunks are slices and nothing is copied. Otherwise
    /// each chunk is gathered from the rows of its groups. Groups are in the order of their first rows, and the rows of
    /// a group keep their order, so results do not depend on the number of chunks. [`keep_order`] puts the rows of the
    /// results back to the positions of their input. Nulls are equal to each other, and so are NaNs.
    ///
    /// The number of chunks is that of [`par`](Self::par), unless [`chunks`](FrameChunks::chunks) sets it.
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
    #[doc(alias = "group_by")]
    #[doc(alias = "groupby")]
    #[doc(alias = "partition_by")]
    fn par_groups<K>(&self, keys: K) -> FrameChunks<'_, DataFrame, ByGroups>
    where
        K: IntoIterator<Item: Into<PlSmallStr>>;

    /// A numeric column, to be mapped value by value.
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
    #[doc(alias = "map_elements")]
    #[doc(alias = "apply")]
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
        ColumnMap::from_column(self.column(name))
    }
}

/// Maps a `Series` or `Column` in chunks, in parallel. Import it with `use fanfold::prelude::*`.
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
    /// Cuts the values into slices, as [`ParallelFrame::par`] does.
    fn par(&self) -> FrameChunks<'_, Self>;

    /// Cuts the values into `chunks` slices, as [`ParallelFrame::par_chunks`] does.
    fn par_chunks(&self, chunks: usize) -> FrameChunks<'_, Self>;

    /// Cuts the values into slices of `rows` values, as [`ParallelFrame::par_rows`] does.
    fn par_rows(&self, rows: usize) -> FrameChunks<'_, Self>;

    /// The numeric values, to be mapped one by one, as [`ParallelFrame::par_column`] does.
    #[doc(alias = "map_elements")]
    #[doc(alias = "apply")]
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
                ColumnMap::from_series($series)
            }
        }
    };
}
parallel_series!(Series, |series| series);
parallel_series!(Column, |column| column.as_materialized_series());
