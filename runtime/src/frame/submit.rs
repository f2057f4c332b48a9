//! [`FrameChunks::map_async`] and [`FrameChunks::submit`]: a frame in chunks as a task, for async code.

use std::any::{type_name, type_name_of_val};
use std::sync::Arc;

use polars::prelude::PolarsResult;

use super::chunks::FrameChunks;
use super::error::ChunkError;
use super::plan::ChunkStrategy;
use super::rows::Rows;
use crate::pool::Pool;
use crate::task::Task;
use crate::task::send_proof::CallProof;
use crate::task::slot::{Slot, TaskOptions};

/// Starts what waits for the chunks of a frame as a task. It runs on a thread of the default io pool, where waiting
/// keeps no core idle, and where Polars' threads are on.
#[track_caller]
pub(super) fn start<T: Send + 'static>(name: &'static str, work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    let core = Arc::clone(Pool::io_default().core());
    let slot = Slot::new(Arc::clone(&core), name, TaskOptions::default(), work, CallProof::from_bounds());
    Task::start(&core, slot)
}

impl<S, P> FrameChunks<'_, S, P>
where
    S: Rows + Clone + Send + Sync + 'static,
    P: ChunkStrategy<S> + Send + 'static,
{
    /// Starts the mapping as a task, and returns it to `.await` or to [`join`](Task::join): [`map`](Self::map) that
    /// never blocks the calling thread. The task holds a clone of the frame, which shares its buffers.
    ///
    /// The task waits on a thread of the default io pool, and the chunks run where they do without it. Cancelled while
    /// it is queued, nothing runs.
    ///
    /// # Errors
    ///
    /// The task ends with [`TaskError::Panicked`](crate::TaskError::Panicked) where `map` panics. The inner error is
    /// that of `map`.
    ///
    /// # Panics
    ///
    /// If the default io pool cannot be started, and after [`on_progress`](Self::on_progress): its function may borrow
    /// from the caller. Call it inside of [`submit`](Self::submit).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # pollster::block_on(async {
    /// let df = df!("x" => 0..1_000_i64)?;
    /// let out = df.par_chunks(8).map_async(|chunk| Ok(chunk.head(Some(1)))).await??;
    /// assert_eq!(out.height(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn map_async(self, f: impl Fn(S) -> PolarsResult<S> + Send + Sync + 'static) -> Task<Result<S, ChunkError>> {
        self.start(type_name_of_val(&f), move |chunks| chunks.map(f))
    }

    /// As [`map_async`](Self::map_async), with another end: `run` gets the chunks on the thread of the task.
    ///
    /// # Panics
    ///
    /// As [`map_async`](Self::map_async).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # pollster::block_on(async {
    /// let df = df!("x" => 0..1_000_i64)?;
    /// let sum = |chunk: DataFrame| Ok(chunk.column("x")?.i64()?.sum().unwrap_or(0));
    /// let sum = df.par_chunks(8).submit(move |chunks| chunks.map_reduce(sum, |a, b| a + b)).await??;
    /// assert_eq!(sum, 499_500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn submit<T, R>(self, run: R) -> Task<T>
    where
        T: Send + 'static,
        R: FnOnce(FrameChunks<'_, S, P>) -> T + Send + 'static,
    {
        self.start(type_name::<R>(), run)
    }

    #[track_caller]
    fn start<T: Send + 'static>(
        self,
        name: &'static str,
        run: impl FnOnce(FrameChunks<'_, S, P>) -> T + Send + 'static,
    ) -> Task<T> {
        let Self { frame, strategy, rechunk, schema, label, report, core } = self;
        assert!(
            report.is_none(),
            "the function of `on_progress` may borrow from the caller, which a task may outlive: call `on_progress` \
             inside of `submit`, `chunks.submit(|chunks| chunks.on_progress(..).map(..))`"
        );
        let frame = frame.clone();
        start(name, move || run(FrameChunks { frame: &frame, strategy, rechunk, schema, label, report: None, core }))
    }
}
