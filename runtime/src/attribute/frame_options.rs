//! The options `by = [..]` and `overlap = N` of chunked frames.
//!
//! The traits are implemented with the feature `polars` only; without it, their compile errors say so.

use std::marker::PhantomData;
use std::ops::Range;

use super::chunks::{CutAll, Gatherer, gatherer};
use super::cuttable::{ChunkStorage, Cuttable};
use crate::chunks::gather::{Gather, GatherError};
use crate::chunks::split::Cut;

/// A value that can be cut between groups of rows.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cut by groups",
    label = "has no columns to group by",
    note = "`by` takes a `DataFrame` or `&DataFrame`, and needs the feature `polars` of fanfold"
)]
pub trait Grouped<'r>: Cuttable<'r> {
    /// Pieces of whole groups, each with the number of its rows.
    ///
    /// # Errors
    ///
    /// If a key names no column.
    fn between_groups(
        self,
        keys: &[&str],
        cut: Cut,
        workers: usize,
        storage: &'r ChunkStorage,
    ) -> Result<Vec<(usize, Self)>, GatherError>;
}

/// Cuts an argument between groups.
pub struct GroupCutter<'r, S> {
    keys: &'static [&'static str],
    storage: &'r ChunkStorage,
    _cut: PhantomData<fn(S)>,
}

/// The cutter for `by = [..]`.
#[must_use]
pub fn cutter_by<'r, S: Grouped<'r>>(keys: &'static [&'static str], storage: &'r ChunkStorage) -> GroupCutter<'r, S> {
    GroupCutter { keys, storage, _cut: PhantomData }
}

impl<'r, S: Grouped<'r>> CutAll<S> for GroupCutter<'r, S> {
    fn size(&self, whole: &S, _: &str) -> usize {
        whole.items()
    }

    fn cut(&self, whole: S, sizes: &[usize], _: &str) -> Vec<S> {
        whole.pieces(sizes, self.storage)
    }

    fn auto(&self, whole: &S, workers: usize) -> usize {
        whole.auto(workers)
    }

    fn polars(&self) -> bool {
        S::POLARS
    }

    fn pieces(&self, whole: S, cut: Cut, workers: usize, _: &str) -> Result<Vec<(usize, S)>, GatherError> {
        whole.between_groups(self.keys, cut, workers, self.storage)
    }
}

/// A value that can be cut into pieces that overlap.
#[diagnostic::on_unimplemented(
    message = "pieces of `{Self}` cannot overlap",
    label = "has no rows to see",
    note = "`overlap` takes a `DataFrame`, `Series` or `Column`, or a reference to one, and needs the feature `polars` of fanfold"
)]
pub trait Overlapping<'r>: Cuttable<'r> {
    /// A piece for each range of rows.
    #[must_use]
    fn slices(self, rows: &[Range<usize>], storage: &'r ChunkStorage) -> Vec<Self>;
}

/// Cuts an argument into pieces that begin with the last rows of the piece before.
pub struct OverlapCutter<'r, S> {
    before: usize,
    storage: &'r ChunkStorage,
    _cut: PhantomData<fn(S)>,
}

/// The cutter for `overlap = N`.
#[must_use]
pub fn cutter_overlapping<'r, S: Overlapping<'r>>(before: usize, storage: &'r ChunkStorage) -> OverlapCutter<'r, S> {
    OverlapCutter { before, storage, _cut: PhantomData }
}

impl<'r, S: Overlapping<'r>> CutAll<S> for OverlapCutter<'r, S> {
    fn size(&self, whole: &S, _: &str) -> usize {
        whole.items()
    }

    fn cut(&self, whole: S, sizes: &[usize], _: &str) -> Vec<S> {
        let mut start = 0;
        let slices = sizes.iter().map(|size| {
            start += size;
            (start - size).saturating_sub(self.before)..start
        });
        whole.slices(&slices.collect::<Vec<_>>(), self.storage)
    }

    fn auto(&self, whole: &S, workers: usize) -> usize {
        whole.auto(workers)
    }

    fn polars(&self) -> bool {
        S::POLARS
    }
}

/// A result from which the rows of the overlap can be cut off.
#[diagnostic::on_unimplemented(
    message = "an overlap cannot be cut off from results of type `{Self}`",
    label = "has no rows to cut off",
    note = "with `overlap` the function gives a `DataFrame`, `Series` or `Column`, or a `Result` or `Option` of one"
)]
pub trait Trimmed: Gather {
    /// The rows after the first `before`. The result must have `height` rows in all.
    ///
    /// # Errors
    ///
    /// If it has more or fewer rows.
    fn trimmed(self, chunk: usize, before: usize, height: usize) -> Result<Self, GatherError>;
}

impl<T: Trimmed, E> Trimmed for Result<T, E> {
    fn trimmed(self, chunk: usize, before: usize, height: usize) -> Result<Self, GatherError> {
        match self {
            Ok(rows) => rows.trimmed(chunk, before, height).map(Ok).or_else(Self::refuse),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl<T: Trimmed> Trimmed for Option<T> {
    fn trimmed(self, chunk: usize, before: usize, height: usize) -> Result<Self, GatherError> {
        self.map(|rows| rows.trimmed(chunk, before, height)).transpose()
    }
}

/// Gathers the results of overlapping pieces.
#[must_use]
pub fn gatherer_overlapping<'f, R: Trimmed>(before: usize) -> Gatherer<'f, R> {
    gatherer().trimmed(before, R::trimmed)
}
