//! [`FrameChunks`]: a frame to be mapped in chunks, and the methods that map it.

use std::any::type_name_of_val;
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use polars::prelude::*;

use super::error::{ChunkError, ChunkMismatch, FrameError};
use super::on_error::OnError;
use super::plan::{ByRows, ChunkPlan, ChunkStrategy};
use super::rows::Rows;
use crate::chunks::gather::GatherError;
use crate::error::panics;
use crate::map::progress::{Bar, ProgressFn};
use crate::map::{CollectRun, Grain, Items, MapWorkers};
use crate::pool::Core;
use crate::pool::Pool;
use crate::pool::config;
use crate::pool::polars_threads::serial_polars;
use crate::pool::work_span::ChunkClock;
use crate::task::send_proof::CallProof;

/// A frame to be mapped in chunks. [`ParallelFrame`](crate::ParallelFrame) and
/// [`ParallelSeries`](crate::ParallelSeries) create it. It is lazy: nothing runs before one of its methods maps the
/// chunks.
///
/// Every such method returns a [`ChunkError`] with the chunk and its rows if a chunk's function returns an error or
/// panics, or if its result has other columns than the other results. Of several failing chunks the first in row order
/// is returned, and chunks behind it are not started.
///
/// A function may map frames itself, and wait for tasks and scans: its worker lets another one run meanwhile. A
/// function that waits in another way, such as for a thread, a rayon pool or a streaming query, keeps its worker. If
/// that thread maps a frame while all workers are busy for 100 ms, the pool starts one extra thread for as long as the
/// frame is mapped. A worker that has waited, and then finds all others busy for 1 s, continues in addition to them.
///
/// `S` is the type that is cut (`DataFrame`, `Series` or `Column`), and `P` is the strategy: by rows or by groups.
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
    pub(super) frame: &'a S,
    pub(super) strategy: P,
    pub(super) rechunk: bool,
    pub(super) schema: Option<SchemaRef>,
    pub(super) label: Option<&'static str>,
    pub(super) report: Option<ProgressFn<'a>>,
    pub(super) core: Option<Arc<Core>>,
}

impl<'a, S, P> FrameChunks<'a, S, P> {
    pub(super) fn new(frame: &'a S, strategy: P) -> Self {
        Self { frame, strategy, rechunk: false, schema: None, label: None, report: None, core: None }
    }
}

impl<S, P: fmt::Debug> fmt::Debug for FrameChunks<'_, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameChunks").field("strategy", &self.strategy).finish_non_exhaustive()
    }
}

