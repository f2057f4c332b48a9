//! [`ChunkSource`]: the chunks of a scan in input order, from Parquet files or from a query.

use polars::prelude::*;

use super::parquet_chunks::{ParquetChunks, PendingChunk};
use super::query_batches::QueryBatches;

/// The chunks of a scan, in input order.
pub(super) enum ChunkSource {
    Parquet(ParquetChunks),
    Query(QueryBatches),
}

impl ChunkSource {
    /// The next chunk; `None` at the end of the input.
    pub(super) fn next(&mut self) -> PolarsResult<Option<ScanChunk>> {
        match self {
            Self::Parquet(chunks) => chunks.next(),
            Self::Query(batches) => Ok(batches.next()?.map(ScanChunk::Rows)),
        }
    }
}

/// A chunk that a worker has taken.
pub(super) enum ScanChunk {
    Rows(DataFrame),
    /// Rows of a Parquet file that the worker decodes.
    Pending(PendingChunk),
}

impl ScanChunk {
    pub(super) fn height(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.height(),
            Self::Pending(chunk) => chunk.height(),
        }
    }

    /// The rows; decodes them if they are pending.
    pub(super) fn rows(self) -> PolarsResult<DataFrame> {
        match self {
            Self::Rows(rows) => Ok(rows),
            Self::Pending(chunk) => chunk.rows(),
        }
    }
}
