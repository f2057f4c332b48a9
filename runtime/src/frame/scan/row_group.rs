//! [`RowGroup`]: some rows of a Parquet row group, decoded a column at a time, as Polars' scan decodes them.
//!
//! Polars' eager reader asserts, in builds with debug assertions, that no column is of a type that its scan reads
//! (`Float16`, maps, repeated fields).

use std::io::Cursor;
use std::ops::Range;

use polars::io::prelude::_internal::to_deserializer;
use polars::io::prelude::{create_sorting_map, try_set_sorted_flag};
use polars::prelude::*;
use polars_buffer::Buffer;
use polars_core::utils::arrow::datatypes::Field as ArrowField;
use polars_parquet::read::{ColumnChunkMetadata, Filter, PageReader, RowGroupMetadata};

use super::opened::OpenedFile;
use super::pages::{Pages, size};

/// Values that a column chunk may claim to hold without being counted.
const UNCOUNTED: usize = 1 << 20;

/// A row group of an open file.
pub(super) struct RowGroup<'a> {
    pub(super) file: &'a OpenedFile,
    pub(super) metadata: &'a RowGroupMetadata,
    /// Its place in the file, for errors.
    pub(super) index: usize,
}

/// Where the pages of a row group are.
pub(super) struct RowGroupPages {
    /// Those of flat columns, in the schema's order.
    pub(super) columns: Vec<Option<Pages>>,
    /// Size of all pages when they are decompressed.
    pub(super) bytes: usize,
}

impl RowGroup<'_> {
    /// Reads the headers of all pages.
    ///
    /// # Errors
    ///
    /// If a flat column has fewer rows than the row group claims.
    pub(super) fn pages(&self, schema: &ArrowSchema) -> PolarsResult<RowGroupPages> {
        let mut all = RowGroupPages { columns: Vec::new(), bytes: 0 };
        for field in schema.iter_values() {
            let mut flat = None;
            for chunk in self.metadata.columns_under_root_iter(&field.name).into_iter().flatten() {
                let pages = Pages::of(self.file, chunk)?;
                all.bytes = all.bytes.saturating_add(pages.bytes());
                flat = Some(pages);
            }
            let flat = flat.filter(|_| self.is_flat(field));
            if let Some(pages) = &flat {
                self.check_rows(field, self.metadata.num_rows(), pages.values())?;
            }
            all.columns.push(flat);
        }
        self.file.check()?;
        Ok(all)
    }

    /// Whether a field has one column chunk, with a value a row.
    fn is_flat(&self, field: &ArrowField) -> bool {
        let mut chunks = self.metadata.columns_under_root_iter(&field.name).into_iter().flatten();
        let first = chunks.next().is_some_and(|chunk| chunk.descriptor().descriptor.max_rep_level == 0);
        first && chunks.next().is_none() && !field.dtype().is_nested()
    }

    fn check_rows(&self, field: &ArrowField, claimed: usize, held: usize) -> PolarsResult<()> {
        polars_ensure!(
            claimed <= held,
            ComputeError: "`{}` is damaged: row group {} claims {claimed} rows, and its column `{}` has {held}: get a new \
                           copy of it", self.file.path().display(), self.index, field.name
        );
        Ok(())
    }

    /// Decodes rows of a column.
    pub(super) fn column(
        &self,
        field: &ArrowField,
        rows: &Range<usize>,
        pages: Option<&Pages>,
    ) -> PolarsResult<Column> {
        let Some(chunks) = self.metadata.columns_under_root_iter(&field.name) else {
            return Ok(Column::full_null(field.name.clone(), rows.len(), &DataType::from_arrow_field(field)));
        };
        let mut within = rows.clone();
        let chunks = chunks.map(|chunk| {
            let bytes = match pages {
                Some(pages) => {
                    let (bytes, rows) = pages.read(self.file, rows)?;
                    within = rows;
                    bytes
                }
                None => {
                    let bytes = self.file.read(&chunk.byte_range())?;
                    // Polars takes memory for as many values before it decodes them.
                    let claimed = size(chunk.num_values())?;
                    if (if self.is_flat(field) { claimed.min(rows.len()) } else { claimed }) > UNCOUNTED {
                        count(chunk, &bytes)?;
                    }
                    bytes
                }
            };
            Ok((chunk, bytes))
        });
        let chunks = chunks.collect::<PolarsResult<Vec<_>>>()?;
        let filter = Filter::new_ranged(within.start, within.end);
        let (arrays, _) = to_deserializer(chunks, field.clone(), Some(filter))?;
        // A range of rows never gives more of them.
        self.check_rows(field, rows.len(), arrays.iter().map(|array| array.len()).sum())?;
        let mut series = Series::try_from((field, arrays))?;
        if let Some([index]) = self.metadata.columns_idxs_under_root_iter(&field.name) {
            try_set_sorted_flag(&mut series, *index, &create_sorting_map(self.metadata));
        }
        Ok(series.into_column())
    }
}

/// Fails if a column chunk claims more values than its pages do.
fn count(chunk: &ColumnChunkMetadata, bytes: &Buffer<u8>) -> PolarsResult<()> {
    PageReader::new(Cursor::new(bytes.clone()), chunk, Vec::new(), usize::MAX).try_for_each(|page| page.map(drop))?;
    Ok(())
}
