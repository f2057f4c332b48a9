//! [`Rebatcher`]: turns batches of any size into batches of one size.

use std::collections::VecDeque;
use std::num::NonZero;

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

/// A queue of batches that gives its rows back in batches of a fixed size.
pub(super) struct Rebatcher {
    /// Rows of an output batch.
    batch_rows: usize,
    queue: VecDeque<DataFrame>,
    /// The first row of the front batch that is not taken yet.
    start: usize,
    /// Rows in the queue that are not taken yet.
    queued_rows: usize,
}

impl Rebatcher {
    pub(super) fn new(batch_rows: NonZero<usize>) -> Self {
        Self { batch_rows: batch_rows.get(), queue: VecDeque::new(), start: 0, queued_rows: 0 }
    }

    pub(super) fn push(&mut self, batch: DataFrame) {
        self.queued_rows += batch.height();
        self.queue.push_back(batch);
    }

    /// The next full batch, if enough rows are queued.
    pub(super) fn next(&mut self) -> PolarsResult<Option<DataFrame>> {
        if self.queued_rows < self.batch_rows { Ok(None) } else { self.take(self.batch_rows) }
    }

    /// The rows that remain at the end: fewer than a full batch.
    pub(super) fn rest(&mut self) -> PolarsResult<Option<DataFrame>> {
        self.take(self.queued_rows)
    }

    fn take(&mut self, rows: usize) -> PolarsResult<Option<DataFrame>> {
        let (mut taken, mut slices) = (0, Vec::new());
        while taken < rows
            && let Some(front) = self.queue.front()
        {
            let slice = front.slice(crate::frame::rows::slice_offset(self.start), rows - taken);
            self.start += slice.height();
            if self.start >= front.height() {
                self.queue.pop_front();
                self.start = 0;
            }
            taken += slice.height();
            if slice.height() > 0 {
                slices.push(slice);
            }
        }
        self.queued_rows -= taken;
        match slices.len() {
            0 => Ok(None),
            1 => Ok(slices.pop()),
            _ => accumulate_dataframes_vertical(slices).map(Some),
        }
    }
}
