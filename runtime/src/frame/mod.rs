//! DataFrames in chunks (feature `polars`): [`ParallelFrame`] cuts a frame into balanced slices of its rows,
//! maps them on several threads, and stacks the results in row order.
//!
//! Chunks run on plain threads with Polars' own parallelism switched off inside them, so N chunks use N threads.

mod concat;
mod cut;
mod error;
mod guard;

use std::error::Error;
use std::fmt;
use std::ops::Range;

use polars::prelude::*;

use crate::config;
use crate::gather::{Gather, GatherError};
use crate::map::{Grain, Hands, Items, Run};
use crate::panics;
use crate::pool::Pool;
use crate::progress::Bar;
use crate::sent::Crossing;
use crate::split::Cut;

pub use error::ChunkError;
pub use guard::with_polars_threads;

pub(crate) use guard::serial_polars;

use error::BadCut;

/// Chunks of a frame, mapped in parallel. Import it with `use fanfold::prelude::*`.
pub trait ParallelFrame {
    /// Cuts the frame into `chunks` slices of its rows, whose heights differ by one at most.
    ///
    /// No data is copied. A frame with fewer rows is cut into single rows, and an empty one is one empty chunk.
    fn par_chunks(&self, chunks: usize) -> FrameChunks<'_>;

    /// Cuts the frame into slices of `rows` rows; the last one may be shorter.
    fn par_rows(&self, rows: usize) -> FrameChunks<'_>;
}

impl ParallelFrame for DataFrame {
    fn par_chunks(&self, chunks: usize) -> FrameChunks<'_> {
        FrameChunks::new(self, Cut::Chunks(chunks))
    }

    fn par_rows(&self, rows: usize) -> FrameChunks<'_> {
        FrameChunks::new(self, Cut::Size(rows))
    }
}

/// A frame about to be mapped in chunks; [`ParallelFrame`] makes one.
///
/// Every ending gives a [`ChunkError`] that names the chunk and its rows if a chunk's function fails or panics,
/// or if its result does not fit the others. Of several failing chunks the first in row order is named, and
/// chunks behind it are not started.
///
/// # Examples
///
/// ```
/// use fanfold::prelude::*;
/// use polars::prelude::*;
///
/// fn double(mut chunk: DataFrame) -> PolarsResult<DataFrame> {
///     let doubled = chunk.column("x")? * 2;
///     chunk.with_column(doubled)?;
///     Ok(chunk)
/// }
///
/// # fn main() -> PolarsResult<()> {
/// let df = df!("x" => 0..1_000_i64)?;
/// let out: DataFrame = df.par_chunks(8).map(double)?;
/// assert_eq!(out, double(df)?);
/// # Ok(())
/// # }
/// ```
#[must_use = "chunks are lazy: end them with `map`, `for_each` or `map_reduce`"]
pub struct FrameChunks<'a> {
    frame: &'a DataFrame,
    cut: Cut,
    rechunk: bool,
    label: Option<&'static str>,
}

impl<'a> FrameChunks<'a> {
    fn new(frame: &'a DataFrame, cut: Cut) -> Self {
        Self { frame, cut, rechunk: false, label: None }
    }

    /// Whether the result's columns are copied into one piece each; `false` unless said.
    pub fn rechunk(mut self, rechunk: bool) -> Self {
        self.rechunk = rechunk;
        self
    }

    /// Shows a bar with this label while chunks run, on a terminal and with the feature `progress`.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Maps each chunk to a frame and stacks the results in row order.
    ///
    /// A column that is null throughout a chunk (type `Null`) takes the other chunks' type. Nothing is copied to
    /// stack them: the result's columns have a piece for each chunk unless [`rechunk`](Self::rechunk) is on.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] as [`FrameChunks`] says: among others where a result differs in width, a column's name or
    /// a column's type from those before it.
    pub fn map(self, f: impl Fn(DataFrame) -> PolarsResult<DataFrame> + Sync) -> Result<DataFrame, ChunkError> {
        self.try_map(f)
    }

