//! [`ScanMap`]: a scan's mapped chunks, and what becomes of them.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use polars::prelude::*;

use super::Scan;
use super::error::ScanError;
use super::patterns::pattern_of;
use super::pipeline::{self, Ending, Place};
use super::sink::{CsvFile, IpcFile, ParquetFile, Sink, SinkFile};
use crate::frame::concat;
use crate::frame::error::{ChunkError, Misfit};

/// A [`Scan`] with a function; nothing is read before it is ended.
///
/// Results are handed on in input order. Of several failures the first in input order is what comes back; no further
/// chunk is started after one.
#[must_use = "a scan is lazy: end it with a sink, `collect`, `for_each` or `reduce`"]
pub struct ScanMap<F> {
    scan: Scan,
    f: F,
    sync: bool,
}

impl<F> ScanMap<F> {
    pub(super) fn new(scan: Scan, f: F) -> Self {
        Self { scan, f, sync: true }
    }

    /// Whether a sink waits until its file is on the disk before it gives the file its name, and then until the name is;
    /// `true` unless said. Without it, a power failure soon after may leave an empty or incomplete file in place of the
    /// one that was there before; a failure of the program alone never does.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// let (lazy, path) = (df!("x" => 0..10_i64)?.lazy(), folder.path().join("x.parquet"));
    /// lazy.par_rows(4).map(Ok).sync(false).sink_parquet(&path)?; // it can be made again
    /// assert_eq!(scan_parquet(&path).map(Ok).collect()?.height(), 10);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "fsync")]
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Runs `op` on each result, in input order.
    ///
    /// # Errors
    ///
    /// [`ScanError`] if the input cannot be read, or if the function or `op` fails or panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let (lazy, mut heights) = (df!("x" => 0..10_i64)?.lazy(), Vec::new());
    /// lazy.par_rows(4).map(|chunk| Ok(chunk.height())).for_each(|height| {
    ///     heights.push(height); // one at a time, in input order
    ///     Ok(())
    /// })?;
    /// assert_eq!(heights, [4, 4, 2]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn for_each<T: Send>(self, op: impl FnMut(T) -> PolarsResult<()> + Send) -> Result<(), ScanError>
    where
        F: Fn(DataFrame) -> PolarsResult<T> + Sync,
    {
        pipeline::run(self.scan, &self.f, &InTurn(Mutex::new(op)))
    }

    /// Folds the results, in input order.
    ///
    /// # Errors
    ///
    /// As [`for_each`](Self::for_each).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("x" => 0..10_i64)?.lazy();
    /// let sum = lazy.par_rows(4).map(|chunk| Ok(chunk.column("x")?.i64()?.sum().unwrap_or(0))).reduce(|a, b| a + b)?;
    /// assert_eq!(sum, 45);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn reduce<T: Send>(self, fold: impl Fn(T, T) -> T + Sync) -> Result<T, ScanError>
    where
        F: Fn(DataFrame) -> PolarsResult<T> + Sync,
    {
        let mut folded: Option<T> = None;
        let what = self.scan.what.clone();
        self.for_each(|result| {
            folded = Some(match folded.take() {
                Some(before) => fold(before, result),
                None => result,
            });
            Ok(())
        })?;
        // An input without rows is one empty chunk.
        let none = || polars_err!(NoData: "there were no chunks to fold");
        folded.ok_or_else(|| ScanError::Read { what, source: none() })
    }

    /// Stacks the results in input order: what has become small enough for memory.
    ///
    /// # Errors
    ///
    /// As [`for_each`](Self::for_each), and if the results do not fit each other.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("x" => 0..10_i64)?.lazy();
    /// let firsts = lazy.par_rows(4).map(|chunk| Ok(chunk.head(Some(1)))).collect()?;
    /// assert_eq!(firsts, df!("x" => [0_i64, 4, 8])?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn collect(self) -> Result<DataFrame, ScanError>
    where
        F: Fn(DataFrame) -> PolarsResult<DataFrame> + Sync,
    {
        let schema = self.scan.schema.clone();
        let all = All(Mutex::new((Vec::new(), Vec::new())));
        pipeline::run(self.scan, &self.f, &all)?;
        let (places, parts) = all.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        concat::stack(parts, schema.as_deref()).map_err(|misfit| {
            let place: &Place = &places[misfit.chunk()];
            ChunkError::new(place.chunk, place.rows.clone(), Misfit::Others(misfit)).into()
        })
    }

