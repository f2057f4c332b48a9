//! [`ClusterScan`]: Parquet files that the executors read by themselves.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use fanfold::backend::{self, Code};
use fanfold::{ChunkError, Place, RemoteTask, Scan};
use polars::prelude::*;

use crate::Cluster;
use crate::chunks::{ChunkResult, value_of};
use crate::dispatch::Connection;
use crate::files::{self, SinkFolder};
use crate::message::{FileRows, Sink};

/// Rows in a chunk, unless `par_rows` says otherwise.
const DEFAULT_ROWS: usize = 250_000;
/// Chunks that are in flight, or whose results wait for an earlier one.
const IN_FLIGHT: usize = 32;

/// A scan of Parquet files on a cluster: `scan_parquet("data/*.parquet").par_rows(n).on(&cluster)`.
///
/// The executors read the rows; this program reads only the number of rows from each file's footer. Executors must see
/// the files under the same paths, or with the feature `s3` as `s3://bucket/flights/*.parquet`. Chunks have the same
/// rows as without a cluster.
///
/// Other scans are errors. The rows of a chunk of a CSV or IPC file are found by reading the file from its start, which
/// each executor would do again: write such files as Parquet once, by `scan_csv(..).map(Ok).sink_parquet(..)` on one
/// machine. Groups and overlaps need rows of neighbouring chunks, which only the program that reads all of them has.
/// `select` and `filter` can be done in the function.
#[must_use = "a scan is lazy: give it a function by `map`"]
pub struct ClusterScan {
    scan: Scan,
    cluster: Cluster,
}

impl fmt::Debug for ClusterScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterScan").field("scan", &self.scan).field("cluster", &self.cluster).finish()
    }
}

impl Place<Scan> for Cluster {
    type Placed = ClusterScan;

    fn place(&self, scan: Scan) -> ClusterScan {
        ClusterScan { scan, cluster: self.clone() }
    }
}

impl ClusterScan {
    /// Sets the function of the chunks: `name::task()` of a function that takes a frame.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use fanfold::{parallel, prelude::*};
    /// use fanfold_cluster::Cluster;
    /// use polars::prelude::*;
    ///
    /// #[parallel(kind = "cluster")]
    /// fn late(chunk: DataFrame) -> PolarsResult<DataFrame> {
    ///     chunk.lazy().filter(col("delay").gt(lit(15))).collect()
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     fanfold_cluster::init();
    ///     let cluster = Cluster::connect("df://scheduler:50050")?;
    ///     let flights = scan_parquet("/shared/flights/*.parquet").par_rows(500_000).on(&cluster);
    ///     flights.map(late::task()).sink_parquet("/shared/late")?;
    ///     Ok(())
    /// }
    /// ```
    pub fn map<R, C, D>(self, task: RemoteTask<(DataFrame,), R, C, D>) -> ClusterScanMap<R, C, D> {
        ClusterScanMap { scan: self.scan, cluster: self.cluster, task }
    }
}

/// A [`ClusterScan`] with a function for its chunks.
#[must_use = "a scan is lazy: end it with `collect`, `for_each`, `reduce` or `sink_parquet`"]
pub struct ClusterScanMap<R, C, D> {
    scan: Scan,
    cluster: Cluster,
    task: RemoteTask<(DataFrame,), R, C, D>,
}

impl<R, C, D> fmt::Debug for ClusterScanMap<R, C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterScanMap").field("scan", &self.scan).field("task", &self.task).finish_non_exhaustive()
    }
}

/// The rows of a chunk: in the whole input, and in its files.
struct ScanChunk {
    number: usize,
    rows: Range<usize>,
    pieces: Vec<FileRows>,
}

impl<R, C, D> ClusterScanMap<R, C, D>
where
    R: ChunkResult<Value: Send> + Send + 'static,
    C: Code<(DataFrame,)> + Send + Sync + 'static,
    D: Code<R> + Send + Sync + 'static,
{
    /// Calls `op` with each result, in input order and one at a time.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] if the files cannot be read, and if the function or `op` returns an error: the first failing
    /// chunk in input order, with its number, its rows and the cause.
    #[track_caller]
    pub fn for_each(self, mut op: impl FnMut(R::Value) -> PolarsResult<()>) -> Result<(), ChunkError> {
        let Self { scan, cluster, task } = self;
        run(
            chunks_of(&scan).map_err(backend::input_error)?,
            &cluster,
            move |connection, group, ScanChunk { pieces, .. }| {
                let encoded = connection.run_rows(group, task.entry(), task.time_limit(), pieces, None);
                value_of(
                    encoded
                        .map_err(|failure| failure.of_function(task.function()))
                        .and_then(|bytes| task.decode(bytes)),
                )
            },
            |value| Ok(op(value)?),
        )
    }

    /// Folds the results, in input order.
    ///
    /// # Errors
    ///
    /// As [`for_each`](Self::for_each).
    #[track_caller]
    pub fn reduce(self, fold: impl Fn(R::Value, R::Value) -> R::Value) -> Result<R::Value, ChunkError> {
        let mut folded: Option<R::Value> = None;
        self.for_each(|value| {
            folded = Some(match folded.take() {
                Some(before) => fold(before, value),
                None => value,
            });
            Ok(())
        })?;
        // An input without rows has one empty chunk, so there is a value.
        folded.ok_or_else(|| backend::input_error(polars_err!(NoData: "there were no chunks to fold")))
    }
}

