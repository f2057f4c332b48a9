//! Cutting between groups: [`ByGroups`].
//!
//! Where each group's rows stand together, the balanced cuts move on to where the next group begins: slices, without
//! a copy. Elsewhere the groups' rows are listed one group after the other, the list is cut in the same way, and each
//! chunk is gathered by its part of the list.

use std::any::type_name_of_val;
use std::ops::Range;

use polars::prelude::*;

use super::chunks::FrameChunks;
use super::error::{BadCut, ChunkError};
use super::plan::{self, Pieces, Plan};
use super::rows::Rows;
use super::{chunk_count, concat};
use crate::chunks::split::balanced;
use crate::error::panics;

/// Chunks of whole groups, as [`par_groups`](crate::ParallelFrame::par_groups) cuts them.
#[derive(Clone, Debug)]
pub struct ByGroups {
    keys: Vec<PlSmallStr>,
    chunks: Option<usize>,
    keep_order: bool,
}

impl ByGroups {
    pub(crate) fn new(keys: Vec<PlSmallStr>) -> Self {
        Self::of(keys, None)
    }

    pub(crate) fn of(keys: Vec<PlSmallStr>, chunks: Option<usize>) -> Self {
        Self { keys, chunks, keep_order: false }
    }
}

impl FrameChunks<'_, DataFrame, ByGroups> {
    /// Packs the groups into so many chunks of about the same number of rows: fewer where a group is larger.
    pub fn chunks(mut self, chunks: usize) -> Self {
        self.plan.chunks = Some(chunks);
        self
    }

    /// Puts the result's rows in the order of the input's. The function must give one row for each it gets, in their
    /// order; another number is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("group" => ["b", "a", "b", "a"], "x" => [1, 2, 3, 4])?;
    /// let same = df.par_groups(["group"]).keep_order(true).map(Ok)?;
    /// assert_eq!(same, df);
    /// # Ok(())
    /// # }
    /// ```
    pub fn keep_order(mut self, keep_order: bool) -> Self {
        self.plan.keep_order = keep_order;
        self
    }

    /// Runs the function on each group by itself, and stacks the results in the order of the groups' first rows:
    /// what Polars' `GroupBy::apply` does, on all cores.
    ///
    /// A frame without rows is one empty group.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map); the text names the group's keys too.
    #[track_caller]
    pub fn map_groups(self, f: impl Fn(DataFrame) -> PolarsResult<DataFrame> + Sync) -> Result<DataFrame, ChunkError> {
        let pieces = self.pieces()?;
        let keys = self.plan.keys.clone();
        let function = type_name_of_val(&f);
        let parts = self.run(&pieces, function, |piece| {
            let chunk = pieces.take(self.whole, piece)?;
            let named = |rows: Range<usize>, text: &str| format!("group {}: {text}", name(&chunk.rows(rows), &keys));
            let results =
                pieces.groups(piece).map(|rows| match panics::catch(function, || f(chunk.rows(rows.clone()))) {
                    Ok(result) => {
                        let in_order = |result| pieces.in_order(result, rows.len());
                        let fitting = result.and_then(|result| {
                            in_order(result).map_err(|reason| PolarsError::ShapeMismatch(reason.into()))
                        });
                        fitting.map_err(|error| error.wrap_msg(|text| named(rows, text)))
                    }
                    Err(panicked) => Err(PolarsError::ComputeError(named(rows, &panicked.to_string()).into())),
                });
            let results = results.collect::<PolarsResult<Vec<_>>>()?;
            let stacked = concat::stack_groups(results).map_err(|misfit| {
                let rows = pieces.groups(piece).nth(misfit.chunk()).unwrap_or(0..0);
                let reason = format!("its result does not fit the others: {}", misfit.reason());
                PolarsError::SchemaMismatch(named(rows, &reason).into())
            })?;
            Ok::<_, PolarsError>(stacked)
        })?;
        self.joined(&pieces, parts)
    }
}

