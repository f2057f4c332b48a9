//! Scans of files larger than memory (feature `polars-lazy`): a [`Scan`] reads rows in chunks, maps the chunks on
//! several threads, and passes the results on in input order, with a bounded number of chunks in memory.

mod atomic_file;
mod atomic_folder;
mod block_planner;
mod catch_panic;
mod changed_file_check;
mod chunk_fn;
mod chunk_source;
mod column_pages;
mod consumer;
mod error;
mod failing_file;
mod group_scan;
mod grouped_chunks;
mod input;
mod input_files;
mod lazy_map;
mod listing;
mod map;
mod open_file;
mod overlapping_chunks;
mod parallel_scan;
mod parquet_chunks;
mod parquet_file;
mod patterns;
mod pipeline;
mod query_batches;
mod query_steps;
mod rebatcher;
mod row_block;
mod row_group;
mod scan_chunk;
mod sink;
mod worker_once_lock;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::map::progress::ProgressFn;
use crate::pool::Core;
use crate::pool::Pool;
use chunk_fn::{IndexedFn, RowFn};
use input::Format;
use overlapping_chunks::Overlap;
use query_steps::QuerySteps;

pub use chunk_fn::ChunkFn;
pub use error::ScanError;
pub use group_scan::GroupedScan;
pub use listing::ListingScan;
pub use map::ScanMap;
pub use parallel_scan::ParallelScan;

/// The default rows per chunk of a query: the batch size of Polars' streaming engine.
const DEFAULT_CHUNK_ROWS: usize = 100_000;

/// Reads rows in chunks, from files or a `LazyFrame`. It is lazy: nothing is read before one of its methods, or of a
/// [`ScanMap`], runs it.
///
/// Each worker maps at most one chunk at a time, and at most as many results wait for an earlier chunk. So memory is
/// bounded by the size of the chunks, not by that of the input.
///
/// A function of a streaming query that waits for another thread blocks one of Polars' threads. While all of them are
/// blocked, no other query can start. If a blocked function waits for a thread that runs a query, neither ends; this is
/// so in Polars alone too. Run such a query in the function itself.
///
/// # Files that change
///
/// Each file is opened once. If it is replaced during the scan (a new file is renamed over it, as the sinks do), the
/// old contents are read. If it is modified in place, the scan returns an error that names it. CSV and IPC files of
/// more than 16 MiB are memory-mapped by Polars: if another program truncates one of these, reading it can end this
/// program with SIGBUS. Write new files and rename them over the old ones, or use Parquet: its files are never mapped.
///
/// # Hostile files
///
/// The row counts and sizes that a file claims decide no allocation, and panics of Polars become errors. But Polars'
/// decoders are not hardened against files of attackers. Read such files in a function of `kind = "process"`: its
/// worker may crash, its time is limited by `timeout`, and its memory by the `memory_limit` of the pool.
///
#[cfg_attr(feature = "process", doc = "```no_run")]
#[cfg_attr(not(feature = "process"), doc = "```ignore")]
/// use fanfold::prelude::*;
/// use fanfold::{TaskError, parallel};
/// use polars::prelude::*;
///
/// #[parallel(kind = "process", timeout = "10s")]
/// fn read(path: String) -> Result<DataFrame, TaskError> {
///     scan_parquet(path).map(Ok).collect().map_err(|error| panic!("{error}"))
/// }
///
/// #[fanfold::main]
/// fn main() {
///     match read("upload.parquet".into()) {
///         Ok(rows) => println!("{} rows", rows.height()),
///         Err(error) => eprintln!("refused: {error}"),
///     }
/// }
/// ```
///
/// # Examples
///
/// ```
/// use fanfold::prelude::*;
/// use polars::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let (input, output) = (folder.path().join("in.csv"), folder.path().join("out.parquet"));
/// std::fs::write(&input, "miles\n100\n200\n300\n")?;
/// fn kilometres(mut chunk: DataFrame) -> PolarsResult<DataFrame> {
///     let km = chunk.column("miles")? * 1.609_344;
///     chunk.with_column(km.with_name("km".into()))?;
///     Ok(chunk)
/// }
/// scan_csv(&input).par_rows(2).map(kilometres).sink_parquet(&output)?;
///
/// let rows = scan_parquet(&output).map_reduce(|chunk| Ok(chunk.height()), |a, b| a + b)?;
/// assert_eq!(rows, 3);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "read_parquet")]
#[doc(alias = "read_csv")]
#[must_use = "a scan is lazy: end it with `map`, `for_each` or `map_reduce`"]
pub struct Scan {
    /// The path or query, for errors.
    input_name: String,
    frame: PolarsResult<LazyFrame>,
    /// What is selected of it.
    steps: QuerySteps,
    chunk_rows: Option<usize>,
    overlap: Overlap,
    /// The keys of groups that are not to be cut.
    groups: Option<Vec<PlSmallStr>>,
    /// Whether the files' metadata has the number of rows, so that a progress bar may query it.
    knows_height: bool,
    /// The path or pattern of the files; `None` for a query.
    path: Option<PathBuf>,
    format: Option<Format>,
    schema: Option<SchemaRef>,
    label: Option<&'static str>,
    report: Option<ProgressFn<'static>>,
    core: Option<Arc<Core>>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("input", &self.input_name)
            .field("chunk_rows", &self.chunk_rows)
            .finish_non_exhaustive()
    }
}

