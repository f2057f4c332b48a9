//! [`ClusterChunks`]: the chunks of a frame on a cluster.

use std::error::Error;
use std::fmt;

use fanfold::backend::{self, ChunkStrategy, Code};
use fanfold::{ChunkError, FrameChunks, Place, RemoteTask, TaskError};
use polars::prelude::*;

use crate::Cluster;

/// What a chunk's function may return: a frame, a `Result` of any value, or another single value.
pub trait ChunkResult: sealed::Sealed {
    /// The value.
    type Value;
    /// Whether it is a `Result`.
    #[doc(hidden)]
    const FALLIBLE: bool;
    /// The value, or the function's error.
    #[doc(hidden)]
    fn into_value(self) -> Result<Self::Value, Box<dyn Error + Send + Sync>>;
}

mod sealed {
    pub trait Sealed {}
    impl<T, E> Sealed for Result<T, E> {}
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> ChunkResult for Result<T, E> {
    type Value = T;
    const FALLIBLE: bool = true;

    fn into_value(self) -> Result<T, Box<dyn Error + Send + Sync>> {
        self.map_err(Into::into)
    }
}

macro_rules! values {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}
        impl ChunkResult for $type {
            type Value = Self;
            const FALLIBLE: bool = false;

            fn into_value(self) -> Result<Self, Box<dyn Error + Send + Sync>> {
                Ok(self)
            }
        }
    )*};
}
values!(DataFrame, Series, Column, (), bool, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64, String);

/// A frame whose chunks run on a cluster: `df.par_chunks(n).on(&cluster)`.
///
/// It takes functions as `name::task()`, which the executors find by name. Order, errors and progress are those of
/// [`FrameChunks`].
#[must_use = "chunks are lazy: end them with `map`, `map_series`, `map_reduce` or `for_each`"]
pub struct ClusterChunks<'a, P> {
    chunks: FrameChunks<'a, DataFrame, P>,
    cluster: Cluster,
}

impl<P: fmt::Debug> fmt::Debug for ClusterChunks<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterChunks").field("chunks", &self.chunks).field("cluster", &self.cluster).finish()
    }
}

impl<'a, P> Place<FrameChunks<'a, DataFrame, P>> for Cluster {
    type Placed = ClusterChunks<'a, P>;

    #[track_caller]
    fn place(&self, chunks: FrameChunks<'a, DataFrame, P>) -> ClusterChunks<'a, P> {
        ClusterChunks { chunks: chunks.on(backend::waiting_pool()), cluster: self.clone() }
    }
}

impl<'a, P: ChunkStrategy<DataFrame>> ClusterChunks<'a, P> {
    /// Maps each chunk and stacks the results in row order.
    ///
    /// # Errors
    ///
    /// As [`FrameChunks::map`]: the first failing chunk in row order, with its number, its rows and the cause. The text
    /// names the function, and the executor where that failed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use fanfold::{parallel, prelude::*};
    /// use fanfold_cluster::LocalCluster;
    /// use polars::prelude::*;
    ///
    /// #[parallel(kind = "cluster")]
    /// fn double(chunk: DataFrame) -> PolarsResult<DataFrame> {
    ///     chunk.lazy().select([col("x") * lit(2)]).collect()
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     fanfold_cluster::init();
    ///     let cluster = LocalCluster::start(2)?;
    ///     let df = df!("x" => 0..1_000_i64)?;
    ///     let doubled = df.par_chunks(8).on(&cluster).map(double::task())?;
    ///     assert_eq!(doubled, double(df)?);
    ///     Ok(())
    /// }
    /// ```
    #[track_caller]
    pub fn map<R, C, D>(self, task: RemoteTask<(DataFrame,), R, C, D>) -> Result<DataFrame, ChunkError>
    where
        R: ChunkResult<Value = DataFrame>,
        C: Code<(DataFrame,)> + Sync,
        D: Code<R> + Sync,
    {
        let task = task.on_backend(self.cluster.backend());
        self.chunks.try_map(|chunk| value_of(task.call((chunk,))))
    }

    /// Maps each chunk to a `Series` and appends the results in row order.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    #[track_caller]
    pub fn map_series<R, C, D>(self, task: RemoteTask<(DataFrame,), R, C, D>) -> Result<Series, ChunkError>
    where
        R: ChunkResult<Value = Series>,
        C: Code<(DataFrame,)> + Sync,
        D: Code<R> + Sync,
    {
        let task = task.on_backend(self.cluster.backend());
        self.chunks.map_series(|chunk| value_of(task.call((chunk,))).map_err(into_polars))
    }

    /// Maps each chunk to a value, and folds the values in row order.
    ///
    /// # Errors
    ///
    /// As [`FrameChunks::map_reduce`].
    #[track_caller]
    pub fn map_reduce<R, C, D>(
        self,
        task: RemoteTask<(DataFrame,), R, C, D>,
        fold: impl Fn(R::Value, R::Value) -> R::Value,
    ) -> Result<R::Value, ChunkError>
    where
        R: ChunkResult<Value: Send>,
        C: Code<(DataFrame,)> + Sync,
        D: Code<R> + Sync,
    {
        let task = task.on_backend(self.cluster.backend());
        self.chunks.map_reduce(|chunk| value_of(task.call((chunk,))).map_err(into_polars), fold)
    }

    /// Runs the function on each chunk, in no fixed order.
    ///
    /// # Errors
    ///
    /// As [`map_reduce`](Self::map_reduce).
    #[track_caller]
    pub fn for_each<R, C, D>(self, task: RemoteTask<(DataFrame,), R, C, D>) -> Result<(), ChunkError>
    where
        R: ChunkResult<Value = ()>,
        C: Code<(DataFrame,)> + Sync,
        D: Code<R> + Sync,
    {
        let task = task.on_backend(self.cluster.backend());
        self.chunks.for_each(|chunk| value_of(task.call((chunk,))).map_err(into_polars))
    }

    /// As [`FrameChunks::progress`].
    pub fn progress(self, label: &'static str) -> Self {
        Self { chunks: self.chunks.progress(label), ..self }
    }

    /// As [`FrameChunks::on_progress`].
    pub fn on_progress(self, report: impl Fn(usize, Option<usize>) + Send + Sync + 'a) -> Self {
        Self { chunks: self.chunks.on_progress(report), ..self }
    }

    /// As [`FrameChunks::schema`].
    pub fn schema(self, schema: impl Into<SchemaRef>) -> Self {
        Self { chunks: self.chunks.schema(schema), ..self }
    }

    /// As [`FrameChunks::rechunk`].
    pub fn rechunk(self, rechunk: bool) -> Self {
        Self { chunks: self.chunks.rechunk(rechunk), ..self }
    }
}

/// The value of a call, or why there is none: its own error, or that of the cluster.
pub(crate) fn value_of<R: ChunkResult>(
    outcome: Result<R, TaskError>,
) -> Result<R::Value, Box<dyn Error + Send + Sync>> {
    match outcome {
        Ok(result) => result.into_value(),
        Err(error) => Err(Box::new(error)),
    }
}

/// The error as one of Polars, which keeps its own.
fn into_polars(error: Box<dyn Error + Send + Sync>) -> PolarsError {
    match error.downcast::<PolarsError>() {
        Ok(error) => *error,
        Err(error) => PolarsError::ComputeError(error.to_string().into()),
    }
}
