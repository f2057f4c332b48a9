//! A look at Parquet files before Polars reads them.
//!
//! A file that lost its middle still has the directory at its end. Polars' streaming engine takes the places named
//! there from the mapped file without asking whether the file is so long, which is undefined behaviour; so they are
//! compared with its length first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use polars::prelude::*;

/// Looks at the files that a path or pattern stands for; those that are not there are left to Polars to tell of.
pub(super) fn look_for(path: &Path) -> PolarsResult<()> {
    for file in files(path) {
        inspect(&file)?;
    }
    Ok(())
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    if path.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        return entries.flat_map(|entry| files(&entry.path())).collect();
    }
    let matches = path.to_str().and_then(|pattern| glob::glob(pattern).ok()).into_iter().flatten().flatten();
    matches.filter(|path| path.is_file()).collect()
}

fn inspect(path: &Path) -> PolarsResult<()> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = ParquetReader::new(file);
    let directory = reader.get_metadata()?;
    for (group, columns) in directory.row_groups.iter().enumerate() {
        for column in columns.parquet_columns() {
            polars_ensure!(
                column.byte_range().end <= length,
                ComputeError: "`{}` is damaged: it is {length} bytes long, and row group {group} would reach beyond: \
                               get a new copy of it", path.display()
            );
        }
    }
    Ok(())
}