/// Reads Parquet files in chunks: one file, all files that a pattern matches (`data/*.parquet`), or all files below a
/// folder, in the order of their names.
///
/// Empty files of a pattern or folder are left out, and folders named `key=value` add columns, as in Polars. Files that
/// a sink is still writing, in this program or another one, are left out too: those whose names begin with `.fanfold-`.
/// This holds for all scans.
///
/// Several workers decode row groups, or columns of one row group, at the same time. Cloud addresses, and files whose
/// schemas differ, are read by Polars' streaming engine.
///
/// See [`Scan`] for files that change during the scan, and for hostile files.
pub fn scan_parquet(path: impl AsRef<Path>) -> Scan {
    let scanned = polars_path(path.as_ref()).and_then(|path| LazyFrame::scan_parquet(path, ScanArgsParquet::default()));
    Scan { knows_height: true, ..Scan::from_files(path.as_ref(), Format::Parquet, scanned) }
}

/// Reads CSV files in chunks: one file, or all files that a pattern matches, in the order of their names.
///
/// The files have a header, and the column types are inferred from the first 100 rows. For other options make a
/// `LazyFrame` with Polars' `LazyCsvReader`, and cut it with [`ParallelScan::par_rows`].
///
/// See [`Scan`] for files that change during the scan, and for hostile files.
pub fn scan_csv(path: impl AsRef<Path>) -> Scan {
    let glob = is_pattern(path.as_ref());
    let scanned = polars_path(path.as_ref()).and_then(|path| LazyCsvReader::new(path).with_glob(glob).finish());
    Scan::from_files(path.as_ref(), Format::Csv, scanned)
}

/// Reads Arrow IPC (Feather) files in chunks: one file, or all files that a pattern matches, in the order of their
/// names.
///
/// See [`Scan`] for files that change during the scan, and for hostile files.
pub fn scan_ipc(path: impl AsRef<Path>) -> Scan {
    let options = UnifiedScanArgs { glob: is_pattern(path.as_ref()), ..Default::default() };
    let scanned =
        polars_path(path.as_ref()).and_then(|path| LazyFrame::scan_ipc(path, IpcScanOptions::default(), options));
    Scan { knows_height: true, ..Scan::from_files(path.as_ref(), Format::Ipc, scanned) }
}

/// Whether a path may expand to several files. The path of an existing file does not, whatever characters it has.
fn is_pattern(path: &Path) -> bool {
    !path.is_file()
}

