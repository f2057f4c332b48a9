//! [`BlockPlanner`]: divides Parquet files into [`RowBlock`]s, one after the other.
//!
//! A block is a row group, or a part of one that holds more than 64 MiB. Blocks are planned lazily, and the number of
//! parts follows from the headers of the pages, so the row counts and sizes that a file claims decide no allocation.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use polars::prelude::*;

use super::catch_panic::catch_file_panic;
use super::error::error_in_file;
use super::parquet_file::{ParquetFile, ScanLayout};
use super::row_block::RowBlock;
use super::row_group::RowGroupPages;

/// Decompressed bytes of a block at most, as the file's metadata states them.
const MAX_BLOCK_BYTES: usize = 64 << 20;

/// The blocks of all files that are not planned yet.
pub(super) struct BlockPlanner {
    layout: Arc<ScanLayout>,
    files: VecDeque<ParquetFile>,
    /// The current file, and the index of its next row group.
    current: Option<(Arc<ParquetFile>, usize)>,
    /// The rest of the current row group.
    row_group: Option<RowGroupBlocks>,
}

impl BlockPlanner {
    pub(super) fn new(layout: ScanLayout, files: VecDeque<ParquetFile>) -> Self {
        Self { layout: Arc::new(layout), files, current: None, row_group: None }
    }

    /// The next block; `None` behind the last row group of the last file.
    pub(super) fn next(&mut self) -> PolarsResult<Option<Arc<RowBlock>>> {
        loop {
            if let Some(block) = self.row_group.as_mut().and_then(|blocks| blocks.next(&self.layout)) {
                return Ok(Some(block));
            }
            if let Some((file, next)) = &mut self.current
                && *next < file.row_group_count(&self.layout)
            {
                let (file, group) = (Arc::clone(file), *next);
                *next += 1;
                let blocks = catch_file_panic(|| RowGroupBlocks::new(&file, group, &self.layout));
                self.row_group = Some(blocks.map_err(|error| file.name_in_error(&self.layout, &error))?);
                continue;
            }
            let Some(file) = self.files.pop_front() else { return Ok(None) };
            let (path, has_many_files) = (file.path.clone(), self.layout.has_many_files);
            let name_file = |error| if has_many_files { error_in_file(&error, path.as_std_path()) } else { error };
            let file = file.reopened(&self.layout).map_err(name_file)?;
            self.current = Some((Arc::new(file), 0));
        }
    }
}

/// The blocks of a row group that are not planned yet.
struct RowGroupBlocks {
    file: Arc<ParquetFile>,
    group: usize,
    /// Rows that are not in a block yet.
    rows: Range<usize>,
    /// Blocks that are not planned yet.
    count: usize,
    /// The pages of the row group, if it has several blocks.
    pages: Option<Arc<RowGroupPages>>,
}

impl RowGroupBlocks {
    /// Decides on the number of blocks of a row group. The claimed size of a large one is checked against its pages, as
    /// a file may claim any size.
    fn new(file: &Arc<ParquetFile>, group: usize, layout: &ScanLayout) -> PolarsResult<Self> {
        let mut blocks = Self { file: Arc::clone(file), group, rows: 0..0, count: 1, pages: None };
        let row_group = if layout.schema.is_empty() { None } else { Some(file.row_group(group)?) };
        let rows = row_group.as_ref().map_or(file.metadata.num_rows, |group| group.metadata.num_rows());
        // The limit of rows in a column of Polars.
        polars_ensure!(
            rows < IdxSize::MAX as usize,
            ComputeError: "row group {group} claims {rows} rows, which is more than Polars can have: the file may be \
                           damaged"
        );
        blocks.rows = 0..rows;
        if let Some(row_group) = row_group
            && row_group.metadata.total_byte_size() > MAX_BLOCK_BYTES
            && rows > 1
        {
            let pages = row_group.pages(layout)?;
            let bytes = row_group.metadata.total_byte_size().min(pages.decompressed_bytes);
            blocks.count = bytes.div_ceil(MAX_BLOCK_BYTES).clamp(1, rows);
            blocks.pages = (blocks.count > 1).then(|| Arc::new(pages));
        }
        Ok(blocks)
    }

    fn next(&mut self, layout: &Arc<ScanLayout>) -> Option<Arc<RowBlock>> {
        if self.rows.is_empty() {
            return None;
        }
        let end = self.rows.start + self.rows.len().div_ceil(self.count);
        let block = RowBlock::new(layout, &self.file, self.group, self.rows.start..end, self.pages.clone());
        self.rows.start = end;
        self.count -= 1;
        Some(Arc::new(block))
    }
}