    /// Writes the results to a Parquet file, compressed by Zstandard, a row group a chunk.
    ///
    /// The file is written beside `path`, as `.fanfold-*.tmp`, and renamed at the end: a failure leaves what was there
    /// before. What a killed program leaves of its file is removed by the next sink into that folder. A link is followed,
    /// and the new file has the permissions of the one that it replaces, and its owner where this process may give files
    /// away. Chunks of less than 32,768 rows are gathered into row groups of at least as many.
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect), and if the file cannot be written, is there and may not be written to, or is one of
    /// those that a pattern or folder of the scan stands for. A file that the scan names is read, and then replaced.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// let (lazy, path) = (df!("x" => 0..10_i64)?.lazy(), folder.path().join("x.parquet"));
    /// lazy.par_rows(4).map(Ok).sink_parquet(&path)?;
    /// assert_eq!(scan_parquet(&path).map(Ok).collect()?, df!("x" => 0..10_i64)?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn sink_parquet(self, path: impl AsRef<Path>) -> Result<(), ScanError>
    where
        F: Fn(DataFrame) -> PolarsResult<DataFrame> + Sync,
    {
        self.sink::<ParquetFile>(path.as_ref())
    }

    /// Writes the results to a CSV file with a header; otherwise as [`sink_parquet`](Self::sink_parquet).
    ///
    /// # Errors
    ///
    /// As [`sink_parquet`](Self::sink_parquet).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// let (lazy, path) = (df!("x" => 0..10_i64)?.lazy(), folder.path().join("x.csv"));
    /// lazy.par_rows(4).map(Ok).sink_csv(&path)?;
    /// assert_eq!(scan_csv(&path).map(Ok).collect()?, df!("x" => 0..10_i64)?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn sink_csv(self, path: impl AsRef<Path>) -> Result<(), ScanError>
    where
        F: Fn(DataFrame) -> PolarsResult<DataFrame> + Sync,
    {
        self.sink::<CsvFile>(path.as_ref())
    }

    /// Writes the results to an Arrow IPC (Feather) file, a record batch a chunk, not compressed; otherwise as
    /// [`sink_parquet`](Self::sink_parquet).
    ///
    /// # Errors
    ///
    /// As [`sink_parquet`](Self::sink_parquet).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// let (lazy, path) = (df!("x" => 0..10_i64)?.lazy(), folder.path().join("x.ipc"));
    /// lazy.par_rows(4).map(Ok).sink_ipc(&path)?;
    /// assert_eq!(scan_ipc(&path).map(Ok).collect()?, df!("x" => 0..10_i64)?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn sink_ipc(self, path: impl AsRef<Path>) -> Result<(), ScanError>
    where
        F: Fn(DataFrame) -> PolarsResult<DataFrame> + Sync,
    {
        self.sink::<IpcFile>(path.as_ref())
    }

    #[track_caller]
    fn sink<K: SinkFile>(self, path: &Path) -> Result<(), ScanError>
    where
        F: Fn(DataFrame) -> PolarsResult<DataFrame> + Sync,
    {
        if let Some(pattern) = self.scan.frame.as_ref().ok().and_then(|frame| pattern_of(frame, path)) {
            return Err(ScanError::Write { path: path.to_owned(), source: is_input(&pattern) });
        }
        let sink = Sink::<K>::new(path, self.scan.schema.clone(), self.sync)?;
        pipeline::run(self.scan, &self.f, &sink)?;
        sink.finish()
    }
}

fn is_input(pattern: &str) -> PolarsError {
    polars_err!(
        InvalidOperation: "it is one of the files that `{pattern}` stands for, so earlier results would be read as input: \
                           write to another folder, narrow the pattern, or remove the file first"
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls a function on each result.
struct InTurn<O>(Mutex<O>);

impl<T: Send, O: FnMut(T) -> PolarsResult<()> + Send> Ending<T> for InTurn<O> {
    type Part = T;

    fn prepare(&self, _: &Place, result: T) -> Result<T, ScanError> {
        Ok(result)
    }

    fn accept(&self, place: &Place, result: T) -> Result<(), ScanError> {
        (lock(&self.0))(result).map_err(|error| place.error(error))
    }
}

/// Keeps all results, and where they come from.
struct All(Mutex<(Vec<Place>, Vec<DataFrame>)>);

impl Ending<DataFrame> for All {
    type Part = DataFrame;

    fn prepare(&self, _: &Place, result: DataFrame) -> Result<DataFrame, ScanError> {
        Ok(result)
    }

    fn accept(&self, place: &Place, result: DataFrame) -> Result<(), ScanError> {
        let (places, parts) = &mut *lock(&self.0);
        places.push(place.clone());
        parts.push(result);
        Ok(())
    }
}
