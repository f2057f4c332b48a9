//! [`ScanError`]: why rows could not be read, mapped or written.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use polars::error::PolarsError;

use crate::frame::error::ChunkError;

/// Why a [`Scan`](crate::Scan) ended early. It converts into `PolarsError`.
#[non_exhaustive]
#[derive(Debug)]
pub enum ScanError {
    /// The input cannot be read. The text names the file that is at fault; to find it among several CSV or IPC files,
    /// those before it are read again.
    Read {
        /// What was to be read.
        what: String,
        /// Why it cannot.
        source: PolarsError,
    },
    /// A chunk's function failed or panicked, or its result does not fit those before it.
    Chunk(ChunkError),
    /// The output cannot be written. Nothing stands under its name that did not before; but where the error says that its
    /// folder cannot be synced, the complete file does.
    Write {
        /// The file.
        path: PathBuf,
        /// Why it cannot.
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
    /// Keeps the kind of the `PolarsError`, and puts what was done before its text.
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
