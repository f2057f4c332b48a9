//! [`OverlappingChunks`]: the chunks of a source, each with rows of its neighbours.
//!
//! Chunks that are not decoded yet stay so: their neighbours hold slices of the same blocks, which are decoded once. An
//! overlap by time needs the times first, so the worker that takes a chunk decodes it.

use std::collections::VecDeque;
use std::ops::Range;

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use super::chunk_source::ChunkSource;
use super::scan_chunk::ScanChunk;
use crate::frame::overlap_time::{TimeIndex, TimeSpan, not_in_order};

/// The rows that a chunk sees before and after its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlap {
    pub(super) before: usize,
    pub(super) after: usize,
    /// The column of times, and the time before its first row that a chunk sees.
    pub(super) time: Option<(PlSmallStr, TimeSpan)>,
}

impl Overlap {
    pub(super) fn is_some(&self) -> bool {
        self.before > 0 || self.after > 0 || self.time.is_some()
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
    /// The last time of the chunks taken so far, of an overlap by time.
    last_time: Option<i64>,
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
        Self { source, overlap, before: VecDeque::new(), queue: VecDeque::new(), is_exhausted: false, last_time: None }
    }

    /// The next chunk; `None` at the end of the source.
    pub(super) fn next(&mut self) -> PolarsResult<Option<OverlappingChunk>> {
        let rows_after = |queue: &VecDeque<ScanChunk>| queue.iter().skip(1).map(ScanChunk::height).sum::<usize>();
        while !self.is_exhausted && (self.queue.is_empty() || rows_after(&self.queue) < self.overlap.after) {
            match self.source.next()? {
                Some(chunk) => {
                    let chunk = self.in_order(chunk)?;
                    self.queue.push_back(chunk);
                }
                None => self.is_exhausted = true,
            }
        }
        let Some(own) = self.queue.pop_front() else { return Ok(None) };
        if let Some(rows) = self.rows_in_time(&own)? {
            self.keep_before(rows.max(self.overlap.before));
        }
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
        if self.overlap.time.is_none() {
            self.keep_before(self.overlap.before);
        }
        Ok(Some(OverlappingChunk { parts, own: own_rows }))
    }

    /// Drops all rows before the next chunk but the last `rows`.
    fn keep_before(&mut self, rows: usize) {
        let mut surplus = self.before.iter().map(ScanChunk::height).sum::<usize>().saturating_sub(rows);
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
    }

    /// The chunk; for an overlap by time it is decoded, and must not be earlier than those before it.
    fn in_order(&mut self, chunk: ScanChunk) -> PolarsResult<ScanChunk> {
        let Some((column, _)) = &self.overlap.time else { return Ok(chunk) };
        let chunk = ScanChunk::Rows(chunk.rows()?);
        if let Some((first, last)) = self.times(&chunk)?.and_then(|times| times.bounds()) {
            if self.last_time.is_some_and(|before| before > first) {
                return Err(not_in_order(column));
            }
            self.last_time = Some(last);
        }
        Ok(chunk)
    }

    /// The number of rows before the chunk that it sees by an overlap in time; `None` if there is no such overlap, or
    /// if the chunk has no rows, and so no time.
    fn rows_in_time(&self, chunk: &ScanChunk) -> PolarsResult<Option<usize>> {
        let Some((first, _)) = self.times(chunk)?.and_then(|times| times.bounds()) else { return Ok(None) };
        let mut seen = 0;
        for part in self.before.iter().rev() {
            let unseen = self.times(part)?.map_or(0, |times| times.first_seen_at(first));
            seen += part.height() - unseen;
            if unseen > 0 {
                break;
            }
        }
        Ok(Some(seen))
    }

    /// The times of a chunk that is decoded, for an overlap by time.
    fn times(&self, chunk: &ScanChunk) -> PolarsResult<Option<TimeIndex>> {
        match (&self.overlap.time, chunk) {
            (Some((column, span)), ScanChunk::Rows(rows)) => span.index(rows.column(column)?).map(Some),
            _ => Ok(None),
        }
    }
}
