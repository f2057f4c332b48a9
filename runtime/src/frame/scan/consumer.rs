//! [`OrderedConsumer`]: receives the results of a scan's chunks, in input order.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use polars::prelude::*;

use super::error::ScanError;
use crate::frame::error::{ChunkError, ChunkMismatch};
use crate::frame::plan::one_row_each;
use crate::frame::rows::Rows;
use crate::sys::mutex;

/// The number and rows of a chunk in the input.
#[derive(Clone)]
pub(super) struct ChunkPosition {
    pub(super) chunk: usize,
    pub(super) rows: Range<usize>,
    /// The chunk's own rows among those that its function gets, if they are not all its own; and the number of these.
    pub(super) overlap: Option<(Range<usize>, usize)>,
}

impl ChunkPosition {
    /// The result for the chunk's own rows.
    pub(super) fn trim(&self, result: DataFrame) -> Result<DataFrame, ScanError> {
        let Some((own, wanted)) = &self.overlap else { return Ok(result) };
        let found = result.height();
        if found != *wanted {
            return Err(self.error(ChunkMismatch::WithinChunk(one_row_each(found, *wanted))));
        }
        Ok(result.slice_rows(own.clone()))
    }

    pub(super) fn error(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ScanError {
        ChunkError::new(self.chunk, self.rows.clone(), cause).into()
    }
}

/// Receives the results of chunks.
pub(super) trait OrderedConsumer<T>: Sync {
    /// Whether results are frames, from which the rows of an overlap can be cut off.
    const TAKES_ROWS: bool;
    /// A result that is prepared.
    type Prepared: Send;
    /// Called by the worker that has mapped the chunk, at the same time as other workers.
    fn prepare(&self, position: &ChunkPosition, result: T) -> Result<Self::Prepared, ScanError>;
    /// Called in input order, one result at a time.
    fn consume(&self, position: &ChunkPosition, prepared: Self::Prepared) -> Result<(), ScanError>;
}

/// Calls a function with each result.
pub(super) struct ForEach<O>(Mutex<O>);

impl<O> ForEach<O> {
    pub(super) fn new(op: O) -> Self {
        Self(Mutex::new(op))
    }
}

impl<T: Send, O: FnMut(T) -> PolarsResult<()> + Send> OrderedConsumer<T> for ForEach<O> {
    const TAKES_ROWS: bool = false;
    type Prepared = T;

    fn prepare(&self, _: &ChunkPosition, result: T) -> Result<T, ScanError> {
        Ok(result)
    }

    fn consume(&self, position: &ChunkPosition, result: T) -> Result<(), ScanError> {
        (mutex::lock(&self.0))(result).map_err(|error| position.error(error))
    }
}

/// Collects all results and their positions.
#[derive(Default)]
pub(super) struct CollectFrames(Mutex<(Vec<ChunkPosition>, Vec<DataFrame>)>);

impl CollectFrames {
    pub(super) fn into_inner(self) -> (Vec<ChunkPosition>, Vec<DataFrame>) {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OrderedConsumer<DataFrame> for CollectFrames {
    const TAKES_ROWS: bool = true;
    type Prepared = DataFrame;

    fn prepare(&self, position: &ChunkPosition, result: DataFrame) -> Result<DataFrame, ScanError> {
        position.trim(result)
    }

    fn consume(&self, position: &ChunkPosition, result: DataFrame) -> Result<(), ScanError> {
        let (positions, frames) = &mut *mutex::lock(&self.0);
        positions.push(position.clone());
        frames.push(result);
        Ok(())
    }
}
