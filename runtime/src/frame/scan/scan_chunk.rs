//! [`ScanChunk`]: a chunk of a scan, decoded or to be decoded by the worker that takes it.

use std::ops::Range;
use std::sync::Arc;

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use super::overlapping_chunks::OverlappingChunk;
use super::row_block::RowBlock;
use crate::frame::rows::Rows;

/// A chunk that a worker has taken.
pub(super) enum ScanChunk {
    Rows(DataFrame),
    /// Rows of a Parquet file that the worker decodes.
    Pending(PendingChunk),
    /// A chunk with rows of its neighbours.
    Overlapping(OverlappingChunk),
}

impl ScanChunk {
    /// The number of rows, without those of neighbours.
    pub(super) fn height(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.height(),
            Self::Pending(chunk) => chunk.height(),
            Self::Overlapping(chunk) => chunk.own.len(),
        }
    }

    /// The chunk's own rows among those of [`rows`](Self::rows), if these are not all its own.
    pub(super) fn own_rows(&self) -> Option<Range<usize>> {
        match self {
            Self::Overlapping(chunk) => Some(chunk.own.clone()),
            Self::Rows(_) | Self::Pending(_) => None,
        }
    }

    /// A part of a chunk, which shares its rows or blocks.
    pub(super) fn slice(&self, rows: Range<usize>) -> Self {
        match self {
            Self::Rows(frame) => Self::Rows(frame.slice_rows(rows)),
            Self::Pending(chunk) => Self::Pending(chunk.slice(rows)),
            // Only chunks of the source itself are sliced.
            Self::Overlapping(_) => unreachable!("a chunk overlaps once"),
        }
    }

    /// The rows, with those of neighbours; decodes them if they are pending.
    pub(super) fn rows(self) -> PolarsResult<DataFrame> {
        match self {
            Self::Rows(rows) => Ok(rows),
            Self::Pending(chunk) => chunk.rows(),
            Self::Overlapping(chunk) => chunk.rows(),
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

    fn slice(&self, rows: Range<usize>) -> Self {
        let (mut start, mut slices) = (0, Vec::new());
        for (block, block_rows) in &self.slices {
            let end = start + block_rows.len();
            let (from, to) = (rows.start.max(start), rows.end.min(end));
            if from < to {
                let offset = block_rows.start;
                slices.push((Arc::clone(block), offset + from - start..offset + to - start));
            }
            start = end;
        }
        Self { slices, later_blocks: self.later_blocks.clone() }
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
