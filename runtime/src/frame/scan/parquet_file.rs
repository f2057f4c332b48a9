//! [`ParquetFile`]: an open Parquet file and what its directory says; and [`Layout`], what all files of a scan have in common.

use std::path::Path;
use std::sync::Arc;

use polars::io::parquet::metadata::FileMetadataRef;
use polars::io::parquet::read::infer_schema;
use polars::prelude::*;
use polars_core::utils::arrow::datatypes::Field as ArrowField;
use polars_parquet::read::read_metadata;

use super::catch_panic::guarded_file;
use super::files::Files;
use super::opened::{OpenedFile, Stamp};
use super::row_group::RowGroup;

/// A column of the rows that a scan gives.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// A field of the files' schema.
    Field(usize),
    /// A column of the folders' names, which takes the place of a field of its name.
    Hive(usize),
}

/// What all files of a scan have in common.
pub(super) struct Layout {
    pub(super) schema: Arc<ArrowSchema>,
    pub(super) columns: Vec<Origin>,
    /// A row a file.
    pub(super) hive: DataFrame,
    /// Whether there are others, so that errors must say which one it is.
    pub(super) many: bool,
}

impl Layout {
    pub(super) fn new(files: &Files, schema: Arc<ArrowSchema>) -> PolarsResult<Self> {
        let hive = files.hive(&Schema::from_arrow_schema(&schema))?.unwrap_or_default();
        let names = hive.get_column_names();
        let hive_of = |name: &PlSmallStr| names.iter().position(|key| *key == name);
        let fields = schema.iter_names().enumerate();
        let fields = fields.map(|(index, name)| hive_of(name).map_or(Origin::Field(index), Origin::Hive));
        let added = (0..names.len()).filter(|key| !schema.contains(names[*key])).map(Origin::Hive);
        let columns = fields.chain(added).collect();
        Ok(Self { schema, columns, hive, many: files.paths.len() > 1 })
    }

    pub(super) fn field(&self, index: usize) -> PolarsResult<&ArrowField> {
        let field = self.schema.get_at_index(index).map(|(_, field)| field);
        field.ok_or_else(|| polars_err!(ComputeError: "no column {index}"))
    }

    /// No rows.
    pub(super) fn empty(&self) -> PolarsResult<DataFrame> {
        let columns = self.columns.iter().map(|origin| match origin {
            Origin::Hive(key) => Ok(self.hive.columns()[*key].clear()),
            Origin::Field(index) => {
                let field = self.field(*index)?;
                Ok(Column::new_empty(field.name.clone(), &DataType::from_arrow_field(field)))
            }
        });
        DataFrame::new(0, columns.collect::<PolarsResult<_>>()?)
    }
}

/// A file, and what its directory says.
pub(super) struct ParquetFile {
    pub(super) path: PlRefPath,
    pub(super) stamp: Stamp,
    /// The handle that everything is read through; nothing for a file that is opened again at its turn.
    pub(super) file: Option<Arc<OpenedFile>>,
    pub(super) directory: FileMetadataRef,
    /// Its place among the files.
    pub(super) index: usize,
}

impl ParquetFile {
    pub(super) fn open(path: &PlRefPath, index: usize) -> PolarsResult<Self> {
        let file = Arc::new(OpenedFile::open(path.as_std_path())?);
        let directory = Arc::new(guarded_file(|| read_metadata(&mut file.file()))?);
        file.check()?;
        let rows = directory.num_rows;
        let held = directory.row_groups.iter().fold(0_usize, |rows, group| rows.saturating_add(group.num_rows()));
        // Polars takes the first number for the rows of a file without columns, and trusts a zero.
        polars_ensure!(
            rows == held || (1..IdxSize::MAX as usize).contains(&rows),
            ComputeError: "`{path}` is damaged: it claims {rows} rows, and its row groups claim {held}: get a new copy of it"
        );
        for (group, columns) in directory.row_groups.iter().enumerate() {
            for column in columns.parquet_columns() {
                polars_ensure!(
                    column.byte_range().end <= file.len(),
                    ComputeError: "`{path}` is damaged: it is {} bytes long, and row group {group} would reach \
                                   beyond: get a new copy of it", file.len()
                );
            }
        }
        Ok(Self { path: path.clone(), stamp: file.stamp(), file: Some(file), directory, index })
    }

    pub(super) fn schema(&self) -> PolarsResult<Arc<ArrowSchema>> {
        guarded_file(|| infer_schema(&self.directory)).map(Arc::new)
    }

    /// Rows in all.
    pub(super) fn height(&self, layout: &Layout) -> usize {
        if layout.schema.is_empty() {
            return self.directory.num_rows;
        }
        self.directory.row_groups.iter().fold(0, |rows, group| rows.saturating_add(group.num_rows()))
    }

    /// Row groups; the rows of a file without columns are one.
    pub(super) fn groups(&self, layout: &Layout) -> usize {
        if layout.schema.is_empty() { 1 } else { self.directory.row_groups.len() }
    }

    /// The file with an open handle, as it is now if it was replaced before its turn.
    pub(super) fn reopened(self, layout: &Layout) -> PolarsResult<Self> {
        if self.file.is_some() {
            return Ok(self);
        }
        let file = OpenedFile::open(self.path.as_std_path())?;
        if file.stamp() == self.stamp {
            return Ok(Self { file: Some(Arc::new(file)), ..self });
        }
        drop(file);
        let new = Self::open(&self.path, self.index)?;
        polars_ensure!(
            new.schema()? == layout.schema,
            SchemaMismatch: "`{}` was replaced while files before it were read, by one with another schema: scan again",
            self.path
        );
        Ok(new)
    }

    pub(super) fn row_group(&self, index: usize) -> PolarsResult<RowGroup<'_>> {
        let (file, metadata) = (self.file.as_deref(), self.directory.row_groups.get(index));
        let (file, metadata) = file.zip(metadata).ok_or_else(|| polars_err!(ComputeError: "no row group {index}"))?;
        Ok(RowGroup { file, metadata, index })
    }

    /// An error, with the file that it is about.
    pub(super) fn error(&self, layout: &Layout, error: &PolarsError) -> PolarsError {
        if layout.many { of_file(error, self.path.as_std_path()) } else { error.wrap_msg(str::to_owned) }
    }
}

/// An error, with the file that it is about.
pub(super) fn of_file(error: &PolarsError, path: &Path) -> PolarsError {
    error.wrap_msg(|text| format!("`{}`: {text}", path.display()))
}
