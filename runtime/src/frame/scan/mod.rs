//! Frames larger than memory (feature `polars-lazy`): a [`Scan`] reads rows as Polars' streaming engine gives them,
//! maps them in chunks, and hands the results on in input order, a chunk a worker at a time.

mod atomic_file;
mod block;
mod catch_panic;
mod error;
mod files;
mod input;
mod map;
mod once;
mod opened;
mod pages;
mod parquet;
mod parquet_file;
mod patterns;
mod pipeline;
mod recut;
mod row_group;
mod sink;
mod source;
mod suspects;
mod watched;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::*;

use crate::pool::Core;
use crate::pool::Pool;
use input::Format;

pub use error::ScanError;
pub use map::ScanMap;

/// Rows a chunk of a query, unless said: what Polars' streaming engine itself takes at a time.
const ROWS: usize = 100_000;

/// Rows to be read in chunks, from files or a `LazyFrame`; nothing is read before it is ended.
///
/// At most one chunk a worker is being mapped, and as many may wait for an earlier one, so memory is bounded by the
/// chunks' size, whatever the input's.
///
/// A function of a streaming query that waits for a thread keeps one of Polars' threads. With all of them waiting so, a query
/// that such a thread reads never begins, here as in Polars alone: read it in the function itself.
///
/// # Files that change
///
/// Each file is opened once: one that is replaced meanwhile (written beside and renamed, as the sinks do) is read as it
/// was. One that is written in place is an error that names it. CSV and IPC files of more than 16 MiB are mapped by
/// Polars: if another program makes one of these shorter, reading it can end this program with SIGBUS. Write new files
/// beside the old ones and rename them, or use Parquet: its files are never mapped.
///
/// # Hostile files
///
/// Rows, sizes and counts that a file claims decide no allocation, and panics of Polars become errors. But Polars' decoders
/// were not made for files by attackers: a function of `kind = "process"` reads those, in a worker that may crash, whose
/// time is limited by `timeout`, and whose memory by the `memory_limit` of a pool of your own.
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
#[must_use = "a scan is lazy: end it with `map`, `for_each` or `map_reduce`"]
pub struct Scan {
    /// What is read, in words.
    what: String,
    frame: PolarsResult<LazyFrame>,
    rows: Option<usize>,
    /// Whether the number of rows stands in the file, so that a bar may ask for it.
    counted: bool,
    /// The path or pattern of the files.
    path: Option<PathBuf>,
    /// Their format.
    format: Option<Format>,
    schema: Option<SchemaRef>,
    label: Option<&'static str>,
    core: Option<Arc<Core>>,
}

/// Reads a Parquet file in chunks, or all files that a pattern matches (`data/*.parquet`), in the order of their names.
///
/// Or all files below a folder. Empty files of a pattern or folder are left out, and folders named `key=value` add columns,
/// as in Polars. Files that a sink is still writing, in this program or another one, are left out too: those whose names
/// begin with `.fanfold-`. This is so for all scans.
///
/// Workers read their own row groups, or columns of one, several at the same time. Addresses in a cloud, and files of
/// several schemas, go through Polars' streaming engine.
///
/// What a changing or hostile file can do stands at [`Scan`].
pub fn scan_parquet(path: impl AsRef<Path>) -> Scan {
    let scanned = files(path.as_ref()).and_then(|path| LazyFrame::scan_parquet(path, ScanArgsParquet::default()));
    Scan { counted: true, ..Scan::of_files(path.as_ref(), Format::Parquet, scanned) }
}

/// Reads a CSV file in chunks, or all files that a pattern matches, in the order of their names.
///
/// With a header, and types inferred from the first 100 rows. For other options make a `LazyFrame` by Polars'
/// `LazyCsvReader`, and cut that by [`ParallelScan::par_rows`].
///
/// What a changing or hostile file can do stands at [`Scan`].
pub fn scan_csv(path: impl AsRef<Path>) -> Scan {
    let glob = is_pattern(path.as_ref());
    let scanned = files(path.as_ref()).and_then(|path| LazyCsvReader::new(path).with_glob(glob).finish());
    Scan::of_files(path.as_ref(), Format::Csv, scanned)
}

/// Reads an Arrow IPC (Feather) file in chunks, or all files that a pattern matches, in the order of their names.
///
/// What a changing or hostile file can do stands at [`Scan`].
pub fn scan_ipc(path: impl AsRef<Path>) -> Scan {
    let options = UnifiedScanArgs { glob: is_pattern(path.as_ref()), ..Default::default() };
    let scanned = files(path.as_ref()).and_then(|path| LazyFrame::scan_ipc(path, IpcScanOptions::default(), options));
    Scan { counted: true, ..Scan::of_files(path.as_ref(), Format::Ipc, scanned) }
}

