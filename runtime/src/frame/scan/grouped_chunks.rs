//! [`GroupedChunks`]: the chunks of a source, each with whole groups: adjacent rows with equal keys.
//!
//! A chunk ends where its last group begins, and the rows of this group begin the next chunk. That the rows of a group
//! are adjacent is checked by a hash of the keys of each group, 8 bytes a group.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use polars::prelude::row_encode::encode_rows_unordered;
use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use super::chunk_source::ChunkSource;
use crate::frame::group_index::run_starts;
use crate::frame::rows::Rows;

/// A source whose chunks have whole groups.
pub(super) struct GroupedChunks {
    source: Box<ChunkSource>,
    keys: Vec<PlSmallStr>,
    /// The rows of the last group so far, in parts.
    carried: Vec<DataFrame>,
    /// Hashes of the keys of the groups that are passed on.
    seen: HashSet<u64>,
    hasher: RandomState,
    is_exhausted: bool,
}

impl GroupedChunks {
    pub(super) fn new(source: ChunkSource, keys: Vec<PlSmallStr>) -> Self {
        let (source, hasher) = (Box::new(source), RandomState::new());
        Self { source, keys, carried: Vec::new(), seen: HashSet::new(), hasher, is_exhausted: false }
    }

    /// The next chunk; `None` at the end of the source.
    pub(super) fn next(&mut self) -> PolarsResult<Option<DataFrame>> {
        while !self.is_exhausted {
            let Some(chunk) = self.source.next()? else {
                self.is_exhausted = true;
                break;
            };
            let rows = chunk.rows()?;
            // With the row before it, the first row shows whether it begins a group.
            let before = self.carried.last().map(|part| part.tail(Some(1)));
            let with_before = match &before {
                Some(before) => accumulate_dataframes_vertical([self.key_columns(before)?, self.key_columns(&rows)?])?,
                None => self.key_columns(&rows)?,
            };
            let starts = run_starts(&with_before)?;
            let Some(last) = starts.last().copied().filter(|last| *last > 0) else {
                self.carried.push(rows);
                continue;
            };
            let last = last - usize::from(before.is_some());
            self.carried.push(rows.slice_rows(0..last));
            let ended = std::mem::replace(&mut self.carried, vec![rows.slice_rows(last..rows.height())]);
            return self.checked(ended).map(Some);
        }
        let rest = std::mem::take(&mut self.carried);
        if rest.is_empty() { Ok(None) } else { self.checked(rest).map(Some) }
    }

    fn key_columns(&self, rows: &DataFrame) -> PolarsResult<DataFrame> {
        rows.select(self.keys.iter().cloned())
    }

    /// The rows of whole groups. Fails if one of the groups was there before.
    fn checked(&mut self, mut parts: Vec<DataFrame>) -> PolarsResult<DataFrame> {
        let rows = if parts.len() == 1 { parts.swap_remove(0) } else { accumulate_dataframes_vertical(parts)? };
        let keys = self.key_columns(&rows)?;
        let starts = run_starts(&keys)?;
        let numbers =
            starts.iter().map(|&row| crate::frame::group_index::row_number(row)).collect::<PolarsResult<_>>()?;
        let firsts = keys.take(&IdxCa::from_vec("".into(), numbers))?;
        let encoded = encode_rows_unordered(firsts.columns())?;
        for (group, row) in encoded.iter().enumerate() {
            if !self.seen.insert(self.hasher.hash_one(row)) {
                let values =
                    firsts.columns().iter().map(|column| Ok(format!("{} = {}", column.name(), column.get(group)?)));
                let label = values.collect::<PolarsResult<Vec<_>>>()?.join(", ");
                polars_bail!(
                    InvalidOperation: "rows of the group {label} come again behind other groups: sort the input by the \
                                       keys, or collect it and use `par_groups` of the frame"
                );
            }
        }
        Ok(rows)
    }
}