/// A group as a reader knows it: `carrier = "AA"`.
fn name(group: &DataFrame, keys: &[PlSmallStr]) -> String {
    let values = keys.iter().map(|key| {
        let value = group.column(key).and_then(|column| column.get(0));
        value.map_or_else(|_| key.to_string(), |value| format!("{key} = {value}"))
    });
    values.collect::<Vec<_>>().join(", ")
}

impl GroupPieces {
    /// The result for so many rows; an error if their order is to be kept and it has another number.
    fn in_order<R: Rows>(&self, result: R, wanted: usize) -> Result<R, String> {
        let found = result.count();
        if self.keep_order && found != wanted {
            return Err(format!(
                "the function gave {found} rows for {wanted}: to keep the order of the rows it must give one for each"
            ));
        }
        Ok(result)
    }
}

impl plan::sealed::Sealed for ByGroups {}

impl Plan<DataFrame> for ByGroups {
    type Pieces = GroupPieces;

    fn pieces(&self, whole: &DataFrame, workers: usize) -> Result<GroupPieces, BadCut> {
        if self.keys.is_empty() {
            return Err(BadCut::Asked(
                "groups need at least one key: name the columns whose equal values make a group",
            ));
        }
        if self.keys.iter().enumerate().any(|(place, key)| self.keys[..place].contains(key)) {
            return Err(BadCut::Asked("a key of the groups is named twice: name each column once"));
        }
        if self.chunks == Some(0) {
            return Err(BadCut::Asked("a frame cannot be cut into 0 chunks: ask for at least 1"));
        }
        let keys = whole.select(self.keys.iter().cloned()).map_err(BadCut::Polars)?;
        let Groups { starts, order } = groups(&keys).map_err(BadCut::Polars)?;
        let height = whole.height();
        let chunks = self.chunks.unwrap_or_else(|| chunk_count::chunks(height, || whole.bytes(), workers));
        Ok(GroupPieces { cuts: cuts(&starts, height, chunks), starts, order, height, keep_order: self.keep_order })
    }
}

/// The groups of a frame.
struct Groups {
    /// Where each group begins, in the frame or in the list of rows.
    starts: Vec<usize>,
    /// The rows of one group after the other, where they do not stand so already.
    order: Option<Vec<IdxSize>>,
}

fn groups(keys: &DataFrame) -> PolarsResult<Groups> {
    let height = keys.height();
    let runs = runs(keys)?;
    // With so many runs, nearly every group would have to be a row: not worth another look.
    if runs.len() <= 1 + height / 2 || is_sorted(keys) {
        let firsts = runs.iter().map(|&row| row_number(row)).collect::<PolarsResult<Vec<_>>>()?;
        if is_sorted(keys) || count(&keys.take(&IdxCa::from_vec("".into(), firsts))?)? == runs.len() {
            return Ok(Groups { starts: runs, order: None });
        }
    }
    let grouped = keys.group_by_stable(keys.get_column_names())?;
    let mut starts = Vec::new();
    let mut order = Vec::with_capacity(height);
    for group in grouped.get_groups().iter() {
        starts.push(order.len());
        match group {
            GroupsIndicator::Idx((_, rows)) => order.extend_from_slice(rows),
            GroupsIndicator::Slice([first, length]) => order.extend(first..first + length),
        }
    }
    Ok(Groups { starts, order: Some(order) })
}

/// Whether Polars knows that equal keys stand together.
fn is_sorted(keys: &DataFrame) -> bool {
    keys.width() == 1 && keys.columns()[0].is_sorted_flag() != polars::series::IsSorted::Not
}

fn count(keys: &DataFrame) -> PolarsResult<usize> {
    Ok(keys.group_by_stable(keys.get_column_names())?.get_groups().len())
}

/// The rows whose keys differ from those of the row before; the first row is one.
fn runs(keys: &DataFrame) -> PolarsResult<Vec<usize>> {
    let height = keys.height();
    if height == 0 {
        return Ok(vec![]);
    }
    let mut differs = BooleanChunked::full("".into(), false, height - 1);
    for column in keys.columns() {
        let (before, after) = (column.rows(0..height - 1), column.rows(1..height));
        differs = differs | after.not_equal_missing(&before)?;
    }
    let changes = differs.iter().enumerate().filter(|(_, differs)| *differs == Some(true));
    Ok(std::iter::once(0).chain(changes.map(|(row, _)| row + 1)).collect())
}

