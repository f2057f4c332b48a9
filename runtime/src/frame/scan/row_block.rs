//! [`RowBlock`]: rows of a Parquet row group that are decoded together, its columns by several workers at once.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use polars::prelude::*;

use super::catch_panic::catch_file_panic;
use super::parquet_file::{ColumnOrigin, ParquetFile, ScanLayout};
use super::row_group::RowGroupPages;
use super::worker_once_lock::WorkerOnceLock;

/// A row group of a Parquet file, or a range of its rows.
pub(super) struct RowBlock {
    layout: Arc<ScanLayout>,
    file: Arc<ParquetFile>,
    /// The index of the row group in the file.
    group: usize,
    /// The rows in the row group.
    pub(super) rows: Range<usize>,
    /// The pages of the row group, if the block is only a part of it.
    pages: Option<Arc<RowGroupPages>>,
    columns: Vec<BlockColumn>,
    frame: OnceLock<DataFrame>,
}

struct BlockColumn {
    /// Whether a worker decodes the column or has decoded it.
    is_claimed: AtomicBool,
    column: WorkerOnceLock<PolarsResult<Column>>,
}

impl RowBlock {
    pub(super) fn new(
        layout: &Arc<ScanLayout>,
        file: &Arc<ParquetFile>,
        group: usize,
        rows: Range<usize>,
        pages: Option<Arc<RowGroupPages>>,
    ) -> Self {
        let column = |_| BlockColumn { is_claimed: AtomicBool::new(false), column: WorkerOnceLock::new() };
        let columns = layout.columns.iter().map(column).collect();
        let (layout, file) = (Arc::clone(layout), Arc::clone(file));
        Self { layout, file, group, rows, pages, columns, frame: OnceLock::new() }
    }

    /// The decoded rows. Decodes all unclaimed columns first, then waits for those that other workers decode.
    pub(super) fn frame(&self) -> PolarsResult<&DataFrame> {
        if let Some(frame) = self.frame.get() {
            return Ok(frame);
        }
        self.decode();
        let columns = self.columns.iter().zip(&self.layout.columns).map(|(slot, origin)| {
            let column = slot.column.get_or_init(|| self.decode_column(*origin)).as_ref();
            column.cloned().map_err(|error| self.file.name_in_error(&self.layout, error))
        });
        let frame = DataFrame::new(self.rows.len(), columns.collect::<PolarsResult<Vec<_>>>()?)?;
        Ok(self.frame.get_or_init(|| frame))
    }

    /// Decodes the columns that no worker has claimed. Returns whether there were any.
    pub(super) fn decode(&self) -> bool {
        let mut any = false;
        for (slot, origin) in self.columns.iter().zip(&self.layout.columns) {
            if !slot.is_claimed.swap(true, Ordering::Relaxed) {
                any = true;
                slot.column.get_or_init(|| self.decode_column(*origin));
            }
        }
        any
    }

    fn decode_column(&self, origin: ColumnOrigin) -> PolarsResult<Column> {
        match origin {
            ColumnOrigin::Hive(key) => {
                let column = &self.layout.hive.columns()[key];
                let value = Scalar::new(column.dtype().clone(), column.get(self.file.index)?.into_static());
                Ok(Column::new_scalar(column.name().clone(), value, self.rows.len()))
            }
            ColumnOrigin::Field(index) => {
                let field = self.layout.field(index)?;
                let pages = self.pages.as_ref().and_then(|pages| pages.columns[index].as_ref());
                catch_file_panic(|| self.file.row_group(self.group)?.decode_column(field, &self.rows, pages))
            }
        }
    }

    /// Whether the block is not complete, and other workers have claimed all columns that are missing.
    pub(super) fn is_claimed(&self) -> bool {
        self.frame.get().is_none() && self.columns.iter().all(|slot| slot.is_claimed.load(Ordering::Relaxed))
    }
}
