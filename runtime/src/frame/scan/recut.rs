//! [`Recut`]: rows that come in pieces of any size, cut into pieces of one size.

use std::collections::VecDeque;
use std::num::NonZero;

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

/// Rows that came and were not taken yet.
pub(super) struct Recut {
    /// Rows of a piece.
    rows: usize,
    pieces: VecDeque<DataFrame>,
    /// Where in the first piece the next rows begin.
    start: usize,
    /// Rows that wait.
    waiting: usize,
}

impl Recut {
    pub(super) fn new(rows: NonZero<usize>) -> Self {
        Self { rows: rows.get(), pieces: VecDeque::new(), start: 0, waiting: 0 }
    }

    pub(super) fn push(&mut self, rows: DataFrame) {
        self.waiting += rows.height();
        self.pieces.push_back(rows);
    }

    /// The next piece, if enough rows wait.
    pub(super) fn next(&mut self) -> PolarsResult<Option<DataFrame>> {
        if self.waiting < self.rows { Ok(None) } else { self.take(self.rows) }
    }

    /// The rows that are too few for a piece.
    pub(super) fn rest(&mut self) -> PolarsResult<Option<DataFrame>> {
        self.take(self.waiting)
    }

    fn take(&mut self, rows: usize) -> PolarsResult<Option<DataFrame>> {
        let (mut taken, mut parts) = (0, Vec::new());
        while taken < rows
            && let Some(piece) = self.pieces.front()
        {
            let part = piece.slice(crate::frame::rows::offset(self.start), rows - taken);
            self.start += part.height();
            if self.start >= piece.height() {
                self.pieces.pop_front();
                self.start = 0;
            }
            taken += part.height();
            if part.height() > 0 {
                parts.push(part);
            }
        }
        self.waiting -= taken;
        match parts.len() {
            0 => Ok(None),
            1 => Ok(parts.pop()),
            _ => accumulate_dataframes_vertical(parts).map(Some),
        }
    }
}
