//! [`ChangedFileCheck`]: detects files that are modified in place while a scan reads them.

use std::sync::Arc;

use polars::prelude::*;

use super::input_files::InputFiles;
use super::open_file::{FileVersion, OpenFile, modified_in_place_error};

/// The files of a scan and the version of each that is read.
#[derive(Default)]
pub(super) struct ChangedFileCheck {
    files: Vec<CheckedFile>,
    /// Whether Polars opens the files itself: the first one twice, for its schema and for its rows.
    by_path: bool,
}

struct CheckedFile {
    path: PlRefPath,
    version: FileVersion,
    /// The handle that the file is read through. While it is open, the file's inode number is not reused.
    handle: Option<Arc<OpenFile>>,
}

impl CheckedFile {
    /// The version now; `None` for a file that is no longer at its path, as open handles still read its old contents.
    fn current_version(&self) -> Option<FileVersion> {
        let metadata = match &self.handle {
            Some(handle) => handle.file().metadata(),
            None => self.path.as_std_path().metadata(),
        };
        metadata.ok().as_ref().map(FileVersion::from_metadata)
    }
}

impl ChangedFileCheck {
    /// A check of files that Polars opens itself.
    pub(super) fn by_path(files: &InputFiles) -> PolarsResult<Self> {
        let mut check = Self { files: Vec::new(), by_path: true };
        for path in &files.paths {
            let metadata = path.as_std_path().metadata().map_err(|error| files.name_file(path, error.into()))?;
            check.push(path, FileVersion::from_metadata(&metadata), None);
        }
        Ok(check)
    }

    pub(super) fn push(&mut self, path: &PlRefPath, version: FileVersion, handle: Option<Arc<OpenFile>>) {
        self.files.push(CheckedFile { path: path.clone(), version, handle });
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Fails if Polars opens the first file itself and it is no longer the one that the schema was read from. Called
    /// when its first rows have arrived.
    pub(super) fn check_first_file(&self) -> PolarsResult<()> {
        let first = self.files.first().filter(|_| self.by_path);
        let replaced = first.filter(|file| file.current_version().is_some_and(|now| now != file.version));
        replaced.map_or(Ok(()), |file| Err(modified_in_place_error(file.path.as_std_path())))
    }

    /// Fails if a file was modified in place. Called when all rows have arrived.
    pub(super) fn check(&self) -> PolarsResult<()> {
        let is_modified =
            |file: &&CheckedFile| file.current_version().is_some_and(|now| file.version.is_modified_in_place(&now));
        let modified = self.files.iter().find(is_modified);
        modified.map_or(Ok(()), |file| Err(modified_in_place_error(file.path.as_std_path())))
    }
}
