//! [`Blocks`]: the rows of Parquet files, decoded by the workers themselves.
//!
//! A block is a row group, or a part of a large one. Chunks are slices of blocks. The workers that need a block decode
//! its columns at the same time, and it is dropped with the last chunk of it. So memory is bounded by some blocks a
//! worker, and no file stays mapped: Polars' streaming engine maps whole files, and reads ahead on threads of its own.
//!
//! What a file claims of itself (rows, sizes) decides no allocation: blocks are planned one after the other, their
//! number follows from the headers of the pages, and ranges are compared with the file's length.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use super::atomic_file::is_temporary;
use super::block::Block;
use super::catch_panic::guarded_file;
use super::files::Files;
use super::parquet_file::{Layout, ParquetFile, of_file};
use super::row_group::RowGroupPages;
use super::source::Chunk;
use super::watched::Watched;

/// Bytes of a block at most, as its file tells them.
const MOST_BYTES: usize = 64 << 20;
/// Rows of a chunk at least, where their number is not said.
const LEAST_ROWS: usize = 1 << 15;
/// Files whose handles are kept from the start; the others are opened again at their turn.
const MOST_HANDLES: usize = 32;

/// The blocks of all files, planned one after the other.
struct Plan {
    layout: Arc<Layout>,
    sources: VecDeque<ParquetFile>,
    /// The file that is planned, and its next row group.
    current: Option<(Arc<ParquetFile>, usize)>,
    /// The rest of the row group before that one.
    parts: Option<Parts>,
}

/// Blocks of a row group that are not planned yet.
struct Parts {
    source: Arc<ParquetFile>,
    group: usize,
    rows: Range<usize>,
    count: usize,
    pages: Option<Arc<RowGroupPages>>,
}

impl Plan {
    fn next(&mut self) -> PolarsResult<Option<Arc<Block>>> {
        loop {
            if let Some(block) = self.parts.as_mut().and_then(|parts| parts.next(&self.layout)) {
                return Ok(Some(block));
            }
            if let Some((source, next)) = &mut self.current
                && *next < source.groups(&self.layout)
            {
                let (source, group) = (Arc::clone(source), *next);
                *next += 1;
                let parts = guarded_file(|| Parts::of(&source, group, &self.layout));
                self.parts = Some(parts.map_err(|error| source.error(&self.layout, &error))?);
                continue;
            }
            let Some(source) = self.sources.pop_front() else { return Ok(None) };
            let (path, many) = (source.path.clone(), self.layout.many);
            let source = source.reopened(&self.layout);
            let source = source.map_err(|error| if many { of_file(&error, path.as_std_path()) } else { error })?;
            self.current = Some((Arc::new(source), 0));
        }
    }
}

impl Parts {
    /// Splits a row group that is large by its pages too: a file may claim any size.
    fn of(source: &Arc<ParquetFile>, group: usize, layout: &Layout) -> PolarsResult<Self> {
        let mut parts = Self { source: Arc::clone(source), group, rows: 0..0, count: 1, pages: None };
        let row_group = if layout.schema.is_empty() { None } else { Some(source.row_group(group)?) };
        let rows = row_group.as_ref().map_or(source.directory.num_rows, |group| group.metadata.num_rows());
        // Polars has no columns of more rows.
        polars_ensure!(
            rows < IdxSize::MAX as usize,
            ComputeError: "row group {group} claims {rows} rows, which is more than Polars can have: the file may be damaged"
        );
        parts.rows = 0..rows;
        if let Some(row_group) = row_group
            && row_group.metadata.total_byte_size() > MOST_BYTES
            && rows > 1
        {
            let pages = row_group.pages(&layout.schema)?;
            let bytes = row_group.metadata.total_byte_size().min(pages.bytes);
            parts.count = bytes.div_ceil(MOST_BYTES).clamp(1, rows);
            parts.pages = (parts.count > 1).then(|| Arc::new(pages));
        }
        Ok(parts)
    }

    fn next(&mut self, layout: &Arc<Layout>) -> Option<Arc<Block>> {
        if self.rows.is_empty() {
            return None;
        }
        let end = self.rows.start + self.rows.len().div_ceil(self.count);
        let block = Block::new(layout, &self.source, self.group, self.rows.start..end, self.pages.clone());
        self.rows.start = end;
        self.count -= 1;
        Some(Arc::new(block))
    }
}

/// Chunks of Parquet files.
pub(super) struct Blocks {
    plan: Plan,
    /// Blocks that are planned, from the one on that the next chunk begins in.
    queue: VecDeque<Arc<Block>>,
    /// Why the block behind them could not be planned.
    failed: Option<PolarsError>,
    /// Where in the first block the next chunk begins.
    start: usize,
    /// Rows a chunk; each block is one where that is not said, or several short ones are.
    rows: Option<usize>,
    /// Blocks that may be decoded before their turn.
    ahead: usize,
    /// Rows in all.
    height: usize,
    /// What files without rows give.
    empty: Option<DataFrame>,
    watched: Watched,
}

