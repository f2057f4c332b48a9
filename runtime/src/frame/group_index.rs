//! [`GroupIndex`]: the rows of each group of a frame, and where group boundaries allow a cut into chunks.

use std::ops::Range;

use polars::prelude::*;

use super::plan::contiguous_ranges;
use super::rows::Rows;
use crate::chunks::split::balanced;

/// The groups of a frame, in the order of their first rows.
pub(super) struct GroupIndex {
    /// The first position of each group, in the frame or in `order`.
    pub(super) starts: Vec<usize>,
    /// The row numbers, group by group. `None` if the rows of each group are adjacent in the frame already.
    pub(super) order: Option<Vec<IdxSize>>,
}

impl GroupIndex {
    /// Groups the rows with equal values in all columns of `keys`.
    pub(super) fn new(keys: &DataFrame) -> PolarsResult<Self> {
        let height = keys.height();
        // A run is a range of adjacent rows with equal keys.
        let runs = run_starts(keys)?;
        // If most runs are single rows, equal keys are most likely not adjacent. Then the check below, which groups the
        // first rows of all runs, would cost as much as grouping all rows.
        if runs.len() <= 1 + height / 2 || is_sorted(keys) {
            let firsts = runs.iter().map(|&row| row_number(row)).collect::<PolarsResult<Vec<_>>>()?;
            if is_sorted(keys) || group_count(&keys.take(&IdxCa::from_vec("".into(), firsts))?)? == runs.len() {
                return Ok(Self { starts: runs, order: None });
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
        Ok(Self { starts, order: Some(order) })
    }
}

/// Whether Polars' sorted flag shows that equal keys are adjacent.
fn is_sorted(keys: &DataFrame) -> bool {
    keys.width() == 1 && keys.columns()[0].is_sorted_flag() != polars::series::IsSorted::Not
}

fn group_count(keys: &DataFrame) -> PolarsResult<usize> {
    Ok(keys.group_by_stable(keys.get_column_names())?.get_groups().len())
}

/// The rows whose keys differ from those of the row before; and row 0.
pub(super) fn run_starts(keys: &DataFrame) -> PolarsResult<Vec<usize>> {
    let height = keys.height();
    if height == 0 {
        return Ok(vec![]);
    }
    let mut differs = BooleanChunked::full("".into(), false, height - 1);
    for column in keys.columns() {
        let (before, after) = (column.slice_rows(0..height - 1), column.slice_rows(1..height));
        differs = differs | after.not_equal_missing(&before)?;
    }
    let changes = differs.iter().enumerate().filter(|(_, differs)| *differs == Some(true));
    Ok(std::iter::once(0).chain(changes.map(|(row, _)| row + 1)).collect())
}

pub(super) fn row_number(row: usize) -> PolarsResult<IdxSize> {
    IdxSize::try_from(row).map_err(|_| polars_err!(ComputeError: "more rows than this build of Polars can number"))
}

/// Balanced chunks, the end of each moved on to the start of the next group.
pub(super) fn chunk_ranges(starts: &[usize], height: usize, chunks: usize) -> Vec<Range<usize>> {
    let mut lengths = Vec::new();
    let (mut start, mut balanced_end) = (0, 0);
    for length in balanced(height, chunks) {
        balanced_end += length;
        let next = starts.partition_point(|&start| start < balanced_end);
        let end = starts.get(next).copied().unwrap_or(height);
        if end > start {
            lengths.push(end - start);
            start = end;
        }
    }
    if lengths.is_empty() {
        lengths.push(0);
    }
    contiguous_ranges(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_where_a_group_begins() {
        assert_eq!(chunk_ranges(&[0, 2, 3, 9], 10, 2), [0..9, 9..10]);
        assert_eq!(chunk_ranges(&[0, 2, 5, 9], 10, 2), [0..5, 5..10]);
        assert_eq!(chunk_ranges(&[0], 10, 4), vec![0..10]);
        assert_eq!(chunk_ranges(&[], 0, 4), vec![0..0]);
    }
}
