//! [`ScanChunk`]: a chunk of a scan, decoded or to be decoded by the worker that takes it.

use std::ops::Range;
use std::sync::Arc;

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use super::row_block::RowBlock;

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

/// A chunk that is not decoded yet: slices of blocks.
pub(super) struct PendingChunk {
    pub(super) slices: Vec<(Arc<RowBlock>, Range<usize>)>,
    /// Blocks to decode while other workers decode the chunk's own.
    pub(super) later_blocks: Vec<Arc<RowBlock>>,
}

impl PendingChunk {
    pub(super) fn height(&self) -> usize {
        self.slices.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// Decodes the rows.
    pub(super) fn rows(self) -> PolarsResult<DataFrame> {
        if self.slices.first().is_some_and(|(block, _)| block.is_claimed()) {
            // All columns of the chunk's block are claimed: decode another block before waiting for them.
            let _ = self.later_blocks.iter().any(|block| block.decode());
        }
        let frames = self
            .slices
            .iter()
            .map(|(block, rows)| Ok(block.frame()?.slice(crate::frame::rows::slice_offset(rows.start), rows.len())));
        let mut frames = frames.collect::<PolarsResult<Vec<_>>>()?;
        if frames.len() == 1
            && let Some(only) = frames.pop()
        {
            return Ok(only);
        }
        accumulate_dataframes_vertical(frames)
    }
}
