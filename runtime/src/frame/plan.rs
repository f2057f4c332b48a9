//! [`ChunkStrategy`]: decides where a frame is cut into chunks; and [`ByRows`]: into balanced slices of rows.

use std::ops::Range;

use polars::prelude::PolarsResult;

use super::chunk_count;
use super::error::FrameError;
use super::overlap_time::TimeOverlap;
use super::rows::Rows;
use crate::chunks::split::Cut;

/// How a frame is cut. Sealed: [`ByRows`] and [`ByGroups`](super::groups::ByGroups) implement it.
pub trait ChunkStrategy<S>: sealed::Sealed {
    /// The chunks of one frame.
    #[doc(hidden)]
    type Plan: ChunkPlan<S>;
    /// Decides on the chunks.
    #[doc(hidden)]
    fn plan(&self, frame: &S, workers: usize) -> Result<Self::Plan, FrameError>;
    /// The error for a function whose result has no rows, if such functions cannot be mapped.
    #[doc(hidden)]
    fn requires_rows(&self) -> Option<&'static str> {
        None
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// The chunks of one frame, by their index.
#[doc(hidden)]
pub trait ChunkPlan<S>: Sync {
    /// The number of chunks; at least one.
    fn count(&self) -> usize;
    /// The rows of a chunk in the frame.
    fn rows(&self, chunk: usize) -> Range<usize>;
    /// The number of rows of a chunk, without those of an overlap.
    fn height(&self, chunk: usize) -> usize {
        self.rows(chunk).len()
    }
    /// The argument of a chunk's function.
    fn extract(&self, frame: &S, chunk: usize) -> PolarsResult<S>;
    /// The part of a chunk's result that is kept: without the rows of an overlap.
    ///
    /// # Errors
    ///
    /// The text of the error, if the result has another number of rows than the strategy requires.
    fn trim<R: Rows>(&self, _chunk: usize, result: R) -> Result<R, String> {
        Ok(result)
    }
    /// The final result, of the stacked results of all chunks.
    fn finish<R: Rows>(&self, stacked: R) -> PolarsResult<R> {
        Ok(stacked)
    }
}

/// Cuts into balanced slices of the rows, as [`par_chunks`](crate::ParallelFrame::par_chunks) does.
#[derive(Clone, Debug)]
pub struct ByRows {
    pub(crate) cut: Cut,
    /// The rows before its own that a chunk sees.
    pub(crate) overlap_before: usize,
    /// The rows after its own that a chunk sees.
    pub(crate) overlap_after: usize,
    /// The time before its own rows that a chunk sees.
    pub(super) overlap_time: Option<TimeOverlap>,
}

impl ByRows {
    pub(crate) fn new(cut: Cut) -> Self {
        Self { cut, overlap_before: 0, overlap_after: 0, overlap_time: None }
    }

    /// Whether chunks see rows of their neighbours.
    pub(crate) fn has_overlap(&self) -> bool {
        self.overlap_before > 0 || self.overlap_after > 0 || self.overlap_time.is_some()
    }
}

impl sealed::Sealed for ByRows {}

impl<S: Rows> ChunkStrategy<S> for ByRows {
    type Plan = SlicePlan;

    fn plan(&self, frame: &S, workers: usize) -> Result<SlicePlan, FrameError> {
        match self.cut {
            Cut::Chunks(0) => {
                return Err(FrameError::InvalidRequest("a frame cannot be cut into 0 chunks: ask for at least 1"));
            }
            Cut::Size(0) => {
                return Err(FrameError::InvalidRequest(
                    "a frame cannot be cut into chunks of 0 rows: ask for at least 1",
                ));
            }
            _ => (),
        }
        let height = frame.row_count();
        let cut = match self.cut {
            Cut::Auto => Cut::Chunks(chunk_count::default_chunk_count(height, || frame.estimated_bytes(), workers)),
            cut => cut,
        };
        let rows = contiguous_ranges(cut.sizes(height, workers));
        if !self.has_overlap() {
            return Ok(SlicePlan { rows, visible: None });
        }
        let times = self.overlap_time.as_ref().map(TimeOverlap::index).transpose()?;
        let visible = rows.iter().map(|&Range { start, end }| {
            let by_time = times.as_ref().map_or(start, |times| times.first_visible(start));
            let first = start.saturating_sub(self.overlap_before).min(by_time);
            first..end.saturating_add(self.overlap_after).min(height)
        });
        let visible = Some(visible.collect());
        Ok(SlicePlan { rows, visible })
    }

    fn requires_rows(&self) -> Option<&'static str> {
        self.has_overlap().then_some(OVERLAP_NEEDS_ROWS)
    }
}

/// The error of a result with another number of rows than the function saw.
pub(super) fn one_row_each(found: usize, wanted: usize) -> String {
    format!("the function gave {found} rows for the {wanted} it saw: with an overlap it must give one for each")
}

/// The error of a function whose result has no rows.
const OVERLAP_NEEDS_ROWS: &str = "an overlap is cut off from each chunk's result, so the function must give rows: \
                                  end with `map`, `try_map` or `map_series`";

/// Ranges of these lengths, each beginning where the one before ends.
pub(crate) fn contiguous_ranges(lengths: Vec<usize>) -> Vec<Range<usize>> {
    let mut start = 0;
    let ranges = lengths.into_iter().map(|length| {
        start += length;
        start - length..start
    });
    ranges.collect()
}

/// The chunks of [`ByRows`]: slices of the frame.
#[doc(hidden)]
pub struct SlicePlan {
    rows: Vec<Range<usize>>,
    /// The rows of each chunk and of its overlaps, if there are any.
    visible: Option<Vec<Range<usize>>>,
}

impl<S: Rows> ChunkPlan<S> for SlicePlan {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn rows(&self, chunk: usize) -> Range<usize> {
        self.rows[chunk].clone()
    }

    fn extract(&self, frame: &S, chunk: usize) -> PolarsResult<S> {
        let visible = self.visible.as_ref().unwrap_or(&self.rows);
        Ok(frame.slice_rows(visible[chunk].clone()))
    }

    fn trim<R: Rows>(&self, chunk: usize, result: R) -> Result<R, String> {
        let Some(visible) = &self.visible else { return Ok(result) };
        let (own, visible) = (&self.rows[chunk], &visible[chunk]);
        if result.row_count() != visible.len() {
            return Err(one_row_each(result.row_count(), visible.len()));
        }
        Ok(result.slice_rows(own.start - visible.start..own.end - visible.start))
    }
}
