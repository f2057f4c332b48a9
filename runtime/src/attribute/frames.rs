//! Polars frames as chunked arguments: behind a reference, cut between groups, and with an overlap.

use std::ops::Range;

use polars::prelude::*;

use super::cuttable::{ChunkStorage, Cuttable};
use super::frame_options::{Grouped, Overlapping, Trimmed};
use crate::chunks::gather::GatherError;
use crate::chunks::split::{Cut, Split};
use crate::frame::groups::ByGroups;
use crate::frame::plan::{ChunkPlan, ChunkStrategy};
use crate::frame::rows::Rows;

impl Grouped<'_> for DataFrame {
    fn between_groups(
        self,
        keys: &[&str],
        cut: Cut,
        workers: usize,
        _: &ChunkStorage,
    ) -> Result<Vec<(usize, Self)>, GatherError> {
        let failed = |error: String| GatherError::whole(format!("the frame cannot be cut by groups: {error}"));
        let chunks = match cut {
            Cut::Chunks(chunks) => Some(chunks),
            Cut::Size(size) => Some(self.height().div_ceil(size.max(1)).max(1)),
            Cut::Auto => None,
        };
        let strategy = ByGroups::with_chunk_count(keys.iter().map(|key| (*key).into()).collect(), chunks);
        let plan = strategy.plan(&self, workers).map_err(|error| failed(error.to_string()))?;
        let taken = (0..plan.count()).map(|chunk| Ok((plan.height(chunk), plan.extract(&self, chunk)?)));
        taken.collect::<PolarsResult<_>>().map_err(|error| failed(error.to_string()))
    }
}

impl<'r> Grouped<'r> for &'r DataFrame {
    fn between_groups(
        self,
        keys: &[&str],
        cut: Cut,
        workers: usize,
        storage: &'r ChunkStorage,
    ) -> Result<Vec<(usize, Self)>, GatherError> {
        let pieces = self.clone().between_groups(keys, cut, workers, storage)?;
        let (sizes, pieces): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        Ok(sizes.into_iter().zip(storage.store(pieces)).collect())
    }
}

macro_rules! argument {
    ($($type:ty)*) => {$(
        impl<'r> Cuttable<'r> for &'r $type {
            const POLARS: bool = true;

            fn items(&self) -> usize {
                self.row_count()
            }

            fn auto(&self, workers: usize) -> usize {
                self.auto_chunks(workers)
            }

            fn pieces(self, sizes: &[usize], storage: &'r ChunkStorage) -> Vec<Self> {
                storage.store(self.clone().cut_all(sizes)).iter().collect()
            }
        }

        impl Overlapping<'_> for $type {
            fn slices(self, rows: &[Range<usize>], _: &ChunkStorage) -> Vec<Self> {
                rows.iter().map(|rows| self.slice_rows(rows.clone())).collect()
            }
        }

        impl<'r> Overlapping<'r> for &'r $type {
            fn slices(self, rows: &[Range<usize>], storage: &'r ChunkStorage) -> Vec<Self> {
                storage.store(self.clone().slices(rows, storage)).iter().collect()
            }
        }

        impl Trimmed for $type {
            fn trimmed(self, chunk: usize, before: usize, height: usize) -> Result<Self, GatherError> {
                let found = self.row_count();
                if found != height {
                    let reason = format!(
                        "the function gave {found} rows for the {height} it saw: with an overlap it must give one \
                         for each"
                    );
                    return Err(GatherError::new(chunk, reason));
                }
                Ok(self.slice_rows(before..height))
            }
        }
    )*};
}
argument!(DataFrame Series Column);
