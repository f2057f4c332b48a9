//! `by = [..]` and `overlap = N`: how an annotated function's frame is cut, beside `chunks`.
//!
//! The traits here are implemented with the feature `polars` alone; without it, their messages say so.

use std::marker::PhantomData;
use std::ops::Range;

use super::chunks::{CutAll, Joiner, gatherer};
use super::cuttable::{ChunkStorage, Cuttable};
use crate::chunks::gather::{Gather, GatherError};
use crate::chunks::split::Cut;

/// What can be cut between groups.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cut by groups",
    label = "has no columns to group by",
    note = "`by` takes a `DataFrame` or `&DataFrame`, and needs the feature `polars` of fanfold"
)]
pub trait Grouped<'r>: Cuttable<'r> {
    /// Pieces of whole groups, and how many rows each has.
    ///
    /// # Errors
    ///
    /// If there are no such columns.
    fn between_groups(
        self,
        keys: &[&str],
        cut: Cut,
        workers: usize,
        room: &'r ChunkStorage,
    ) -> Result<Vec<(usize, Self)>, GatherError>;
}

/// Cuts between groups.
pub struct GroupCutter<'r, S> {
    keys: &'static [&'static str],
    room: &'r ChunkStorage,
    _cut: PhantomData<fn(S)>,
}

/// `by = [..]`.
#[must_use]
pub fn cutter_by<'r, S: Grouped<'r>>(keys: &'static [&'static str], room: &'r ChunkStorage) -> GroupCutter<'r, S> {
    GroupCutter { keys, room, _cut: PhantomData }
}

impl<'r, S: Grouped<'r>> CutAll<S> for GroupCutter<'r, S> {
    fn size(&self, whole: &S, _: &str) -> usize {
        whole.items()
    }

    fn cut(&self, whole: S, sizes: &[usize], _: &str) -> Vec<S> {
        whole.pieces(sizes, self.room)
    }

    fn auto(&self, whole: &S, workers: usize) -> usize {
        whole.auto(workers)
    }

    fn polars(&self) -> bool {
        S::POLARS
    }

    fn pieces(&self, whole: S, cut: Cut, workers: usize, _: &str) -> Result<Vec<(usize, S)>, GatherError> {
        whole.between_groups(self.keys, cut, workers, self.room)
    }
}

/// What can be cut into pieces that see their neighbours' rows.
#[diagnostic::on_unimplemented(
    message = "pieces of `{Self}` cannot overlap",
    label = "has no rows to see",
    note = "`overlap` takes a `DataFrame`, `Series` or `Column`, or a reference to one, and needs the feature `polars` of fanfold"
)]
pub trait Overlapping<'r>: Cuttable<'r> {
    /// These rows of it.
    #[must_use]
    fn seen(self, rows: &[Range<usize>], room: &'r ChunkStorage) -> Vec<Self>;
}

/// Cuts into pieces that see rows before their own.
pub struct OverlapCutter<'r, S> {
    before: usize,
    room: &'r ChunkStorage,
    _cut: PhantomData<fn(S)>,
}

/// `overlap = N`.
#[must_use]
pub fn cutter_overlapping<'r, S: Overlapping<'r>>(before: usize, room: &'r ChunkStorage) -> OverlapCutter<'r, S> {
    OverlapCutter { before, room, _cut: PhantomData }
}

impl<'r, S: Overlapping<'r>> CutAll<S> for OverlapCutter<'r, S> {
    fn size(&self, whole: &S, _: &str) -> usize {
        whole.items()
    }

    fn cut(&self, whole: S, sizes: &[usize], _: &str) -> Vec<S> {
        let mut start = 0;
        let seen = sizes.iter().map(|size| {
            start += size;
            (start - size).saturating_sub(self.before)..start
        });
        whole.seen(&seen.collect::<Vec<_>>(), self.room)
    }

    fn auto(&self, whole: &S, workers: usize) -> usize {
        whole.auto(workers)
    }

    fn polars(&self) -> bool {
        S::POLARS
    }
}

/// What rows can be cut off from again.
#[diagnostic::on_unimplemented(
    message = "an overlap cannot be cut off from results of type `{Self}`",
    label = "has no rows to cut off",
    note = "with `overlap` the function gives a `DataFrame`, `Series` or `Column`, or a `Result` or `Option` of one"
)]
pub trait Trimmed: Gather {
    /// The rows behind the first `before`; `height` rows are there in all.
    ///
    /// # Errors
    ///
    /// If there are more or fewer rows.
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

/// How overlapping pieces' results are put together.
#[must_use]
pub fn gatherer_overlapping<R: Trimmed>(before: usize) -> Joiner<R> {
    gatherer().trimmed(before, R::trimmed)
}
