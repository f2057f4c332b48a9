//! Where a frame is cut: [`ByRows`] into balanced slices, which may see rows of their neighbours.

use std::ops::Range;

use super::chunk_count;
use super::error::BadCut;
use super::rows::Rows;
use crate::chunks::split::Cut;

/// How a frame is cut. Sealed: [`ByRows`] and [`ByGroups`](super::groups::ByGroups) are all there is.
pub trait Plan<S>: sealed::Sealed {
    /// The pieces of one frame.
    #[doc(hidden)]
    type Pieces: Pieces<S>;
    /// Decides on the pieces.
    #[doc(hidden)]
    fn pieces(&self, whole: &S, workers: usize) -> Result<Self::Pieces, BadCut>;
    /// Why functions that give no rows back cannot be run on such pieces.
    #[doc(hidden)]
    fn needs_rows(&self) -> Option<&'static str> {
        None
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// The pieces of one frame.
#[doc(hidden)]
pub trait Pieces<S>: Sync {
    /// How many there are; at least one.
    fn count(&self) -> usize;
    /// The rows of a piece, in the frame.
    fn rows(&self, piece: usize) -> Range<usize>;
    /// How many rows the piece has of its own.
    fn height(&self, piece: usize) -> usize {
        self.rows(piece).len()
    }
    /// The piece, as its function gets it.
    fn take(&self, whole: &S, piece: usize) -> polars::prelude::PolarsResult<S>;
    /// What is kept of a piece's result.
    fn trim<R: Rows>(&self, _piece: usize, result: R) -> Result<R, String> {
        Ok(result)
    }
    /// What is made of all pieces' results, once they are put together.
    fn finish<R: Rows>(&self, joined: R) -> polars::prelude::PolarsResult<R> {
        Ok(joined)
    }
}

/// Balanced slices of the rows, as [`par_chunks`](crate::ParallelFrame::par_chunks) and its like cut them.
#[derive(Clone, Copy, Debug)]
pub struct ByRows {
    pub(crate) cut: Cut,
    /// Rows of its neighbours that a chunk sees before and after its own.
    pub(crate) before: usize,
    pub(crate) after: usize,
}

impl ByRows {
    pub(crate) fn new(cut: Cut) -> Self {
        Self { cut, before: 0, after: 0 }
    }

    /// Whether chunks see rows of their neighbours.
    pub(crate) fn overlaps(&self) -> bool {
        self.before > 0 || self.after > 0
    }
}

impl sealed::Sealed for ByRows {}

impl<S: Rows> Plan<S> for ByRows {
    type Pieces = Slices;

    fn pieces(&self, whole: &S, workers: usize) -> Result<Slices, BadCut> {
        match self.cut {
            Cut::Chunks(0) => return Err(BadCut::Asked("a frame cannot be cut into 0 chunks: ask for at least 1")),
            Cut::Size(0) => {
                return Err(BadCut::Asked("a frame cannot be cut into chunks of 0 rows: ask for at least 1"));
            }
            _ => (),
        }
        let rows = whole.count();
        let cut = match self.cut {
            Cut::Auto => Cut::Chunks(chunk_count::chunks(rows, || whole.bytes(), workers)),
            cut => cut,
        };
        Ok(Slices { rows: ranges(cut.sizes(rows, workers)), height: rows, before: self.before, after: self.after })
    }

    fn needs_rows(&self) -> Option<&'static str> {
        self.overlaps().then_some(
            "an overlap is cut off from each chunk's result, so the function must give rows: end with `map`, \
             `try_map` or `map_series`",
        )
    }
}

/// Ranges of these lengths, one after the other.
pub(crate) fn ranges(sizes: Vec<usize>) -> Vec<Range<usize>> {
    let mut start = 0;
    let ranges = sizes.into_iter().map(|size| {
        start += size;
        start - size..start
    });
    ranges.collect()
}

/// Slices of a frame.
#[doc(hidden)]
pub struct Slices {
    rows: Vec<Range<usize>>,
    /// Rows of the frame.
    height: usize,
    before: usize,
    after: usize,
}

impl Slices {
    /// The rows that the function of a piece sees.
    fn seen(&self, piece: usize) -> Range<usize> {
        let Range { start, end } = self.rows[piece];
        start.saturating_sub(self.before)..end.saturating_add(self.after).min(self.height)
    }
}

impl<S: Rows> Pieces<S> for Slices {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn rows(&self, piece: usize) -> Range<usize> {
        self.rows[piece].clone()
    }

    fn take(&self, whole: &S, piece: usize) -> polars::prelude::PolarsResult<S> {
        Ok(whole.rows(self.seen(piece)))
    }

    fn trim<R: Rows>(&self, piece: usize, result: R) -> Result<R, String> {
        if self.before == 0 && self.after == 0 {
            return Ok(result);
        }
        let (own, seen) = (&self.rows[piece], self.seen(piece));
        if result.count() != seen.len() {
            let (found, wanted) = (result.count(), seen.len());
            return Err(format!(
                "the function gave {found} rows for the {wanted} it saw: with an overlap it must give one for each"
            ));
        }
        Ok(result.rows(own.start - seen.start..own.end - seen.start))
    }
}