impl Blocks {
    /// The chunks of files that are read here; nothing if that is not for us to do.
    pub(super) fn new(files: &Files, rows: Option<usize>, workers: usize) -> PolarsResult<Option<Self>> {
        let many = files.paths.len() > 1;
        let mut sources = VecDeque::new();
        let mut layout: Option<Layout> = None;
        let (mut height, mut watched) = (0_usize, Watched::default());
        for (index, path) in files.paths.iter().enumerate() {
            let opened = ParquetFile::open(path, index).and_then(|source| Ok((source.schema()?, source)));
            let opened = opened.map_err(|error| if many { of_file(&error, path.as_std_path()) } else { error });
            let (schema, mut source) = opened?;
            let layout = match &layout {
                Some(layout) if layout.schema != schema => return Ok(None),
                Some(layout) => layout,
                None => layout.insert(Layout::new(files, schema)?),
            };
            height = height.saturating_add(source.height(layout));
            source.file = source.file.filter(|_| index < MOST_HANDLES);
            watched.push(path, source.stamp, source.file.clone());
            sources.push_back(source);
        }
        let Some(layout) = layout else { return Ok(None) };
        let empty = Some(layout.empty()?);
        let plan = Plan { layout: Arc::new(layout), sources, current: None, parts: None };
        let queue = VecDeque::new();
        Ok(Some(Self { plan, queue, failed: None, start: 0, rows, ahead: workers, height, empty, watched }))
    }

    /// Rows in all, as the files claim.
    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Plans blocks until so many wait.
    fn plan(&mut self, count: usize) {
        while self.queue.len() < count && self.failed.is_none() {
            match self.plan.next() {
                Ok(Some(block)) => self.queue.push_back(block),
                Ok(None) => break,
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// The next chunk, still to be read; files without rows have one empty chunk.
    pub(super) fn next(&mut self) -> PolarsResult<Option<Chunk>> {
        let mut parts = Vec::new();
        let mut rows = 0;
        while rows < self.rows.unwrap_or(LEAST_ROWS) {
            self.plan(1);
            let Some(block) = self.queue.front() else { break };
            let left = block.rows.len() - self.start;
            let taken = self.rows.map_or(left, |wanted| left.min(wanted - rows));
            parts.push((Arc::clone(block), self.start..self.start + taken));
            self.start += taken;
            if taken == left {
                self.queue.pop_front();
                self.start = 0;
            }
            rows += taken;
        }
        if parts.is_empty() {
            self.failed.take().map_or_else(|| self.watched.check(), Err)?;
            return Ok(self.empty.take().map(Chunk::Rows));
        }
        self.empty = None;
        // Where chunks are shorter than blocks, workers that would wait for a block have others to decode.
        let ahead = if self.start > 0 { self.ahead } else { 0 };
        if ahead > 0 {
            self.plan(1 + ahead);
        }
        Ok(Some(Chunk::Unread(Read { parts, ahead: self.queue.iter().skip(1).take(ahead).cloned().collect() })))
    }
}

/// A chunk still to be read: rows of blocks.
pub(super) struct Read {
    parts: Vec<(Arc<Block>, Range<usize>)>,
    ahead: Vec<Arc<Block>>,
}

impl Read {
    pub(super) fn height(&self) -> usize {
        self.parts.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// Reads it.
    pub(super) fn rows(self) -> PolarsResult<DataFrame> {
        if self.parts.first().is_some_and(|(block, _)| block.is_being_decoded()) {
            // This worker decodes another block instead of waiting for its own.
            let _ = self.ahead.iter().any(|block| block.decode());
        }
        let parts = self
            .parts
            .iter()
            .map(|(block, rows)| Ok(block.frame()?.slice(crate::frame::rows::offset(rows.start), rows.len())));
        let mut parts = parts.collect::<PolarsResult<Vec<_>>>()?;
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return Ok(only);
        }
        accumulate_dataframes_vertical(parts)
    }
}

/// Whether this is a pattern of files of this machine, and none fits.
pub(super) fn matches_nothing(pattern: &Path) -> bool {
    let Some(text) = pattern.to_str() else { return false };
    let is_pattern = text.contains(['*', '?', '[']) && !text.contains("://") && !pattern.exists();
    let is_input = |found: glob::GlobResult| found.map_or(true, |path| !is_temporary(&path));
    is_pattern && glob::glob(text).is_ok_and(|mut matches| !matches.any(is_input))
}
