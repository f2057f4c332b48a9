//! Frames as chunked arguments of annotated functions that say `by` or `overlap`.

use std::ops::Range;

use polars::prelude::*;

use super::cut::Rows;
use super::groups::ByGroups;
use super::plan::{Pieces, Plan};
use crate::cut_frames::{Grouped, Overlapping, Trimmed};
use crate::gather::GatherError;
use crate::split::Cut;

impl Grouped for DataFrame {
    fn between_groups(self, keys: &[&str], cut: Cut, workers: usize) -> Result<Vec<(usize, Self)>, GatherError> {
        let refused = |error: String| GatherError::whole(format!("the frame cannot be cut by groups: {error}"));
        let chunks = match cut {
            Cut::Chunks(chunks) => Some(chunks),
            Cut::Size(size) => Some(self.height().div_ceil(size.max(1)).max(1)),
            Cut::Auto => None,
        };
        let plan = ByGroups::of(keys.iter().map(|key| (*key).into()).collect(), chunks);
        let pieces = plan.pieces(&self, workers).map_err(|bad| refused(bad.to_string()))?;
        let taken = (0..pieces.count()).map(|piece| Ok((pieces.height(piece), pieces.take(&self, piece)?)));
        taken.collect::<PolarsResult<_>>().map_err(|error| refused(error.to_string()))
    }
}

macro_rules! overlapping {
    ($($type:ty)*) => {$(
        impl Overlapping for $type {
            fn seen(&self, rows: Range<usize>) -> Self {
                self.rows(rows)
            }
        }

        impl Trimmed for $type {
            fn trimmed(self, chunk: usize, before: usize, height: usize) -> Result<Self, GatherError> {
                let found = self.count();
                if found != height {
                    let reason = format!(
                        "the function gave {found} rows for the {height} it saw: with an overlap it must give one for \
                         each"
                    );
                    return Err(GatherError::new(chunk, reason));
                }
                Ok(self.rows(before..height))
            }
        }
    )*};
}
overlapping!(DataFrame Series Column);