fn polars_path(path: &Path) -> PolarsResult<PlRefPath> {
    let path = path.to_str().ok_or_else(
        || polars_err!(ComputeError: "the path is not UTF-8, which Polars requires: rename the file or its folder"),
    )?;
    Ok(PlRefPath::new(path))
}

impl Scan {
    fn new(input_name: String, frame: PolarsResult<LazyFrame>) -> Self {
        Self {
            input_name,
            frame,
            steps: QuerySteps::default(),
            chunk_rows: None,
            overlap: Overlap::default(),
            groups: None,
            knows_height: false,
            path: None,
            format: None,
            schema: None,
            label: None,
            report: None,
            core: None,
        }
    }

    fn from_files(path: &Path, format: Format, frame: PolarsResult<LazyFrame>) -> Self {
        let scan = Self::new(format!("`{}`", path.display()), frame);
        Self { path: Some(path.to_owned()), format: Some(format), ..scan }
    }

    /// Sets the rows per chunk; the last chunk may be shorter.
    ///
    /// By default a chunk is a row group of a Parquet file: a part of one that holds more than 64 MiB, or several that
    /// have less than 32,768 rows. In other inputs it has 100,000 rows.
    pub fn par_rows(mut self, rows: usize) -> Self {
        self.chunk_rows = Some(rows);
        self
    }

    /// Cuts between groups: adjacent rows with equal values in the `keys` are in one chunk. Chunks have about as many
    /// rows as without groups, or more where a group has more.
    ///
    /// The rows of each group must be adjacent, as in an input that is sorted by the keys. They need not be in order.
    /// If rows of a group come again behind other groups, the scan ends with an error that says so. Nulls are equal to
    /// each other, and so are NaNs. The worker that takes a chunk decodes it, before another one takes the next.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("day" => [1, 1, 1, 2, 3, 3], "x" => 0..6_i64)?.lazy();
    /// let per_day = lazy.par_rows(2).par_groups(["day"]).map_groups(|day| Ok((day.height() as u64,))).collect()?;
    /// assert_eq!(per_day, df!("column_0" => [3_u64, 1, 2])?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "group_by")]
    #[doc(alias = "groupby")]
    pub fn par_groups<K>(mut self, keys: K) -> GroupedScan
    where
        K: IntoIterator<Item: Into<PlSmallStr>>,
    {
        let keys: Vec<PlSmallStr> = keys.into_iter().map(Into::into).collect();
        self.groups = Some(keys.clone());
        GroupedScan::new(self, keys)
    }

