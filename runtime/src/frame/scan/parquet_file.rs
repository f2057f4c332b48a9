//! [`ParquetFile`]: an open Parquet file and its metadata; and [`ScanLayout`]: the columns that all files of a scan
//! have.

use std::sync::Arc;

use polars::io::parquet::metadata::FileMetadataRef;
use polars::io::parquet::read::infer_schema;
use polars::prelude::*;
use polars_core::utils::arrow::datatypes::Field as ArrowField;
use polars_parquet::read::read_metadata;

use super::catch_panic::catch_file_panic;
use super::error::error_in_file;
use super::input_files::InputFiles;
use super::open_file::{FileVersion, OpenFile};
use super::query_steps::Projection;
use super::row_group::RowGroup;

/// The columns that an error lists at most.
const MAX_LISTED_COLUMNS: usize = 20;

/// Where a column of the scan comes from.
#[derive(Clone, Copy)]
pub(super) enum ColumnOrigin {
    /// A field of the files' schema, by its index.
    Field(usize),
    /// A folder name `key=value`, by the column's index in [`ScanLayout::hive`]. It replaces a field of the same name.
    Hive(usize),
}

/// The columns that all files of a scan have, and those that are read.
pub(super) struct ScanLayout {
    pub(super) schema: Arc<ArrowSchema>,
    /// The columns that are read, in the order of the chunks.
    pub(super) columns: Vec<ColumnOrigin>,
    /// The values of the folder names, one row per file.
    pub(super) hive: DataFrame,
    /// Whether the scan has several files, so that errors must name the one they are about.
    pub(super) has_many_files: bool,
}

impl ScanLayout {
    pub(super) fn new(files: &InputFiles, schema: Arc<ArrowSchema>, projection: &Projection<'_>) -> PolarsResult<Self> {
        let hive = files.hive(&Schema::from_arrow_schema(&schema))?.unwrap_or_default();
        let names = hive.get_column_names();
        let hive_of = |name: &PlSmallStr| names.iter().position(|key| *key == name);
        let fields = schema.iter_names().enumerate();
        let fields = fields.map(|(index, name)| hive_of(name).map_or(ColumnOrigin::Field(index), ColumnOrigin::Hive));
        let added = (0..names.len()).filter(|key| !schema.contains(names[*key])).map(ColumnOrigin::Hive);
        let columns = fields.chain(added).collect();
        let layout = Self { schema, columns, hive, has_many_files: files.paths.len() > 1 };
        match projection {
            Projection::Columns(names) => layout.with_columns(names),
            Projection::AllColumns | Projection::NotPossible => Ok(layout),
        }
    }

    /// The layout with these columns only, in this order.
    fn with_columns(self, names: &[&PlSmallStr]) -> PolarsResult<Self> {
        let mut by_name = PlHashMap::new();
        for origin in &self.columns {
            by_name.insert(self.name(*origin)?.clone(), *origin);
        }
        let columns = names.iter().map(|name| {
            // Each column is taken once.
            by_name.remove(*name).ok_or_else(|| {
                let is_named_twice = names.iter().filter(|other| *other == name).count() > 1;
                match self.columns.len() {
                    _ if is_named_twice => polars_err!(Duplicate: "the column `{name}` is selected twice"),
                    0..=MAX_LISTED_COLUMNS => {
                        let found = self.columns.iter().map(|origin| Ok(format!("`{}`", self.name(*origin)?)));
                        let found = found.collect::<PolarsResult<Vec<_>>>().unwrap_or_default().join(", ");
                        polars_err!(ColumnNotFound: "there is no column `{name}`, only {found}")
                    }
                    count => polars_err!(ColumnNotFound: "there is no column `{name}` among the {count} columns"),
                }
            })
        });
        let columns = columns.collect::<PolarsResult<_>>()?;
        Ok(Self { columns, ..self })
    }

    fn name(&self, origin: ColumnOrigin) -> PolarsResult<&PlSmallStr> {
        match origin {
            ColumnOrigin::Hive(key) => Ok(self.hive.columns()[key].name()),
            ColumnOrigin::Field(index) => Ok(&self.field(index)?.name),
        }
    }

    /// Whether a field of the files is read.
    pub(super) fn reads(&self, field: usize) -> bool {
        self.columns.iter().any(|origin| matches!(origin, ColumnOrigin::Field(index) if *index == field))
    }