fn row_number(row: usize) -> PolarsResult<IdxSize> {
    IdxSize::try_from(row).map_err(|_| polars_err!(ComputeError: "more rows than this build of Polars can number"))
}

/// Balanced cuts, each moved on to where the next group begins.
fn cuts(starts: &[usize], height: usize, chunks: usize) -> Vec<Range<usize>> {
    let mut sizes = Vec::new();
    let (mut start, mut ideal) = (0, 0);
    for size in balanced(height, chunks) {
        ideal += size;
        let next = starts.partition_point(|&start| start < ideal);
        let end = starts.get(next).copied().unwrap_or(height);
        if end > start {
            sizes.push(end - start);
            start = end;
        }
    }
    if sizes.is_empty() {
        sizes.push(0);
    }
    plan::ranges(sizes)
}

/// Chunks of whole groups.
#[doc(hidden)]
pub struct GroupPieces {
    /// Where each group begins, in the frame or in `order`.
    starts: Vec<usize>,
    cuts: Vec<Range<usize>>,
    order: Option<Vec<IdxSize>>,
    height: usize,
    keep_order: bool,
}

impl GroupPieces {
    /// The groups of a piece, as rows of it.
    fn groups(&self, piece: usize) -> impl Iterator<Item = Range<usize>> {
        let Range { start, end } = self.cuts[piece];
        let first = self.starts.partition_point(|&group| group < start);
        let last = self.starts.partition_point(|&group| group < end);
        let starts = &self.starts[first..last];
        let ends = starts.iter().skip(1).copied().chain([end]);
        // A frame without rows is one empty group.
        let none = starts.is_empty().then_some(0..0);
        starts.iter().copied().zip(ends).map(move |(from, to)| from - start..to - start).chain(none)
    }
}

impl Pieces<DataFrame> for GroupPieces {
    fn count(&self) -> usize {
        self.cuts.len()
    }

    fn rows(&self, piece: usize) -> Range<usize> {
        let cut = self.cuts[piece].clone();
        let Some(order) = &self.order else { return cut };
        let rows = &order[cut];
        match (rows.iter().min(), rows.iter().max()) {
            (Some(first), Some(last)) => *first as usize..*last as usize + 1,
            _ => 0..0,
        }
    }

    fn height(&self, piece: usize) -> usize {
        self.cuts[piece].len()
    }

    fn take(&self, whole: &DataFrame, piece: usize) -> PolarsResult<DataFrame> {
        let cut = self.cuts[piece].clone();
        match &self.order {
            None => Ok(whole.rows(cut)),
            Some(_) if whole.columns().iter().any(|column| column.dtype().contains_objects()) => polars_bail!(
                InvalidOperation: "Polars cannot pick scattered rows of a column of objects: drop it, or sort the rows by \
                                   the keys before the objects are made"
            ),
            Some(order) => whole.take(&IdxCa::from_slice("".into(), &order[cut])),
        }
    }

    fn trim<R: Rows>(&self, piece: usize, result: R) -> Result<R, String> {
        self.in_order(result, self.cuts[piece].len())
    }

    fn finish<R: Rows>(&self, joined: R) -> PolarsResult<R> {
        let Some(order) = self.order.as_ref().filter(|_| self.keep_order) else { return Ok(joined) };
        let mut places: Vec<IdxSize> = vec![0; self.height];
        for (place, &row) in order.iter().enumerate() {
            places[row as usize] = row_number(place)?;
        }
        joined.picked(&IdxCa::from_vec("".into(), places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_move_on_to_the_next_group() {
        assert_eq!(cuts(&[0, 2, 3, 9], 10, 2), [0..9, 9..10]);
        assert_eq!(cuts(&[0, 2, 5, 9], 10, 2), [0..5, 5..10]);
        assert_eq!(cuts(&[0], 10, 4), vec![0..10]);
        assert_eq!(cuts(&[], 0, 4), vec![0..0]);
    }
}