/// Whether a path may stand for several files: one that is there stands for itself, whatever its letters.
fn is_pattern(path: &Path) -> bool {
    !path.is_file()
}

fn files(path: &Path) -> PolarsResult<PlRefPath> {
    let path = path
        .to_str()
        .ok_or_else(|| polars_err!(ComputeError: "Polars reads paths in UTF-8 alone: rename the file or its folder"))?;
    Ok(PlRefPath::new(path))
}

/// A `LazyFrame` in chunks. Import it with `use fanfold::prelude::*`.
///
/// The query runs on Polars' streaming engine, which reads ahead no further than it must. Functions that it calls
/// (`LazyFrame::map`) may use Fanfold themselves: workers that wait for the query's rows make room for theirs.
///
/// # Examples
///
/// ```
/// use fanfold::prelude::*;
/// use polars::prelude::*;
///
/// # fn main() -> PolarsResult<()> {
/// let lazy = df!("x" => 0..1_000_i64)?.lazy().filter(col("x").lt(lit(500)));
/// let out = lazy.par_rows(100).map(|chunk| chunk.head(Some(1)).select(["x"])).collect()?;
/// assert_eq!(out, df!("x" => [0_i64, 100, 200, 300, 400])?);
/// # Ok(())
/// # }
/// ```
pub trait ParallelScan {
    /// Cuts the rows into chunks of `rows` rows; the last one may be shorter.
    fn par_rows(self, rows: usize) -> Scan;

    /// Cuts the rows into chunks of 100,000.
    fn par(self) -> Scan;
}

impl ParallelScan for LazyFrame {
    fn par_rows(self, rows: usize) -> Scan {
        self.par().par_rows(rows)
    }

    fn par(self) -> Scan {
        Scan::of("the query".into(), Ok(self))
    }
}

impl Scan {
    fn of(what: String, frame: PolarsResult<LazyFrame>) -> Self {
        let (path, format, counted) = (None, None, false);
        Self { what, frame, rows: None, counted, path, format, schema: None, label: None, core: None }
    }

    fn of_files(path: &Path, format: Format, frame: PolarsResult<LazyFrame>) -> Self {
        let scan = Self::of(format!("`{}`", path.display()), frame);
        Self { path: Some(path.to_owned()), format: Some(format), ..scan }
    }

    /// Reads chunks of `rows` rows; the last one may be shorter.
    ///
    /// Unless said, chunks are the row groups of a Parquet file (parts of them where they hold more than 64 MiB, several
    /// where they have less than 32,768 rows), and 100,000 rows elsewhere.
    pub fn par_rows(mut self, rows: usize) -> Self {
        self.rows = Some(rows);
        self
    }

    /// The columns that each chunk's result must have: their names, order and types.
    ///
    /// Unless said, those of the first chunk's result. A column that is null throughout it (type `Null`) must be
    /// declared where a file is written, as that has begun when a later chunk shows its type.
    pub fn schema(mut self, schema: impl Into<SchemaRef>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Shows a bar with this label, with rows a second: on a terminal, and with the feature `progress`. For Parquet and
    /// IPC files, which say how many rows they have, with the time left too.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// As [`FrameChunks::on`](crate::FrameChunks::on).
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`]. What is run on the pool panics if the pool is shut down by then, and names it.
    #[track_caller]
    pub fn on(mut self, pool: &Pool) -> Self {
        self.core = Some(Arc::clone(pool.core().with_threads("closures").frames()));
        self
    }

    /// Maps each chunk; the [`ScanMap`] says what becomes of the results.
    pub fn map<T, F>(self, f: F) -> ScanMap<F>
    where
        T: Send,
        F: Fn(DataFrame) -> PolarsResult<T> + Sync,
    {
        ScanMap::new(self, f)
    }

    /// Runs the function on each chunk for what it does, several at once.
    ///
    /// # Errors
    ///
    /// [`ScanError`] if the input cannot be read, or if the function fails or panics.
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
    pub fn map_reduce<T: Send>(
        self,
        f: impl Fn(DataFrame) -> PolarsResult<T> + Sync,
        fold: impl Fn(T, T) -> T + Sync,
    ) -> Result<T, ScanError> {
        self.map(f).reduce(fold)
    }
}
