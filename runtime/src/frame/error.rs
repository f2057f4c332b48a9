//! [`ChunkError`]: the error of a frame's chunk, with the chunk's number and rows.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use polars::error::PolarsError;

use crate::chunks::gather::GatherError;

/// The error of a chunk of a frame: its function returned an error or panicked, or its result has other columns than
/// those of the other chunks.
///
/// The text names the chunk, its rows in the input and the cause. It converts into `PolarsError`, so `?` works
/// in a function that returns `PolarsResult`.
///
/// # Examples
///
/// ```
/// use fanfold::prelude::*;
/// use polars::prelude::*;
///
/// # fn main() -> PolarsResult<()> {
/// let df = df!("x" => 0..100_i32)?;
/// let error = df.par_chunks(4).map(|chunk| chunk.select(["y"])).unwrap_err();
/// assert_eq!(error.rows(), 0..25);
/// assert!(error.to_string().starts_with("chunk 0 (rows 0..25): "));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChunkError {
    /// The index of the chunk.
    pub chunk: usize,
    /// The chunk's rows in the input. If the chunk has groups whose rows are not adjacent, the range from the first row
    /// to the last one. If the function of [`try_map_rows`](crate::FrameChunks::try_map_rows) failed, its row alone.
    pub rows: Range<usize>,
    /// The function's error or panic, or the difference of the result from the others.
    pub source: Box<dyn Error + Send + Sync>,
}

impl ChunkError {
    pub(super) fn new(chunk: usize, rows: Range<usize>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        match source.into().downcast::<FailedRow>() {
            Ok(failed) => Self { chunk, rows: failed.row..failed.row + 1, source: failed.source },
            Err(source) => Self { chunk, rows, source },
        }
    }

    /// An error of the whole input, which is displayed without a chunk.
    #[cfg(feature = "process")]
    pub(crate) fn of_input(error: PolarsError) -> Self {
        Self { chunk: 0, rows: 0..0, source: Box::new(FrameError::Polars(error)) }
    }

    /// The index of the chunk.
    #[must_use]
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// The rows of the chunk in the input.
    #[must_use]
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is::<FrameError>() {
            return self.source.fmt(f);
        }
        let Self { chunk, rows, source } = self;
        write!(f, "chunk {chunk} (rows {}..{}): {source}", rows.start, rows.end)
    }
}

impl Error for ChunkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

impl From<ChunkError> for PolarsError {
    /// Keeps the kind of a `PolarsError`, and puts chunk and rows in front of its text.
    fn from(error: ChunkError) -> Self {
        let ChunkError { chunk, rows, source } = &error;
        if let Some(FrameError::Polars(cause)) = source.downcast_ref() {
            return cause.wrap_msg(str::to_owned);
        }
        match source.downcast_ref::<PolarsError>() {
            Some(cause) => cause.wrap_msg(|text| format!("chunk {chunk} (rows {}..{}): {text}", rows.start, rows.end)),
            None => PolarsError::ComputeError(error.to_string().into()),
        }
    }
}

/// An error about the whole frame, such as one that cannot be cut as requested. As the source of a [`ChunkError`] it is
/// displayed without a chunk.
#[doc(hidden)]
#[derive(Debug)]
pub enum FrameError {
    /// The request is invalid for every frame.
    InvalidRequest(&'static str),
    /// An error of Polars, such as a missing column.
    Polars(PolarsError),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest(text) => f.write_str(text),
            Self::Polars(cause) => cause.fmt(f),
        }
    }
}

impl Error for FrameError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidRequest(_) => None,
            Self::Polars(cause) => Some(cause),
        }
    }
}

impl From<FrameError> for ChunkError {
    fn from(error: FrameError) -> Self {
        Self::new(0, 0..0, error)
    }
}

/// The error of a single row of a chunk. The [`ChunkError`] that it becomes has the row alone as its rows.
#[derive(Debug)]
pub(super) struct FailedRow {
    pub(super) row: usize,
    pub(super) source: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for FailedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}: {}", self.row, self.source)
    }
}

impl Error for FailedRow {}

/// Why the result of a chunk cannot be used. The [`ChunkError`] around it has the chunk's number.
#[derive(Debug)]
pub(super) enum ChunkMismatch {
    /// Its columns differ from those of the other chunks.
    OtherChunks(GatherError),
    /// A row or the result of the chunk is not as required.
    WithinChunk(String),
}

impl fmt::Display for ChunkMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherChunks(mismatch) => write!(f, "its result does not fit the others: {}", mismatch.reason()),
            Self::WithinChunk(reason) => f.write_str(reason),
        }
    }
}

impl Error for ChunkMismatch {}
