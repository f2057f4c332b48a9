//! [`RowGroup`]: decodes rows of a Parquet row group, one column at a time, as the scan of Polars does.
//!
//! Polars' eager reader is not used: in builds with debug assertions it panics on column types that Polars' scan reads
//! (`Float16`, maps, repeated fields).

use std::io::Cursor;
use std::ops::Range;

use polars::io::prelude::_internal::to_deserializer;
use polars::io::prelude::{create_sorting_map, try_set_sorted_flag};
use polars::prelude::*;
use polars_buffer::Buffer;
use polars_core::utils::arrow::datatypes::Field as ArrowField;
use polars_parquet::read::{ColumnChunkMetadata, Filter, PageReader, RowGroupMetadata};

use super::column_pages::{ColumnPages, checked_size};
use super::open_file::OpenFile;
use super::parquet_file::ScanLayout;

/// The number of values that a column chunk may claim without its pages being counted.
const MAX_UNCHECKED_VALUES: usize = 1 << 20;

/// A row group of an open file.
pub(super) struct RowGroup<'a> {
    pub(super) file: &'a OpenFile,
    pub(super) metadata: &'a RowGroupMetadata,
    /// The index of the row group in the file, for errors.
    pub(super) index: usize,
}

/// The positions of a row group's pages.
pub(super) struct RowGroupPages {
    /// The pages of each field, in the schema's order; `None` for fields that are not flat, or not read.
    pub(super) columns: Vec<Option<ColumnPages>>,
    /// The size of the pages that are read, after decompression.
    pub(super) decompressed_bytes: usize,
}

impl RowGroup<'_> {
    /// Reads the headers of all pages of the fields that are read.
    ///
    /// # Errors
    ///
    /// If a flat column has fewer rows than the row group claims.
    pub(super) fn pages(&self, layout: &ScanLayout) -> PolarsResult<RowGroupPages> {
        let mut all = RowGroupPages { columns: Vec::new(), decompressed_bytes: 0 };
        for (index, field) in layout.schema.iter_values().enumerate() {
            if !layout.reads(index) {
                all.columns.push(None);
                continue;
            }
            let mut flat = None;
            for chunk in self.metadata.columns_under_root_iter(&field.name).into_iter().flatten() {
                let pages = ColumnPages::read_headers(self.file, chunk)?;
                all.decompressed_bytes = all.decompressed_bytes.saturating_add(pages.decompressed_bytes());
                flat = Some(pages);
            }
            let flat = flat.filter(|_| self.is_flat(field));
            if let Some(pages) = &flat {
                self.check_rows(field, self.metadata.num_rows(), pages.value_count())?;
            }
            all.columns.push(flat);
        }
        self.file.check()?;
        Ok(all)
    }

    /// Whether a field has one column chunk, with one value per row.
    fn is_flat(&self, field: &ArrowField) -> bool {
        let mut chunks = self.metadata.columns_under_root_iter(&field.name).into_iter().flatten();
        let first = chunks.next().is_some_and(|chunk| chunk.descriptor().descriptor.max_rep_level == 0);
        first && chunks.next().is_none() && !field.dtype().is_nested()
    }

    fn check_rows(&self, field: &ArrowField, claimed: usize, found: usize) -> PolarsResult<()> {
        polars_ensure!(
            claimed <= found,
            ComputeError: "`{}` is damaged: row group {} claims {claimed} rows, and its column `{}` has {found}: get a \
                           new copy of it", self.file.path().display(), self.index, field.name
        );
        Ok(())
    }

    /// Decodes rows of a column. With `pages`, only the pages that hold these rows are read.
    pub(super) fn decode_column(
        &self,
        field: &ArrowField,
        rows: &Range<usize>,
        pages: Option<&ColumnPages>,
    ) -> PolarsResult<Column> {
        let Some(chunks) = self.metadata.columns_under_root_iter(&field.name) else {
            return Ok(Column::full_null(field.name.clone(), rows.len(), &DataType::from_arrow_field(field)));
        };
        let mut rows_in_pages = rows.clone();
        let chunks = chunks.map(|chunk| {
            let bytes = match pages {
                Some(pages) => {
                    let (bytes, rows) = pages.read(self.file, rows)?;
                    rows_in_pages = rows;
                    bytes
                }
                None => {
                    let bytes = self.file.read(&chunk.byte_range())?;
                    // Polars allocates memory for the claimed number of values before it decodes them.
                    let claimed = checked_size(chunk.num_values())?;
                    let allocated = if self.is_flat(field) { claimed.min(rows.len()) } else { claimed };
                    if allocated > MAX_UNCHECKED_VALUES {
                        check_value_count(chunk, &bytes)?;
                    }
                    bytes
                }
            };
            Ok((chunk, bytes))
        });
        let chunks = chunks.collect::<PolarsResult<Vec<_>>>()?;
        let filter = Filter::new_ranged(rows_in_pages.start, rows_in_pages.end);
        let (arrays, _) = to_deserializer(chunks, field.clone(), Some(filter))?;
        // The filter lets no more rows through than it has: only fewer are possible.
        self.check_rows(field, rows.len(), arrays.iter().map(|array| array.len()).sum())?;
        let mut series = Series::try_from((field, arrays))?;
        if let Some([index]) = self.metadata.columns_idxs_under_root_iter(&field.name) {
            try_set_sorted_flag(&mut series, *index, &create_sorting_map(self.metadata));
        }
        Ok(series.into_column())
    }
}

/// Fails if a column chunk claims more values than its pages do.
fn check_value_count(chunk: &ColumnChunkMetadata, bytes: &Buffer<u8>) -> PolarsResult<()> {
    PageReader::new(Cursor::new(bytes.clone()), chunk, Vec::new(), usize::MAX).try_for_each(|page| page.map(drop))?;
    Ok(())
}
