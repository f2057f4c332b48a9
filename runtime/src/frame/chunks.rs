//! [`FrameChunks`]: a frame about to be mapped in chunks, and its endings.

use std::any::type_name_of_val;
use std::error::Error;
use std::sync::Arc;

use polars::prelude::*;

use super::error::{BadCut, ChunkError, Misfit};
use super::plan::{ByRows, Pieces, Plan};
use super::rows::Rows;
use crate::chunks::gather::GatherError;
use crate::error::panics;
use crate::map::progress::Bar;
use crate::map::{CollectRun, Grain, Items, MapWorkers};
use crate::pool::Core;
use crate::pool::Pool;
use crate::pool::config;
use crate::pool::polars_threads::serial_polars;
use crate::task::send_proof::CallProof;

/// A frame about to be mapped in chunks; [`ParallelFrame`](crate::ParallelFrame) makes one.
///
/// Every ending gives a [`ChunkError`] that names the chunk and its rows if a chunk's function fails or panics,
/// or if its result does not fit the others. Of several failing chunks the first in row order is named, and
/// chunks behind it are not started.
///
/// A function may cut frames itself, and wait for tasks and scans: its worker makes room for theirs. One that waits in
/// another way, as for a thread, a rayon pool or a streaming query, keeps its worker. A frame that is cut over there while
/// all workers are busy, and stay so for 100 ms, gets one plain thread more than the pool has, for as long as it is mapped.
/// A worker that has waited, and for 1 s finds all others busy, goes on beside them.
///
/// `S` is what is cut (`DataFrame`, `Series` or `Column`), and `P` along what: by rows or by groups.
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
pub struct FrameChunks<'a, S = DataFrame, P = ByRows> {
    pub(super) whole: &'a S,
    pub(super) plan: P,
    pub(super) rechunk: bool,
    schema: Option<SchemaRef>,
    label: Option<&'static str>,
    core: Option<Arc<Core>>,
}

impl<'a, S, P> FrameChunks<'a, S, P> {
    pub(super) fn new(whole: &'a S, plan: P) -> Self {
        Self { whole, plan, rechunk: false, schema: None, label: None, core: None }
    }

    /// Whether the result's columns are copied into one piece each; `false` unless said. Columns of objects never are.
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

    /// The columns that each chunk's result must have: their names, order and types.
    ///
    /// Unless said, that is what the results have in common. A column that is null throughout all chunks has the
    /// declared type then; any other difference is an error.
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

    /// Shows a bar with this label while chunks run, with rows a second and the time left: on a terminal, and with
    /// the feature `progress`.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Runs the chunks on this pool, as many at once as it has threads, instead of one a core.
    ///
    /// Chunks never run on a thread that does other work: Polars makes the threads that it is switched off on into
    /// one-thread pools of rayon, for good. A pool of any kind therefore starts plain threads for chunks beside its
    /// own when they are first needed, with its name, its hooks and its limit, and ends them with itself.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`]. What is run on the pool panics if the pool is shut down by then, and names it.
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
    pub fn on(mut self, pool: &Pool) -> Self {
        self.core = Some(Arc::clone(pool.core().with_threads("closures").frames()));
        self
    }
}

impl<S: Rows> FrameChunks<'_, S, ByRows> {
    /// Lets each chunk see `rows` rows before its own, fewer at the frame's start: for rolling windows and
    /// differences. The function gives one row for each that it sees, and those before are cut off again.
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
    pub fn overlap(mut self, rows: usize) -> Self {
        self.plan.before = rows;
        self
    }

    /// As [`overlap`](Self::overlap), for rows after its own.
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
    pub fn overlap_after(mut self, rows: usize) -> Self {
        self.plan.after = rows;
        self
    }
}

