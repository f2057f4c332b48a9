//! [`ScanError`]: the error of a scan that cannot read, map or write its rows.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use polars::error::PolarsError;

use crate::frame::error::ChunkError;

/// The error of a [`Scan`](crate::Scan). It converts into `PolarsError`, so `?` works in a function that returns
/// `PolarsResult`.
#[non_exhaustive]
#[derive(Debug)]
pub enum ScanError {
    /// The input cannot be read. The text names the file that cannot be read; to find it among several CSV or IPC
    /// files, the files before it are read again.
    Read {
        /// The path, pattern or query.
        what: String,
        /// The cause.
        source: PolarsError,
    },
    /// A chunk's function returned an error or panicked, or its result has other columns than the results before it.
    Chunk(ChunkError),
    /// The output cannot be written. No file is left where none was, and an existing file is unchanged; but if the
    /// error says that the folder cannot be synced, the complete new file has replaced it.
    Write {
        /// The output file.
        path: PathBuf,
        /// The cause.
        source: PolarsError,
    },
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { what, source } => write!(f, "cannot read {what}: {source}"),
            Self::Chunk(error) => error.fmt(f),
            Self::Write { path, source } => write!(f, "cannot write `{}`: {source}", path.display()),
        }
    }
}

impl Error for ScanError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Chunk(error) => error.source(),
        }
    }
}

impl From<ScanError> for PolarsError {
    /// Keeps the kind of the `PolarsError`, and puts the failed operation in front of its text.
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Read { what, source } => source.wrap_msg(|text| format!("cannot read {what}: {text}")),
            ScanError::Chunk(error) => error.into(),
            ScanError::Write { path, source } => {
                source.wrap_msg(|text| format!("cannot write `{}`: {text}", path.display()))
            }
        }
    }
}

impl From<ChunkError> for ScanError {
    fn from(error: ChunkError) -> Self {
        Self::Chunk(error)
    }
}

/// The error, with a file's path in front.
pub(super) fn error_in_file(error: &PolarsError, path: &Path) -> PolarsError {
    error.wrap_msg(|text| format!("`{}`: {text}", path.display()))
}
