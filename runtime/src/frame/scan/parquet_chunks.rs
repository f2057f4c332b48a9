//! [`ParquetChunks`]: the chunks of Parquet files, decoded by Fanfold's workers.
//!
//! A chunk is one or several slices of [`RowBlock`]s. The workers that need a block decode its columns at the same
//! time, and the block is dropped with its last chunk. So memory is bounded by a few blocks per worker, and no file is
//! memory-mapped. Polars' streaming engine maps whole files, and reads ahead on threads of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use polars::prelude::*;

use super::block_planner::BlockPlanner;
use super::changed_file_check::ChangedFileCheck;
use super::error::error_in_file;
use super::input_files::InputFiles;
use super::parquet_file::{ParquetFile, ScanLayout};
use super::query_steps::Projection;
use super::row_block::RowBlock;
use super::scan_chunk::{PendingChunk, ScanChunk};

/// Rows of a chunk at least, where the user sets no number.
const MIN_CHUNK_ROWS: usize = 1 << 15;
/// Files that are held open from the start; the others are opened again when they are reached.
const MAX_OPEN_FILES: usize = 32;

/// The chunks of Parquet files that are not taken yet.
pub(super) struct ParquetChunks {
    planner: BlockPlanner,
    /// Planned blocks, from the one on that the next chunk begins in.
    blocks: VecDeque<Arc<RowBlock>>,
    /// The error of the planner, reported after the chunks of the blocks before it.
    plan_error: Option<PolarsError>,
    /// The first row of the front block that is not in a chunk yet.
    start: usize,
    /// Rows per chunk. If unset, a chunk is a block, or several short ones.
    chunk_rows: Option<usize>,
    /// Blocks that a worker may decode ahead of their turn.
    lookahead: usize,
    total_rows: usize,
    /// The chunk of files without rows; taken once there are rows.
    empty: Option<DataFrame>,
    changed_files: ChangedFileCheck,
}

impl ParquetChunks {
    /// Opens the files and reads their metadata. `None` if their schemas differ: Polars reads them then.
    pub(super) fn new(
        files: &InputFiles,
        projection: &Projection<'_>,
        chunk_rows: Option<usize>,
        workers: usize,
    ) -> PolarsResult<Option<Self>> {
        let has_many_files = files.paths.len() > 1;
        let mut parquet_files = VecDeque::new();
        let mut layout: Option<ScanLayout> = None;
        let (mut total_rows, mut changed_files) = (0_usize, ChangedFileCheck::default());
        for (index, path) in files.paths.iter().enumerate() {
            let opened = ParquetFile::open(path, index).and_then(|file| Ok((file.schema()?, file)));
            let name_file = |error| if has_many_files { error_in_file(&error, path.as_std_path()) } else { error };
            let (schema, mut file) = opened.map_err(name_file)?;
            let layout = match &layout {
                Some(layout) if layout.schema != schema => return Ok(None),
                Some(layout) => layout,
                None => layout.insert(ScanLayout::new(files, schema, projection)?),
            };
            total_rows = total_rows.saturating_add(file.height(layout));
            file.handle = file.handle.filter(|_| index < MAX_OPEN_FILES);
            changed_files.push(path, file.version, file.handle.clone());
            parquet_files.push_back(file);
        }
        let Some(layout) = layout else { return Ok(None) };
        let empty = Some(layout.empty_frame()?);
        Ok(Some(Self {
            planner: BlockPlanner::new(layout, parquet_files),
            blocks: VecDeque::new(),
            plan_error: None,
            start: 0,
            chunk_rows,
            lookahead: workers,
            total_rows,
            empty,
            changed_files,
        }))
    }

    /// The rows of all files, as their metadata claims.
    pub(super) fn total_rows(&self) -> usize {
        self.total_rows
    }

    /// Plans blocks until `count` are queued.
    fn plan_blocks(&mut self, count: usize) {
        while self.blocks.len() < count && self.plan_error.is_none() {
            match self.planner.next() {
                Ok(Some(block)) => self.blocks.push_back(block),
                Ok(None) => break,
                Err(error) => self.plan_error = Some(error),
            }
        }
    }

    /// The next chunk, not decoded yet. Files without rows have one empty chunk.
    pub(super) fn next(&mut self) -> PolarsResult<Option<ScanChunk>> {
        let mut slices = Vec::new();
        let mut rows = 0;
        while rows < self.chunk_rows.unwrap_or(MIN_CHUNK_ROWS) {
            self.plan_blocks(1);
            let Some(block) = self.blocks.front() else { break };
            let left = block.rows.len() - self.start;
            let taken = self.chunk_rows.map_or(left, |wanted| left.min(wanted - rows));
            slices.push((Arc::clone(block), self.start..self.start + taken));
            self.start += taken;
            if taken == left {
                self.blocks.pop_front();
                self.start = 0;
            }
            rows += taken;
        }
        if slices.is_empty() {
            self.plan_error.take().map_or_else(|| self.changed_files.check(), Err)?;
            return Ok(self.empty.take().map(ScanChunk::Rows));
        }
        self.empty = None;
        // Where chunks are shorter than blocks, several workers need the same block. A worker that would wait for its
        // columns decodes a later block meanwhile.
        let lookahead = if self.start > 0 { self.lookahead } else { 0 };
        if lookahead > 0 {
            self.plan_blocks(1 + lookahead);
        }
        let later_blocks = self.blocks.iter().skip(1).take(lookahead).cloned().collect();
        Ok(Some(ScanChunk::Pending(PendingChunk { slices, later_blocks })))
    }
}
