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
mod files;
mod functions;
mod group_scan;
mod grouped_chunks;
mod input;
mod input_files;
mod lazy_map;
mod listing;
mod map;
mod open_file;
mod options;
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
mod submit;
mod worker_once_lock;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::*;

use crate::map::progress::ProgressFn;
use crate::pool::Core;
use input::Format;
use overlapping_chunks::Overlap;
use query_steps::QuerySteps;

pub use chunk_fn::ChunkFn;
pub use error::ScanError;
pub use files::{scan_csv, scan_ipc, scan_parquet};
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
}
