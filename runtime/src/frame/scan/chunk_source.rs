//! [`ChunkSource`]: the chunks of a scan in input order, from Parquet files or from a query.

use polars::prelude::*;

use super::grouped_chunks::GroupedChunks;
use super::overlapping_chunks::OverlappingChunks;
use super::parquet_chunks::ParquetChunks;
use super::query_batches::QueryBatches;
use super::scan_chunk::ScanChunk;

/// The chunks of a scan, in input order.
pub(super) enum ChunkSource {
    Parquet(ParquetChunks),
    Query(QueryBatches),
    Overlapping(OverlappingChunks),
    Grouped(GroupedChunks),
}

impl ChunkSource {
    /// The next chunk; `None` at the end of the input.
    pub(super) fn next(&mut self) -> PolarsResult<Option<ScanChunk>> {
        match self {
            Self::Parquet(chunks) => chunks.next(),
            Self::Query(batches) => Ok(batches.next()?.map(ScanChunk::Rows)),
            Self::Grouped(chunks) => Ok(chunks.next()?.map(ScanChunk::Rows)),
            Self::Overlapping(chunks) => Ok(chunks.next()?.map(ScanChunk::Overlapping)),
        }
    }
}