    pub(super) fn field(&self, index: usize) -> PolarsResult<&ArrowField> {
        let field = self.schema.get_at_index(index).map(|(_, field)| field);
        field.ok_or_else(|| polars_err!(ComputeError: "no column {index}"))
    }

    /// A frame with these columns and no rows.
    pub(super) fn empty_frame(&self) -> PolarsResult<DataFrame> {
        let columns = self.columns.iter().map(|origin| match origin {
            ColumnOrigin::Hive(key) => Ok(self.hive.columns()[*key].clear()),
            ColumnOrigin::Field(index) => {
                let field = self.field(*index)?;
                Ok(Column::new_empty(field.name.clone(), &DataType::from_arrow_field(field)))
            }
        });
        DataFrame::new(0, columns.collect::<PolarsResult<_>>()?)
    }
}

/// A Parquet file and its metadata.
pub(super) struct ParquetFile {
    pub(super) path: PlRefPath,
    pub(super) version: FileVersion,
    /// The handle that all rows are read through; `None` for a file that is opened again when it is reached.
    pub(super) handle: Option<Arc<OpenFile>>,
    pub(super) metadata: FileMetadataRef,
    /// The file's index in the scan.
    pub(super) index: usize,
}

impl ParquetFile {
    /// Opens a file, reads its metadata, and checks the claimed row counts and byte ranges.
    pub(super) fn open(path: &PlRefPath, index: usize) -> PolarsResult<Self> {
        let file = Arc::new(OpenFile::open(path.as_std_path())?);
        let metadata = Arc::new(catch_file_panic(|| read_metadata(&mut file.file()))?);
        file.check()?;
        let rows = metadata.num_rows;
        let in_groups = metadata.row_groups.iter().fold(0_usize, |rows, group| rows.saturating_add(group.num_rows()));
        // Polars takes `num_rows` as the height of a file without columns, and stops reading where it is 0.
        polars_ensure!(
            rows == in_groups || (1..IdxSize::MAX as usize).contains(&rows),
            ComputeError: "`{path}` is damaged: it claims {rows} rows, and its row groups claim {in_groups}: get a new \
                           copy of it"
        );
        for (group, columns) in metadata.row_groups.iter().enumerate() {
            for column in columns.parquet_columns() {
                polars_ensure!(
                    column.byte_range().end <= file.len(),
                    ComputeError: "`{path}` is damaged: it is {} bytes long, and row group {group} would reach \
                                   beyond: get a new copy of it", file.len()
                );
            }
        }
        Ok(Self { path: path.clone(), version: file.version(), handle: Some(file), metadata, index })
    }

    pub(super) fn schema(&self) -> PolarsResult<Arc<ArrowSchema>> {
        catch_file_panic(|| infer_schema(&self.metadata)).map(Arc::new)
    }

    /// The rows of the file.
    pub(super) fn height(&self, layout: &ScanLayout) -> usize {
        if layout.schema.is_empty() {
            return self.metadata.num_rows;
        }
        self.metadata.row_groups.iter().fold(0, |rows, group| rows.saturating_add(group.num_rows()))
    }

    /// The number of row groups. A file without columns counts as one row group.
    pub(super) fn row_group_count(&self, layout: &ScanLayout) -> usize {
        if layout.schema.is_empty() { 1 } else { self.metadata.row_groups.len() }
    }

    /// The file with an open handle. A file that was replaced before it is reached is read in its new version.
    pub(super) fn reopened(self, layout: &ScanLayout) -> PolarsResult<Self> {
        if self.handle.is_some() {
            return Ok(self);
        }
        let file = OpenFile::open(self.path.as_std_path())?;
        if file.version() == self.version {
            return Ok(Self { handle: Some(Arc::new(file)), ..self });
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
        let (file, metadata) = (self.handle.as_deref(), self.metadata.row_groups.get(index));
        let (file, metadata) = file.zip(metadata).ok_or_else(|| polars_err!(ComputeError: "no row group {index}"))?;
        Ok(RowGroup { file, metadata, index })
    }

    /// The error, with the file's path in front if the scan has several files.
    pub(super) fn name_in_error(&self, layout: &ScanLayout, error: &PolarsError) -> PolarsError {
        if layout.has_many_files {
            error_in_file(error, self.path.as_std_path())
        } else {
            error.wrap_msg(str::to_owned)
        }
    }
}