    /// As [`map`](Self::map), for functions with an error type of their own.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map); the function's error is the [`ChunkError`]'s `source`.
    pub fn try_map<E>(self, f: impl Fn(DataFrame) -> Result<DataFrame, E> + Sync) -> Result<DataFrame, ChunkError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut whole = self.gather(f)?;
        if self.rechunk {
            whole.rechunk_mut();
        }
        Ok(whole)
    }

    /// Maps each chunk to a series and appends the results in row order.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    pub fn map_series(self, f: impl Fn(DataFrame) -> PolarsResult<Series> + Sync) -> Result<Series, ChunkError> {
        let whole = self.gather(f)?;
        Ok(if self.rechunk { whole.rechunk() } else { whole })
    }

    /// Maps each chunk to a value, and folds the values in row order. The same chunks give the same result, to
    /// the last bit of a float, on any number of threads.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    pub fn map_reduce<T: Send>(
        self,
        f: impl Fn(DataFrame) -> PolarsResult<T> + Sync,
        fold: impl Fn(T, T) -> T,
    ) -> Result<T, ChunkError> {
        let values = self.run(f)?;
        // A frame is never cut into no chunks at all.
        let folded = values.into_iter().reduce(fold);
        folded.ok_or_else(|| ChunkError::new(0, 0..0, BadCut("there were no chunks to fold")))
    }

    /// Runs the function on each chunk for what it does.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    pub fn for_each(self, f: impl Fn(DataFrame) -> PolarsResult<()> + Sync) -> Result<(), ChunkError> {
        self.run(f).map(drop)
    }

    fn gather<T, E>(&self, f: impl Fn(DataFrame) -> Result<T, E> + Sync) -> Result<T, ChunkError>
    where
        T: Gather + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let parts = self.run(f)?;
        T::gather(parts).map_err(|misfit| {
            let plan = self.plan();
            let rows = plan.get(misfit.chunk()).cloned().unwrap_or(0..self.frame.height());
            ChunkError::new(misfit.chunk(), rows, Misfit(misfit))
        })
    }

    /// The rows of each chunk.
    fn plan(&self) -> Vec<Range<usize>> {
        let workers = Pool::frames().core().threads();
        let mut start = 0;
        let sizes = self.cut.sizes(self.frame.height(), workers);
        let rows = sizes.into_iter().map(|size| {
            start += size;
            start - size..start
        });
        rows.collect()
    }

    /// Runs the function on each chunk, and gives the results in row order.
    fn run<T, E>(&self, f: impl Fn(DataFrame) -> Result<T, E> + Sync) -> Result<Vec<T>, ChunkError>
    where
        T: Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let refused = match self.cut {
            Cut::Chunks(0) => Some("a frame cannot be cut into 0 chunks: ask for at least 1"),
            Cut::Size(0) => Some("a frame cannot be cut into chunks of 0 rows: ask for at least 1"),
            _ => None,
        };
        if let Some(why) = refused {
            return Err(ChunkError::new(0, 0..0, BadCut(why)));
        }
        let plan = self.plan();
        let bar = Bar::new(self.label, Some(self.frame.height() as u64));
        let run = Run {
            hands: Hands::of(Pool::frames().core(), false),
            name: std::any::type_name_of_val(&f),
            grain: Grain::Size(1),
            bar: None,
            call: |chunk: usize| {
                // A caller that does its own work serially keeps Polars as it is.
                let _guard = (!config::serial()).then(serial_polars);
                let rows = plan[chunk].clone();
                let slice = self.frame.slice(cut::offset(rows.start), rows.len());
                let cause = match panics::catch(std::any::type_name_of_val(&f), || f(slice)) {
                    Ok(Ok(value)) => {
                        if let Some(bar) = &bar {
                            bar.advance(rows.len());
                        }
                        return Ok(value);
                    }
                    Ok(Err(error)) => error.into(),
                    Err(panicked) => panicked.into(),
                };
                Err(ChunkError::new(chunk, rows, cause))
            },
            keep: |result| result,
            stops: true,
        };
        run.collect(Items::into_source(0..plan.len()), Crossing::by_bounds())
    }
}

/// How a chunk's result does not fit, without the chunk's number, which the [`ChunkError`] says.
#[derive(Debug)]
struct Misfit(GatherError);

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its result does not fit the others: {}", self.0.reason())
    }
}

impl Error for Misfit {}