impl<S: Rows, P: Plan<S>> FrameChunks<'_, S, P> {
    /// Maps each chunk and stacks the results in row order.
    ///
    /// A column that is null throughout a chunk (type `Null`) takes the other chunks' type. Nothing is copied to
    /// stack them: the result's columns have a piece for each chunk unless [`rechunk`](Self::rechunk) is on.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] as [`FrameChunks`] says: among others where a result differs in width, a column's name or
    /// a column's type from those before it.
    #[track_caller]
    pub fn map(self, f: impl Fn(S) -> PolarsResult<S> + Sync) -> Result<S, ChunkError> {
        self.stacked(f)
    }

    /// As [`map`](Self::map), for functions with an error type of their own.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map); the function's error is the [`ChunkError`]'s `source`.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// #[derive(Debug, PartialEq)]
    /// struct TooLate(i64);
    /// # impl std::fmt::Display for TooLate {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    /// #         write!(f, "{} minutes late", self.0)
    /// #     }
    /// # }
    /// impl std::error::Error for TooLate {}
    ///
    /// let df = df!("delay" => [5_i64, 700, 7])?;
    /// let checked = df.par_rows(1).try_map(|chunk| match chunk.column("delay")?.i64()?.max() {
    ///     Some(late) if late > 600 => Err(Box::from(TooLate(late))),
    ///     _ => Ok::<_, Box<dyn std::error::Error + Send + Sync>>(chunk),
    /// });
    /// let error = checked.unwrap_err();
    /// assert_eq!(error.to_string(), "chunk 1 (rows 1..2): 700 minutes late");
    /// assert_eq!(error.source.downcast_ref(), Some(&TooLate(700)));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn try_map<E>(self, f: impl Fn(S) -> Result<S, E> + Sync) -> Result<S, ChunkError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.stacked(f)
    }

    /// Maps each chunk to a series and appends the results in row order.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("x" => 0..10_i64)?;
    /// let doubled = df.par_chunks(4).map_series(|chunk| Ok(chunk.column("x")?.as_materialized_series() * 2))?;
    /// assert_eq!(doubled.sum::<i64>()?, 90);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn map_series(self, f: impl Fn(S) -> PolarsResult<Series> + Sync) -> Result<Series, ChunkError> {
        self.stacked(f)
    }

    /// Maps each chunk to a value, and folds the values in row order. The same chunks give the same result, to
    /// the last bit of a float, on any number of threads.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map); and where chunks [overlap](FrameChunks::overlap), as no rows could be cut off a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("x" => 0..1_000_i64)?;
    /// let sum = df.par_chunks(8).map_reduce(|chunk| Ok(chunk.column("x")?.i64()?.sum().unwrap_or(0)), |a, b| a + b)?;
    /// assert_eq!(sum, 499_500);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn map_reduce<T: Send>(
        self,
        f: impl Fn(S) -> PolarsResult<T> + Sync,
        fold: impl Fn(T, T) -> T,
    ) -> Result<T, ChunkError> {
        let values = self.values(f)?;
        // A frame is never cut into no chunks at all.
        let folded = values.into_iter().reduce(fold);
        folded.ok_or_else(|| BadCut::Asked("there were no chunks to fold").into())
    }

    /// Runs the function on each chunk for what it does.
    ///
    /// # Errors
    ///
    /// As [`map_reduce`](Self::map_reduce).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let (df, rows) = (df!("x" => 0..1_000_i64)?, AtomicUsize::new(0));
    /// df.par_chunks(8).for_each(|chunk| {
    ///     rows.fetch_add(chunk.height(), Ordering::Relaxed);
    ///     Ok(())
    /// })?;
    /// assert_eq!(rows.into_inner(), 1_000);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn for_each(self, f: impl Fn(S) -> PolarsResult<()> + Sync) -> Result<(), ChunkError> {
        self.values(f).map(drop)
    }

    #[track_caller]
    fn values<T: Send>(&self, f: impl Fn(S) -> PolarsResult<T> + Sync) -> Result<Vec<T>, ChunkError> {
        if let Some(why) = self.plan.needs_rows() {
            return Err(BadCut::Asked(why).into());
        }
        let pieces = self.pieces()?;
        self.run(&pieces, type_name_of_val(&f), |piece| f(pieces.take(self.whole, piece)?))
    }

    #[track_caller]
    fn stacked<R, E>(self, f: impl Fn(S) -> Result<R, E> + Sync) -> Result<R, ChunkError>
    where
        R: Rows,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let pieces = self.pieces()?;
        let parts = self.run(&pieces, type_name_of_val(&f), |piece| -> Result<R, Box<dyn Error + Send + Sync>> {
            let chunk = pieces.take(self.whole, piece)?;
            let result = f(chunk).map_err(Into::into)?;
            Ok(pieces.trim(piece, result).map_err(Misfit::Own)?)
        })?;
        self.joined(&pieces, parts)
    }

    /// Decides on the pieces.
    pub(super) fn pieces(&self) -> Result<P::Pieces, ChunkError> {
        let workers = MapWorkers::of(self.core(), false).count();
        Ok(self.plan.pieces(self.whole, workers)?)
    }

    /// The declared schema.
    pub(super) fn declared(&self) -> Option<&Schema> {
        self.schema.as_deref()
    }

    /// Where chunks run.
    fn core(&self) -> &Arc<Core> {
        self.core.as_ref().unwrap_or_else(|| Pool::frames().core())
    }

    /// Puts the results of all pieces together.
    pub(super) fn joined<R: Rows>(&self, pieces: &P::Pieces, parts: Vec<R>) -> Result<R, ChunkError> {
        let misfit = |misfit: GatherError| {
            let chunk = misfit.chunk();
            ChunkError::new(chunk, pieces.rows(chunk), Misfit::Others(misfit))
        };
        let whole = R::stack(parts, self.declared()).map_err(misfit)?;
        let whole = pieces.finish(whole).map_err(BadCut::Polars)?;
        Ok(if self.rechunk { whole.in_one_piece() } else { whole })
    }

    /// Runs the function, in the name of the user's, on each piece, by its number, and gives the results in row order.
    #[track_caller]
    pub(super) fn run<T, E, F>(&self, pieces: &P::Pieces, name: &'static str, f: F) -> Result<Vec<T>, ChunkError>
    where
        T: Send,
        F: Fn(usize) -> Result<T, E> + Sync,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let rows = (0..pieces.count()).map(|piece| pieces.height(piece) as u64).sum();
        let bar = Bar::new(self.label, Some(rows));
        let run = CollectRun {
            workers: MapWorkers::of(self.core(), false),
            name,
            grain: Grain::Size(1),
            bar: None,
            call: |chunk: usize| {
                let cause = match isolated(name, || f(chunk)) {
                    Ok(value) => {
                        if let Some(bar) = &bar {
                            bar.advance(pieces.height(chunk));
                        }
                        return Ok(value);
                    }
                    Err(cause) => cause,
                };
                Err(ChunkError::new(chunk, pieces.rows(chunk), cause))
            },
            accept: |result| result,
            can_stop: true,
        };
        run.collect(Items::into_source(0..pieces.count()), CallProof::from_bounds())
    }
}

/// Runs a chunk's function, of this name, with Polars' threads off; a panic in it is an error.
pub(super) fn isolated<T, E>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, Box<dyn Error + Send + Sync>>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    // A caller that does its own work serially keeps Polars as it is.
    let _guard = (!config::serial()).then(serial_polars);
    match panics::catch(name, work) {
        Ok(result) => result.map_err(Into::into),
        Err(panicked) => Err(panicked.into()),
    }
}
