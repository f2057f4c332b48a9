//! [`ChunkError`]: which chunk failed, its rows, and why.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use polars::error::PolarsError;

use crate::chunks::gather::GatherError;

/// A chunk of a frame whose function failed or panicked, or whose result does not fit the others'.
///
/// Its text names the chunk, its rows in the input and the cause. It converts into `PolarsError`, so `?` works
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
    /// The chunk, counted from 0.
    pub chunk: usize,
    /// Its rows in the input. Of a chunk of groups whose rows lie scattered, from the first to the last of them.
    pub rows: Range<usize>,
    /// What the function returned or panicked with, or how the result does not fit.
    pub source: Box<dyn Error + Send + Sync>,
}

impl ChunkError {
    pub(super) fn new(chunk: usize, rows: Range<usize>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { chunk, rows, source: source.into() }
    }

    /// The chunk, counted from 0.
    #[must_use]
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// The rows of the chunk, in the input.
    #[must_use]
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is::<BadCut>() {
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
    /// Keeps the kind of a `PolarsError`, and puts chunk and rows before its text.
    fn from(error: ChunkError) -> Self {
        let ChunkError { chunk, rows, source } = &error;
        if let Some(BadCut::Polars(cause)) = source.downcast_ref() {
            return cause.wrap_msg(str::to_owned);
        }
        match source.downcast_ref::<PolarsError>() {
            Some(cause) => cause.wrap_msg(|text| format!("chunk {chunk} (rows {}..{}): {text}", rows.start, rows.end)),
            None => PolarsError::ComputeError(error.to_string().into()),
        }
    }
}

/// A request that no frame, or not this one, can be cut by.
#[doc(hidden)]
#[derive(Debug)]
pub enum BadCut {
    /// What was asked for makes no sense.
    Asked(&'static str),
    /// Polars cannot do it, for want of a column for example.
    Polars(PolarsError),
}

impl fmt::Display for BadCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(why) => f.write_str(why),
            Self::Polars(cause) => cause.fmt(f),
        }
    }
}

impl Error for BadCut {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Asked(_) => None,
            Self::Polars(cause) => Some(cause),
        }
    }
}

impl From<BadCut> for ChunkError {
    fn from(bad: BadCut) -> Self {
        Self::new(0, 0..0, bad)
    }
}

/// How a chunk's result does not fit, without the chunk's number, which the [`ChunkError`] says.
#[derive(Debug)]
pub(super) enum Misfit {
    /// The others.
    Others(GatherError),
    /// What it was made from.
    Own(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Others(misfit) => write!(f, "its result does not fit the others: {}", misfit.reason()),
            Self::Own(reason) => f.write_str(reason),
        }
    }
}

impl Error for Misfit {}
