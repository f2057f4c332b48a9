//! [`ListingScan`]: a scan that may leave out chunks that fail, and lists them; and the code that runs scans.

use std::path::Path;

use polars::prelude::*;

use super::chunk_fn::ChunkFn;
use super::consumer::{CollectFrames, ForEach};
use super::error::ScanError;
use super::map::ScanMap;
use super::patterns::pattern_matching;
use super::pipeline;
use super::sink::{CsvSink, FileSink, IpcSink, ParquetSink, PartitionedSink, SinkFormat};
use crate::frame::concat;
use crate::frame::error::{ChunkError, ChunkMismatch};
use crate::frame::on_error::{OnError, fitting};

/// A [`ScanMap`] that lists the chunks that fail; [`ScanMap::on_error`] makes one.
///
/// With [`OnError::Skip`] its methods return an error where the input cannot be read or the output cannot be written,
/// and the first error of a chunk if all chunks fail. Results that do not fit those before them are left out too.
#[must_use = "a scan is lazy: end it with a sink, `collect` or `for_each`"]
pub struct ListingScan<F> {
    pub(super) map: ScanMap<F>,
    pub(super) on_error: OnError,
}

impl<F> ListingScan<F> {
    /// As [`ScanMap::for_each`].
    ///
    /// # Errors
    ///
    /// As described at [`ListingScan`]; and if `op` returns an error or panics.
    #[track_caller]
    pub fn for_each<T: Send>(self, op: impl FnMut(T) -> PolarsResult<()> + Send) -> Result<Vec<ChunkError>, ScanError>
    where
        F: ChunkFn<T>,
    {
        let Self { map: ScanMap { scan, f, .. }, on_error } = self;
        let ((), failed) = pipeline::run(scan, &f, ForEach::new(op), on_error, |_| Ok(()))?;
        Ok(failed)
    }

    /// As [`ScanMap::collect`].
    ///
    /// # Errors
    ///
    /// As described at [`ListingScan`].
    #[track_caller]
    pub fn collect(self) -> Result<(DataFrame, Vec<ChunkError>), ScanError>
    where
        F: ChunkFn<DataFrame>,
    {
        let Self { map: ScanMap { scan, f, .. }, on_error } = self;
        let schema = scan.schema.clone();
        let stack = |collected: CollectFrames| {
            let (positions, mut frames) = collected.into_inner();
            let mut refused = Vec::new();
            let mut refuse = |position: usize, mismatch| {
                let position = &positions[position];
                let cause = ChunkMismatch::OtherChunks(mismatch);
                refused.push(ChunkError::new(position.chunk, position.rows.clone(), cause));
            };
            if on_error == OnError::Skip {
                frames = fitting(frames, schema.as_deref(), &mut refuse);
            }
            if frames.is_empty() && !refused.is_empty() {
                return Err(refused.swap_remove(0).into());
            }
            let stacked = concat::stack(frames, schema.as_deref())
                .map_err(|mismatch| positions[mismatch.chunk()].error(ChunkMismatch::OtherChunks(mismatch)))?;
            Ok((stacked, refused))
        };
        let ((stacked, refused), mut failed) = pipeline::run(scan, &f, CollectFrames::default(), on_error, stack)?;
        failed.extend(refused);
        failed.sort_by_key(ChunkError::chunk);
        Ok((stacked, failed))
    }

    /// As [`ScanMap::sink_parquet`].
    ///
    /// # Errors
    ///
    /// As described at [`ListingScan`].
    #[track_caller]
    pub fn sink_parquet(self, path: impl AsRef<Path>) -> Result<Vec<ChunkError>, ScanError>
    where
        F: ChunkFn<DataFrame>,
    {
        self.sink::<ParquetSink>(path.as_ref())
    }

    /// As [`ScanMap::sink_csv`].
    ///
    /// # Errors
    ///
    /// As described at [`ListingScan`].
    #[track_caller]
    pub fn sink_csv(self, path: impl AsRef<Path>) -> Result<Vec<ChunkError>, ScanError>
    where
        F: ChunkFn<DataFrame>,
    {
        self.sink::<CsvSink>(path.as_ref())
    }

    /// As [`ScanMap::sink_ipc`].
    ///
    /// # Errors
    ///
    /// As described at [`ListingScan`].
    #[track_caller]
    pub fn sink_ipc(self, path: impl AsRef<Path>) -> Result<Vec<ChunkError>, ScanError>
    where
        F: ChunkFn<DataFrame>,
    {
        self.sink::<IpcSink>(path.as_ref())
    }

    /// As [`ScanMap::sink_parquet_partitioned`].
    ///
    /// # Errors
    ///
    /// As described at [`ListingScan`].
    #[track_caller]
    pub fn sink_parquet_partitioned<K>(self, dir: impl AsRef<Path>, by: K) -> Result<Vec<ChunkError>, ScanError>
    where
        K: IntoIterator<Item: Into<PlSmallStr>>,
        F: ChunkFn<DataFrame>,
    {
        let Self { map: ScanMap { scan, f, sink }, on_error } = self;
        let keys = by.into_iter().map(Into::into).collect();
        let sink = PartitionedSink::new(dir.as_ref(), keys, scan.schema.clone(), sink)?;
        let ((), failed) = pipeline::run(scan, &f, sink, on_error, PartitionedSink::finish)?;
        Ok(failed)
    }

    #[track_caller]
    fn sink<S: SinkFormat>(self, path: &Path) -> Result<Vec<ChunkError>, ScanError>
    where
        F: ChunkFn<DataFrame>,
    {
        let Self { map: ScanMap { scan, f, sink }, on_error } = self;
        if let Some(pattern) = scan.frame.as_ref().ok().and_then(|frame| pattern_matching(frame, path)) {
            return Err(ScanError::Write { path: path.to_owned(), source: output_is_input_error(&pattern) });
        }
        let sink = FileSink::<S>::new(path, scan.schema.clone(), sink)?;
        let ((), failed) = pipeline::run(scan, &f, sink, on_error, FileSink::finish)?;
        Ok(failed)
    }
}

fn output_is_input_error(pattern: &str) -> PolarsError {
    polars_err!(
        InvalidOperation: "it is one of the files that `{pattern}` stands for, so earlier results would be read as \
                           input: write to another folder, narrow the pattern, or remove the file first"
    )
}
