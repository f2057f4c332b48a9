//! [`ScanMap`]: a scan with a function for its chunks, and the methods that run it.

use std::fmt;
use std::path::Path;

use polars::prelude::*;

use super::Scan;
use super::atomic_file::SinkOptions;
use super::chunk_fn::ChunkFn;
use super::error::ScanError;
use super::listing::ListingScan;
use crate::frame::on_error::OnError;

/// A [`Scan`] with a function for its chunks. It is lazy: nothing is read before one of its methods runs it.
///
/// Results are consumed in input order. Of several failures the first in input order is returned; no further chunk is
/// started after a failure.
#[must_use = "a scan is lazy: end it with a sink, `collect`, `for_each` or `reduce`"]
pub struct ScanMap<F> {
    pub(super) scan: Scan,
    pub(super) f: F,
    pub(super) sink: SinkOptions,
}

impl<F> fmt::Debug for ScanMap<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanMap").field("scan", &self.scan).finish_non_exhaustive()
    }
}

impl<F> ScanMap<F> {
    pub(super) fn new(scan: Scan, f: F) -> Self {
        Self { scan, f, sink: SinkOptions { sync: true, overwrite: true } }
    }

    /// Sets whether a sink syncs its file to the disk before it renames the file to its name, and the folder
    /// afterwards; the default is `true`.
    ///
    /// Without it, a power failure soon afterwards may leave an empty or incomplete file in place of the one that was
    /// there before. A failure of the program alone never does.
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
        self.sink.sync = sync;
        self
    }

    /// Sets whether a sink may replace an existing file; the default is `true`. Otherwise a file that is there at the
    /// start is an error before anything is read, and one that another program makes meanwhile is an error too, and
    /// left as it is. Devices and pipes are written to in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// let (df, path) = (df!("x" => 0..10_i64)?, folder.path().join("x.parquet"));
    /// let write = || df.clone().lazy().par_rows(4).map(Ok).overwrite(false).sink_parquet(&path);
    /// write()?;
    /// assert!(write().unwrap_err().to_string().contains("may not be overwritten"));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "exist_ok")]
    #[doc(alias = "if_exists")]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.sink.overwrite = overwrite;
        self
    }

    /// Sets what happens with chunks that fail. The methods that run the scan then return the errors of the chunks that
    /// were left out, in input order, beside the result of the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::OnError;
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// let (lazy, path) = (df!("text" => ["1", "2", "x", "4"])?.lazy(), folder.path().join("numbers.parquet"));
    /// let parse = |chunk: DataFrame| chunk.lazy().select([col("text").strict_cast(DataType::Int64)]).collect();
    /// let failed = lazy.par_rows(1).map(parse).on_error(OnError::Skip).sink_parquet(&path)?;
    /// assert_eq!(failed.iter().map(|error| error.rows()).collect::<Vec<_>>(), [2..3]);
    /// assert_eq!(scan_parquet(&path).map(Ok).collect()?, df!("text" => [1_i64, 2, 4])?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "skip")]
    pub fn on_error(self, on_error: OnError) -> ListingScan<F> {
        ListingScan { map: self, on_error }
    }

    /// Calls `op` with each result, in input order and one at a time.
    ///
    /// # Errors
    ///
    /// [`ScanError`] if the input cannot be read, or if the function or `op` returns an error or panics.
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
        F: ChunkFn<T>,
    {
        self.on_error(OnError::Stop).for_each(op).map(drop)
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
    #[doc(alias = "fold")]
    pub fn reduce<T: Send>(self, fold: impl Fn(T, T) -> T + Sync) -> Result<T, ScanError>
    where
        F: ChunkFn<T>,
    {
        let mut folded: Option<T> = None;
        let what = self.scan.input_name.clone();
        self.for_each(|result| {
            folded = Some(match folded.take() {
                Some(before) => fold(before, result),
                None => result,
            });
            Ok(())
        })?;
        // An input without rows has one empty chunk, so there is a result.
        let no_chunks = || polars_err!(NoData: "there were no chunks to fold");
        folded.ok_or_else(|| ScanError::Read { what, source: no_chunks() })
    }

    /// Stacks the results in input order. They are all in memory at the end.
    ///
    /// # Errors
    ///
    /// As [`for_each`](Self::for_each), and if the results differ in their columns.
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
    #[doc(alias = "compute")]
    pub fn collect(self) -> Result<DataFrame, ScanError>
    where
        F: ChunkFn<DataFrame>,
    {
        Ok(self.on_error(OnError::Stop).collect()?.0)
    }

    /// Writes the results to a Parquet file, compressed with Zstandard, with one row group per chunk.
    ///
    /// The file is written as `.fanfold-*.tmp` in the same folder, and renamed to `path` at the end: a failure leaves
    /// the old file as it was. The next sink into that folder removes the temporary file of a killed program. A
    /// symbolic link is followed. The new file has the permissions of the one that it replaces, and its owner if this
    /// process may set it. Chunks of less than 32,768 rows are gathered into row groups of at least as many.
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect); if the file cannot be written, or exists and is not writable; and if the file
    /// exists and a pattern or folder of the scan matches it. A file that the scan names is read, and then replaced.
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
    #[doc(alias = "to_parquet")]
    #[doc(alias = "write_parquet")]
    pub fn sink_parquet(self, path: impl AsRef<Path>) -> Result<(), ScanError>
    where
        F: ChunkFn<DataFrame>,
    {
        self.on_error(OnError::Stop).sink_parquet(path).map(drop)
    }

    /// Writes the results to Parquet files in folders `key=value` of a folder, by the values of the columns `by`, in the
    /// layout of Hive, Spark and Dask. [`scan_parquet`](crate::scan_parquet) of the folder reads them again.
    ///
    /// The files do not have the columns of the folders' names. A null is named `__HIVE_DEFAULT_PARTITION__`, and is
    /// read as null. The rows of a folder are in input order, and its files by their names. A folder has one file for
    /// each chunk with at least 32,768 rows for it; shorter parts are gathered.
    ///
    /// The folder is written as `.fanfold-*.tmp` beside `dir`, and renamed to `dir` at the end: a failure leaves
    /// nothing. Results without any row give an empty folder.
    ///
    /// # Errors
    ///
    /// As [`sink_parquet`](Self::sink_parquet); if `dir` exists and is not an empty folder; if the results have no such
    /// column, or no other column; and if a column has a type whose values cannot be names: integers, floats, strings,
    /// booleans, dates, datetimes, categoricals and enums can.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// let (df, dir) = (df!("year" => [2023_i64, 2024, 2023], "x" => [1, 2, 3])?, folder.path().join("by_year"));
    /// df.lazy().par().map(Ok).sink_parquet_partitioned(&dir, ["year"])?;
    /// assert!(dir.join("year=2023").is_dir());
    /// let rows = scan_parquet(&dir).filter(col("year").eq(lit(2023))).select(["x"]).map(Ok).collect()?;
    /// assert_eq!(rows, df!("x" => [1, 3])?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    #[doc(alias = "partition_on")]
    #[doc(alias = "partition_cols")]
    #[doc(alias = "hive")]
    pub fn sink_parquet_partitioned<K>(self, dir: impl AsRef<Path>, by: K) -> Result<(), ScanError>
    where
        K: IntoIterator<Item: Into<PlSmallStr>>,
        F: ChunkFn<DataFrame>,
    {
        self.on_error(OnError::Stop).sink_parquet_partitioned(dir, by).map(drop)
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
    #[doc(alias = "to_csv")]
    #[doc(alias = "write_csv")]
    pub fn sink_csv(self, path: impl AsRef<Path>) -> Result<(), ScanError>
    where
        F: ChunkFn<DataFrame>,
    {
        self.on_error(OnError::Stop).sink_csv(path).map(drop)
    }

    /// Writes the results to an Arrow IPC (Feather) file, with one record batch per chunk and without compression;
    /// otherwise as [`sink_parquet`](Self::sink_parquet).
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
    #[doc(alias = "to_feather")]
    #[doc(alias = "write_ipc")]
    pub fn sink_ipc(self, path: impl AsRef<Path>) -> Result<(), ScanError>
    where
        F: ChunkFn<DataFrame>,
    {
        self.on_error(OnError::Stop).sink_ipc(path).map(drop)
    }
}
