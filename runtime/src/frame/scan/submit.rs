//! [`ScanMap::collect_async`] and [`ScanMap::submit`]: a scan as a task, for async code.

use std::any::type_name;

use polars::prelude::*;

use super::chunk_fn::ChunkFn;
use super::error::ScanError;
use super::map::ScanMap;
use crate::frame::submit;
use crate::task::Task;

impl<F: Send + 'static> ScanMap<F> {
    /// Starts the scan as a task, and returns it to `.await` or to [`join`](Task::join): [`collect`](Self::collect) that
    /// never blocks the calling thread.
    ///
    /// The task waits on a thread of the default io pool, and the chunks run where they do without it. Cancelled while
    /// it is queued, the scan does not run.
    ///
    /// # Errors
    ///
    /// The task ends with [`TaskError::Panicked`](crate::TaskError::Panicked) where `collect` panics. The inner error is
    /// that of `collect`.
    ///
    /// # Panics
    ///
    /// If the default io pool cannot be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # pollster::block_on(async {
    /// let lazy = df!("x" => 0..10_i64)?.lazy();
    /// let firsts = lazy.par_rows(4).map(|chunk| Ok(chunk.head(Some(1)))).collect_async().await??;
    /// assert_eq!(firsts, df!("x" => [0_i64, 4, 8])?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn collect_async(self) -> Task<Result<DataFrame, ScanError>>
    where
        F: ChunkFn<DataFrame>,
    {
        submit::start(type_name::<F>(), move || self.collect())
    }

    /// As [`collect_async`](Self::collect_async), with another end: `run` gets the scan on the thread of the task.
    ///
    /// # Panics
    ///
    /// As [`collect_async`](Self::collect_async).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # pollster::block_on(async {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("x.parquet");
    /// let (lazy, output) = (df!("x" => 0..10_i64)?.lazy(), path.clone());
    /// lazy.par_rows(4).map(Ok).submit(|scan| scan.sink_parquet(output)).await??;
    /// assert_eq!(scan_parquet(&path).map(Ok).collect_async().await??.height(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn submit<T: Send + 'static>(self, run: impl FnOnce(Self) -> T + Send + 'static) -> Task<T> {
        submit::start(type_name::<F>(), move || run(self))
    }
}