    /// Passes each chunk with the `rows` rows before it, as [`FrameChunks::overlap`](crate::FrameChunks::overlap) does:
    /// the function must return one row for each row it gets, and the scan ends with `collect` or a sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let step = |mut chunk: DataFrame| {
    ///     let x = chunk.column("x")?;
    ///     let step = (x - &x.shift(1))?;
    ///     chunk.with_column(step)?;
    ///     Ok(chunk)
    /// };
    /// let steps = df!("x" => 0..100_i64)?.lazy().par_rows(8).overlap(1).map(step).collect()?;
    /// assert_eq!(steps.column("x")?.null_count(), 1); // in the first row alone, as without chunks
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "map_overlap")]
    #[doc(alias = "rolling")]
    pub fn overlap(mut self, rows: usize) -> Self {
        self.overlap.before = rows;
        self
    }

    /// As [`overlap`](Self::overlap), with the `rows` rows after the chunk.
    #[doc(alias = "map_overlap")]
    pub fn overlap_after(mut self, rows: usize) -> Self {
        self.overlap.after = rows;
        self
    }

    /// Reads these columns only, in this order: names, or expressions as in Polars' `LazyFrame::select`.
    ///
    /// The reader skips the other columns of Parquet and IPC files. So a sum of one column reads that column alone.
    ///
    /// # Errors
    ///
    /// The method that runs the scan returns an error that names the column if there is none of that name.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("flights.parquet");
    /// let flights = df!("origin" => ["JFK", "BTV"], "delay" => [5_i64, 7])?;
    /// flights.lazy().par().map(Ok).sink_parquet(&path)?;
    /// let sum = |chunk: DataFrame| Ok(chunk.column("delay")?.i64()?.sum().unwrap_or(0));
    /// assert_eq!(scan_parquet(&path).select(["delay"]).map_reduce(sum, |a, b| a + b)?, 12);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "usecols")]
    #[doc(alias = "columns")]
    #[doc(alias = "project")]
    pub fn select<E: Into<Expr>>(mut self, columns: impl IntoIterator<Item = E>) -> Self {
        self.steps.select(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Reads the rows only for which the expression is true, as Polars' `LazyFrame::filter`.
    ///
    /// Polars' streaming engine reads the input then, and skips what the statistics of a Parquet file exclude. Chunks
    /// have the rows that are left, and [`par_rows`](Self::par_rows) counts these.
    ///
    /// # Errors
    ///
    /// The method that runs the scan returns an error if the expression fails or panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("flights.csv");
    /// std::fs::write(&path, "origin,delay\nJFK,5\nBTV,7\nJFK,9\n")?;
    /// let jfk = scan_csv(&path).filter(col("origin").eq(lit("JFK"))).select(["delay"]).map(Ok).collect()?;
    /// assert_eq!(jfk, df!("delay" => [5_i64, 9])?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "predicate")]
    #[doc(alias = "where")]
    pub fn filter(mut self, predicate: Expr) -> Self {
        self.steps.filter(predicate);
        self
    }

    /// Declares the columns that each chunk's result must have: their names, order and types.
    ///
    /// The default is the columns of the first chunk's result. If a file is written, a column that has the type `Null`
    /// there must be declared: the file is begun before a later chunk shows the column's type.
    pub fn schema(mut self, schema: impl Into<SchemaRef>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Shows a progress bar with this label and the rows per second, on a terminal and with the feature `progress`. For
    /// Parquet and IPC files, whose metadata has the number of rows, it shows the remaining time too.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Calls `report` with the number of rows done, and with that of all rows if the files' metadata has it, as
    /// [`Map::on_progress`] does.
    ///
    /// # Panics
    ///
    /// The method that runs the scan panics with the payload of `report`, and starts no further chunk.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("x" => 0..10_i64)?.lazy();
    /// let out = lazy.par_rows(4).on_progress(|done, _| eprintln!("{done} rows")).map(Ok).collect()?;
    /// assert_eq!(out.height(), 10);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Map::on_progress`]: crate::Map::on_progress
    pub fn on_progress(mut self, report: impl Fn(usize, Option<usize>) + Send + Sync + 'static) -> Self {
        self.report = Some(Arc::new(report));
        self
    }

    /// Maps the chunks on this pool, as [`FrameChunks::on`](crate::FrameChunks::on) does.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`]. The method that runs the scan panics, with the pool's name, if the pool is shut down by
    /// then.
    #[track_caller]
    pub fn on(mut self, pool: &Pool) -> Self {
        self.core = Some(Arc::clone(pool.core().with_threads("closures").frames()));
        self
    }

    /// Sets the function that maps each chunk. A method of the [`ScanMap`] runs the scan: `sink_parquet`, `collect`,
    /// `for_each` or `reduce`.
    #[doc(alias = "map_batches")]
    #[doc(alias = "map_partitions")]
    #[doc(alias = "apply")]
    pub fn map<T, F>(self, f: F) -> ScanMap<F>
    where
        T: Send,
        F: Fn(DataFrame) -> PolarsResult<T> + Sync,
    {
        ScanMap::new(self, f)
    }

    /// As [`map`](Self::map), for functions that take the number of the chunk and its rows in the input too. With a
    /// [`filter`](Self::filter), rows are counted behind it.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("x" => 0..10_i64)?.lazy();
    /// let number = |chunk, rows: std::ops::Range<usize>, frame: DataFrame| {
    ///     assert_eq!(rows.start, 4 * chunk);
    ///     frame.with_row_index("row".into(), Some(rows.start as IdxSize))
    /// };
    /// let numbered = lazy.clone().par_rows(4).map_indexed(number).collect()?;
    /// assert_eq!(numbered, lazy.with_row_index("row", None).collect()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_indexed<T, F>(self, f: F) -> ScanMap<impl ChunkFn<T>>
    where
        T: Send,
        F: Fn(usize, Range<usize>, DataFrame) -> PolarsResult<T> + Sync,
    {
        ScanMap::new(self, IndexedFn(f))
    }

    /// Maps each row, as [`FrameChunks::map_rows`](crate::FrameChunks::map_rows) does, to a row of the result: a struct
    /// that implements `serde::Serialize` becomes a column for each field.
    ///
    /// A row type owns its values (`String`, not `&str`), as a chunk ends with its function. Where a chunk may show no
    /// columns, as all of its results are `None`, declare them with [`schema`](Self::schema).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Deserialize)]
    /// struct Flight {
    ///     origin: String,
    ///     delay: i64,
    /// }
    ///
    /// #[derive(Serialize)]
    /// struct Verdict {
    ///     late: bool,
    ///     from: String,
    /// }
    ///
    /// # fn main() -> PolarsResult<()> {
    /// # let folder = tempfile::tempdir()?;
    /// # let (input, output) = (folder.path().join("in.csv"), folder.path().join("out.csv"));
    /// std::fs::write(&input, "origin,delay\nJFK,5\nBTV,0\n")?;
    /// let verdict = |flight: Flight| Verdict { late: flight.delay > 0, from: flight.origin };
    /// scan_csv(&input).map_rows(verdict).sink_csv(&output)?;
    /// assert_eq!(std::fs::read_to_string(&output)?, "late,from\ntrue,JFK\nfalse,BTV\n");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "iterrows")]
    pub fn map_rows<R, T>(self, f: impl Fn(R) -> T + Sync) -> ScanMap<impl ChunkFn<DataFrame>>
    where
        R: DeserializeOwned,
        T: Serialize,
    {
        self.try_map_rows(move |row| Ok::<T, Infallible>(f(row)))
    }

    /// As [`map_rows`](Self::map_rows), for functions that can fail. The rows of the error are the failing row alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("age" => ["31", "27", "-"])?.lazy();
    /// let ages = lazy.par_rows(2).try_map_rows(|age: String| age.parse::<i64>().map(|age| (age,))).collect();
    /// assert_eq!(ages.unwrap_err().to_string(), "chunk 1 (rows 2..3): invalid digit found in string");
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_map_rows<R, T, E>(self, f: impl Fn(R) -> Result<T, E> + Sync) -> ScanMap<impl ChunkFn<DataFrame>>
    where
        R: DeserializeOwned,
        T: Serialize,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let schema = self.schema.clone();
        ScanMap::new(self, RowFn::new(f, schema))
    }

    /// Calls the function with each chunk, on several threads at once and in no fixed order.
    ///
    /// # Errors
    ///
    /// [`ScanError`] if the input cannot be read, or if the function returns an error or panics.
    #[track_caller]
    pub fn for_each(self, f: impl Fn(DataFrame) -> PolarsResult<()> + Sync) -> Result<(), ScanError> {
        self.map(f).for_each(|()| Ok(()))
    }

    /// Maps each chunk to a value, and folds the values in input order.
    ///
    /// # Errors
    ///
    /// As [`for_each`](Self::for_each).
    #[track_caller]
    #[doc(alias = "fold")]
    pub fn map_reduce<T: Send>(
        self,
        f: impl Fn(DataFrame) -> PolarsResult<T> + Sync,
        fold: impl Fn(T, T) -> T + Sync,
    ) -> Result<T, ScanError> {
        self.map(f).reduce(fold)
    }
}