impl<R, C, D> ClusterScanMap<R, C, D>
where
    R: ChunkResult<Value = DataFrame> + Send + 'static,
    C: Code<(DataFrame,)> + Send + Sync + 'static,
    D: Code<R> + Send + Sync + 'static,
{
    /// Stacks the results in input order. They are all in memory at the end.
    ///
    /// # Errors
    ///
    /// As [`for_each`](Self::for_each), and if the results differ in their columns.
    #[track_caller]
    pub fn collect(self) -> Result<DataFrame, ChunkError> {
        let mut stacked: Option<DataFrame> = None;
        self.for_each(|frame| {
            match &mut stacked {
                Some(stacked) => drop(stacked.vstack_mut(&frame)?),
                None => stacked = Some(frame),
            }
            Ok(())
        })?;
        Ok(stacked.unwrap_or_default())
    }

    /// Writes the result of each chunk to a Parquet file of its own in a folder: `part-000000.parquet` and so on, in
    /// input order. The executors write the files, so no result passes through this program. Returns the number of
    /// rows.
    ///
    /// The folder is made if it is not there. The files are written under other names, which begin with `.fanfold-`,
    /// and renamed when all are done: so the folder has the whole result, or no file that a reader sees. One that is
    /// written twice, because its executor was lost, is there once. After a failure the files are removed; one that an
    /// executor was still writing may stay under such a name.
    ///
    /// With the feature `s3` the folder may be `s3://bucket/folder`. Objects have their names from the beginning, each
    /// once it is complete; after a failure one that an executor was still writing may stay.
    ///
    /// # Errors
    ///
    /// As [`for_each`](Self::for_each); if the folder is not empty; and if an executor cannot write to it.
    #[track_caller]
    pub fn sink_parquet(self, folder: impl AsRef<Path>) -> Result<usize, ChunkError> {
        let Self { scan, cluster, task } = self;
        // Before the folder is made: a scan of no files leaves none.
        let chunks = chunks_of(&scan).map_err(backend::input_error)?;
        let folder = Arc::new(SinkFolder::make(folder.as_ref()).map_err(backend::input_error)?);
        let (mut rows, mut parts) = (0, 0);
        let target = Arc::clone(&folder);
        let ended = run(
            chunks,
            &cluster,
            move |connection, group, ScanChunk { number, pieces, .. }| {
                let sink = Sink { path: target.part(number), fallible: R::FALLIBLE };
                let written = connection.run_rows(group, task.entry(), task.time_limit(), pieces, Some(sink));
                let bytes = written.map_err(|failure| failure.of_function(task.function()))?;
                match <[u8; 8]>::try_from(&*bytes) {
                    Ok(rows) => Ok(u64::from_le_bytes(rows)),
                    // It is the error that the function returned.
                    Err(_) => value_of(task.decode(bytes)).map(|frame| frame.height() as u64),
                }
            },
            |written: u64| {
                rows += usize::try_from(written).unwrap_or(usize::MAX);
                parts += 1;
                Ok(())
            },
        );
        match ended.and_then(|()| folder.finish(parts).map_err(backend::input_error)) {
            Ok(()) => Ok(rows),
            Err(error) => {
                // Chunks behind the failed one may have been written too.
                folder.remove_parts(parts + IN_FLIGHT + 1);
                Err(error)
            }
        }
    }
}

/// Runs `call` on each chunk, several at once and as one group, and `op` on their results in input order.
#[track_caller]
fn run<T: Send + 'static>(
    chunks: Vec<ScanChunk>,
    cluster: &Cluster,
    call: impl Fn(&Connection, u64, ScanChunk) -> Result<T, Box<dyn std::error::Error + Send + Sync>>
    + Send
    + Sync
    + 'static,
    mut op: impl FnMut(T) -> Result<(), Box<dyn std::error::Error + Send + Sync>>,
) -> Result<(), ChunkError> {
    let (connection, group) = (Arc::clone(cluster.connection()), backend::next_group());
    let results = backend::waiting_pool()
        .map(chunks, move |chunk: ScanChunk| (chunk.number, chunk.rows.clone(), call(&connection, group, chunk)))
        .buffer(IN_FLIGHT);
    for (chunk, rows, outcome) in results {
        outcome.and_then(&mut op).map_err(|source| ChunkError { chunk, rows, source })?;
    }
    Ok(())
}

/// Cuts the files into chunks, by the numbers of rows in their footers.
fn chunks_of(scan: &Scan) -> PolarsResult<Vec<ScanChunk>> {
    let parts = scan.whole_parquet_files();
    let (path, rows) = parts.map_err(|what| {
        polars_err!(
            InvalidOperation: "a scan on a cluster has no place for {what}: scan whole Parquet files, and do the \
             rest in the function; `sink_parquet` of a scan without a cluster makes Parquet files of others"
        )
    })?;
    let rows = rows.unwrap_or(DEFAULT_ROWS);
    polars_ensure!(rows > 0, InvalidOperation: "a scan cannot be cut into chunks of 0 rows: ask for at least 1");
    let files = files::input(&path)?;
    let mut chunks: Vec<ScanChunk> = Vec::new();
    let mut start = 0;
    for file in &files {
        let height = files::height(file)?;
        let mut first = 0;
        while first < height {
            let has_room = chunks.last().is_some_and(|chunk| chunk.rows.len() < rows);
            if !has_room {
                chunks.push(ScanChunk { number: chunks.len(), rows: start..start, pieces: Vec::new() });
            }
            let Some(chunk) = chunks.last_mut() else { continue };
            let count = (height - first).min(rows - chunk.rows.len());
            chunk.pieces.push(FileRows { path: file.clone(), first: first as u64, count: count as u64 });
            chunk.rows.end += count;
            (first, start) = (first + count, start + count);
        }
    }
    // The function runs once on an input without rows.
    if let (true, Some(file)) = (chunks.is_empty(), files.first()) {
        let piece = FileRows { path: file.clone(), first: 0, count: 0 };
        chunks.push(ScanChunk { number: 0, rows: 0..0, pieces: vec![piece] });
    }
    Ok(chunks)
}
