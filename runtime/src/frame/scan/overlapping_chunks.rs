//! [`OverlappingChunks`]: the chunks of a source, each with rows of its neighbours.
//!
//! Chunks that are not decoded yet stay so: their neighbours hold slices of the same blocks, which are decoded once.

use std::collections::VecDeque;
use std::ops::Range;

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use super::chunk_source::ChunkSource;
use super::scan_chunk::ScanChunk;

/// The numbers of rows that a chunk sees before and after its own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overlap {
    pub(super) before: usize,
    pub(super) after: usize,
}

impl Overlap {
    pub(super) fn is_some(self) -> bool {
        self.before > 0 || self.after > 0
    }
}

/// A source whose chunks see rows of their neighbours.
pub(super) struct OverlappingChunks {
    source: Box<ChunkSource>,
    overlap: Overlap,
    /// The last rows before the next chunk, as parts of chunks.
    before: VecDeque<ScanChunk>,
    /// Chunks that are taken from the source, and not passed on.
    queue: VecDeque<ScanChunk>,
    /// Whether the source has ended.
    is_exhausted: bool,
}

/// A chunk with rows of its neighbours.
pub(super) struct OverlappingChunk {
    parts: Vec<ScanChunk>,
    /// The chunk's own rows among those of all parts.
    pub(super) own: Range<usize>,
}

impl OverlappingChunk {
    /// The rows of all parts.
    pub(super) fn rows(self) -> PolarsResult<DataFrame> {
        let mut frames = self.parts.into_iter().map(ScanChunk::rows).collect::<PolarsResult<Vec<_>>>()?;
        match frames.len() {
            1 => Ok(frames.swap_remove(0)),
            _ => accumulate_dataframes_vertical(frames),
        }
    }
}

impl OverlappingChunks {
    pub(super) fn new(source: ChunkSource, overlap: Overlap) -> Self {
        let source = Box::new(source);
        Self { source, overlap, before: VecDeque::new(), queue: VecDeque::new(), is_exhausted: false }
    }

    /// The next chunk; `None` at the end of the source.
    pub(super) fn next(&mut self) -> PolarsResult<Option<OverlappingChunk>> {
        let rows_after = |queue: &VecDeque<ScanChunk>| queue.iter().skip(1).map(ScanChunk::height).sum::<usize>();
        while !self.is_exhausted && (self.queue.is_empty() || rows_after(&self.queue) < self.overlap.after) {
            match self.source.next()? {
                Some(chunk) => self.queue.push_back(chunk),
                None => self.is_exhausted = true,
            }
        }
        let Some(own) = self.queue.pop_front() else { return Ok(None) };
        let mut parts: Vec<ScanChunk> = self.before.iter().map(|part| part.slice(0..part.height())).collect();
        let start: usize = parts.iter().map(ScanChunk::height).sum();
        let own_rows = start..start + own.height();
        parts.push(own.slice(0..own.height()));
        let mut left = self.overlap.after;
        for later in &self.queue {
            let taken = left.min(later.height());
            if taken > 0 {
                parts.push(later.slice(0..taken));
            }
            left -= taken;
        }
        self.before.push_back(own);
        let mut surplus = (start + own_rows.len()).saturating_sub(self.overlap.before);
        while let Some(first) = self.before.front()
            && surplus > 0
        {
            let height = first.height();
            let rest = (height > surplus).then(|| first.slice(surplus..height));
            self.before.pop_front();
            surplus -= surplus.min(height);
            if let Some(rest) = rest {
                self.before.push_front(rest);
            }
        }
        Ok(Some(OverlappingChunk { parts, own: own_rows }))
    }
}