impl<S: Rows, P: ChunkStrategy<S>> FrameChunks<'_, S, P> {
    /// Maps each chunk and stacks the results in row order.
    ///
    /// A column that is null in a whole chunk (type `Null`) takes the type of the other chunks. Stacking copies no
    /// values: the result's columns have one buffer per chunk unless [`rechunk`](Self::rechunk) is set.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] as described at [`FrameChunks`], for example if a result differs from those before it in width,
    /// or in the name or type of a column.
    #[track_caller]
    #[doc(alias = "map_partitions")]
    #[doc(alias = "map_batches")]
    #[doc(alias = "apply")]
    pub fn map(self, f: impl Fn(S) -> PolarsResult<S> + Sync) -> Result<S, ChunkError> {
        self.map_and_stack(f)
    }

    /// As [`map`](Self::map), for functions with another error type.
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
        self.map_and_stack(f)
    }

    /// As [`map`](Self::map), for functions that take the number of the chunk and its rows in the input too.
    ///
    /// With an [overlap](FrameChunks::overlap), the rows are those of the chunk without it. If the chunk has groups
    /// whose rows are not adjacent, they are the range from the first row to the last one.
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
    /// let numbered = df.par_rows(4).map_indexed(|chunk, rows, frame| {
    ///     assert_eq!(rows.start, 4 * chunk);
    ///     frame.with_row_index("row".into(), Some(rows.start as IdxSize))
    /// })?;
    /// assert_eq!(numbered, df.with_row_index("row".into(), None)?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    #[doc(alias = "enumerate")]
    pub fn map_indexed(self, f: impl Fn(usize, Range<usize>, S) -> PolarsResult<S> + Sync) -> Result<S, ChunkError> {
        let plan = self.make_plan()?;
        let name = type_name_of_val(&f);
        self.map_planned(&plan, name, |chunk, frame| f(chunk, plan.rows(chunk), frame))
    }

    /// Maps each chunk to a `Series` and appends the results in row order.
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
        self.map_and_stack(f)
    }

    /// Maps each chunk to a value, and folds the values in row order. With the same chunks the result is the same on
    /// any number of threads, to the last bit of a float.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map); and if chunks [overlap](FrameChunks::overlap), as the overlap cannot be cut off a value.
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
    #[doc(alias = "fold")]
    #[doc(alias = "reduction")]
    pub fn map_reduce<T: Send>(
        self,
        f: impl Fn(S) -> PolarsResult<T> + Sync,
        fold: impl Fn(T, T) -> T,
    ) -> Result<T, ChunkError> {
        let values = self.collect_values(f)?;
        // A plan has at least one chunk, so there is a value.
        let folded = values.into_iter().reduce(fold);
        folded.ok_or_else(|| FrameError::InvalidRequest("there were no chunks to fold").into())
    }

    /// Calls the function with each chunk, on several threads at once and in no fixed order.
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
        self.collect_values(f).map(drop)
    }

    #[track_caller]
    fn collect_values<T: Send>(&self, f: impl Fn(S) -> PolarsResult<T> + Sync) -> Result<Vec<T>, ChunkError> {
        let plan = self.make_plan_for_values()?;
        self.run_chunks(&plan, type_name_of_val(&f), |chunk| f(plan.extract(self.frame, chunk)?), Ok)
    }

    #[track_caller]
    fn map_and_stack<R, E>(self, f: impl Fn(S) -> Result<R, E> + Sync) -> Result<R, ChunkError>
    where
        R: Rows,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let plan = self.make_plan()?;
        self.map_planned(&plan, type_name_of_val(&f), |_, chunk| f(chunk))
    }

    /// Maps the chunks of a plan by a function of their numbers, and stacks the results.
    #[track_caller]
    fn map_planned<R, E>(
        &self,
        plan: &P::Plan,
        name: &'static str,
        f: impl Fn(usize, S) -> Result<R, E> + Sync,
    ) -> Result<R, ChunkError>
    where
        R: Rows,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.run_chunks(plan, name, self.chunk_fn(plan, f), |results| self.stack_results(plan, results))
    }

    /// The function of a chunk's number, of a function of the chunk.
    pub(super) fn chunk_fn<R, E>(
        &self,
        plan: &P::Plan,
        f: impl Fn(usize, S) -> Result<R, E> + Sync,
    ) -> impl Fn(usize) -> Result<R, Box<dyn Error + Send + Sync>> + Sync
    where
        R: Rows,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let frame = self.frame;
        move |index| {
            let chunk = plan.extract(frame, index)?;
            let result = f(index, chunk).map_err(Into::into)?;
            Ok(plan.trim(index, result).map_err(ChunkMismatch::WithinChunk)?)
        }
    }

    /// Decides where the frame is cut.
    pub(super) fn make_plan(&self) -> Result<P::Plan, ChunkError> {
        let workers = MapWorkers::of(self.core(), false).count();
        Ok(self.strategy.plan(self.frame, workers)?)
    }

    /// As [`make_plan`](Self::make_plan), for functions whose results have no rows.
    pub(super) fn make_plan_for_values(&self) -> Result<P::Plan, ChunkError> {
        match self.strategy.requires_rows() {
            Some(reason) => Err(FrameError::InvalidRequest(reason).into()),
            None => self.make_plan(),
        }
    }

    /// The declared schema.
    pub(super) fn declared_schema(&self) -> Option<&Schema> {
        self.schema.as_deref()
    }

    /// The pool that maps the chunks.
    fn core(&self) -> &Arc<Core> {
        self.core.as_ref().unwrap_or_else(|| Pool::frames().core())
    }

    /// Stacks the results of all chunks.
    pub(super) fn stack_results<R: Rows>(&self, plan: &P::Plan, results: Vec<R>) -> Result<R, ChunkError> {
        let chunk_error = |mismatch: GatherError| {
            let chunk = mismatch.chunk();
            ChunkError::new(chunk, plan.rows(chunk), ChunkMismatch::OtherChunks(mismatch))
        };
        let stacked = R::stack(results, self.declared_schema()).map_err(chunk_error)?;
        let stacked = plan.finish(stacked).map_err(FrameError::Polars)?;
        Ok(if self.rechunk { stacked.rechunked() } else { stacked })
    }

    /// Calls `f` with the index of each chunk, on the frame threads of the pool, and `join` with the results in row
    /// order. `name` is the name of the user's function, for spans and panics.
    #[track_caller]
    pub(super) fn run_chunks<T, E, F, O>(
        &self,
        plan: &P::Plan,
        name: &'static str,
        f: F,
        join: impl FnOnce(Vec<T>) -> Result<O, ChunkError>,
    ) -> Result<O, ChunkError>
    where
        T: Send,
        F: Fn(usize) -> Result<T, E> + Sync,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.run_each(plan, name, OnError::Stop, f, |results| join(results.into_iter().collect::<Result<_, _>>()?))
    }

    /// As [`run_chunks`](Self::run_chunks), but with [`OnError::Skip`] `join` gets the errors of the chunks too.
    #[track_caller]
    pub(super) fn run_each<T, E, F, O>(
        &self,
        plan: &P::Plan,
        name: &'static str,
        on_error: OnError,
        f: F,
        join: impl FnOnce(Vec<Result<T, ChunkError>>) -> Result<O, ChunkError>,
    ) -> Result<O, ChunkError>
    where
        T: Send,
        F: Fn(usize) -> Result<T, E> + Sync,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let rows = (0..plan.count()).map(|chunk| plan.height(chunk) as u64).sum();
        let bar = Bar::new(self.label, self.report.clone(), Some(rows));
        let (core, clock) = (self.core(), ChunkClock::start());
        let run = CollectRun {
            workers: MapWorkers::begin(core, false).for_chunks(),
            name,
            grain: Grain::Size(1),
            bar: None,
            call: |chunk: usize| {
                let result = call_chunk_fn(name, || clock.observed(name, core, plan.height(chunk), || f(chunk)));
                if let Some(bar) = bar.as_ref().filter(|_| result.is_ok() || on_error == OnError::Skip) {
                    bar.advance(plan.height(chunk));
                }
                result.map_err(|cause| ChunkError::new(chunk, plan.rows(chunk), cause))
            },
            accept: |result: Result<T, ChunkError>| if on_error == OnError::Skip { Ok(result) } else { result.map(Ok) },
            can_stop: on_error == OnError::Stop,
        };
        let joined = join(run.collect(Items::into_source(0..plan.count()), CallProof::from_bounds())?)?;
        bar.iter().for_each(Bar::finish);
        Ok(joined)
    }
}

/// Calls a chunk's function with Polars' threads switched off, and turns a panic into an error. `name` is the name of
/// the user's function.
pub(super) fn call_chunk_fn<T, E>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, Box<dyn Error + Send + Sync>>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    // In serial mode the function runs on the caller's thread, whose setting is not changed.
    let _serial = (!config::serial()).then(serial_polars);
    match panics::catch(name, work) {
        Ok(result) => result.map_err(Into::into),
        Err(panicked) => Err(panicked.into()),
    }
}
