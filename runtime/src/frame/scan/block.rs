//! [`Block`]: rows of a Parquet file that are decoded together, its columns by several workers at the same time.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use polars::prelude::*;

use super::catch_panic::guarded_file;
use super::once::Once;
use super::parquet_file::{Layout, Origin, ParquetFile};
use super::row_group::RowGroupPages;

/// Rows that are decoded together.
pub(super) struct Block {
    layout: Arc<Layout>,
    source: Arc<ParquetFile>,
    group: usize,
    /// Its rows in the row group.
    pub(super) rows: Range<usize>,
    /// The pages of the row group, if the block is a part of it.
    pages: Option<Arc<RowGroupPages>>,
    columns: Vec<Cell>,
    frame: OnceLock<DataFrame>,
}

/// A column of a block.
struct Cell {
    /// Whether a worker decodes it, or has.
    begun: AtomicBool,
    column: Once<PolarsResult<Column>>,
}

impl Block {
    pub(super) fn new(
        layout: &Arc<Layout>,
        source: &Arc<ParquetFile>,
        group: usize,
        rows: Range<usize>,
        pages: Option<Arc<RowGroupPages>>,
    ) -> Self {
        let columns =
            layout.columns.iter().map(|_| Cell { begun: AtomicBool::new(false), column: Once::new() }).collect();
        let (layout, source) = (Arc::clone(layout), Arc::clone(source));
        Self { layout, source, group, rows, pages, columns, frame: OnceLock::new() }
    }

    /// The rows. Columns that other workers decode are waited for when all others are decoded.
    pub(super) fn frame(&self) -> PolarsResult<&DataFrame> {
        if let Some(frame) = self.frame.get() {
            return Ok(frame);
        }
        self.decode();
        let columns = self.columns.iter().zip(&self.layout.columns).map(|(cell, origin)| {
            let column = cell.column.get_or_init(|| self.column(*origin)).as_ref();
            column.cloned().map_err(|error| self.source.error(&self.layout, error))
        });
        let frame = DataFrame::new(self.rows.len(), columns.collect::<PolarsResult<Vec<_>>>()?)?;
        Ok(self.frame.get_or_init(|| frame))
    }

    /// Decodes the columns that no worker decodes, and says whether there were any.
    pub(super) fn decode(&self) -> bool {
        let mut any = false;
        for (cell, origin) in self.columns.iter().zip(&self.layout.columns) {
            if !cell.begun.swap(true, Ordering::Relaxed) {
                any = true;
                cell.column.get_or_init(|| self.column(*origin));
            }
        }
        any
    }

    fn column(&self, origin: Origin) -> PolarsResult<Column> {
        match origin {
            Origin::Hive(key) => {
                let column = &self.layout.hive.columns()[key];
                let value = Scalar::new(column.dtype().clone(), column.get(self.source.index)?.into_static());
                Ok(Column::new_scalar(column.name().clone(), value, self.rows.len()))
            }
            Origin::Field(index) => {
                let field = self.layout.field(index)?;
                let pages = self.pages.as_ref().and_then(|pages| pages.columns[index].as_ref());
                guarded_file(|| self.source.row_group(self.group)?.column(field, &self.rows, pages))
            }
        }
    }

    /// Whether other workers decode all columns that are not there yet.
    pub(super) fn is_being_decoded(&self) -> bool {
        self.frame.get().is_none() && self.columns.iter().all(|cell| cell.begun.load(Ordering::Relaxed))
    }
}
