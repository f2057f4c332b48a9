//! Frames, series and columns as chunked arguments: cut by rows without a copy, put together without one.

use polars::prelude::*;

use super::concat;
use crate::gather::{Gather, GatherError};
use crate::split::Split;

/// A row number as Polars' slices take it.
pub(super) fn offset(row: usize) -> i64 {
    // Polars' own row index is at most 64 bits wide, and no frame in memory has 2^63 rows.
    i64::try_from(row).unwrap_or(i64::MAX)
}

macro_rules! by_rows {
    ($type:ty, $height:ident) => {
        impl Split for $type {
            const POLARS: bool = true;

            fn size(&self) -> usize {
                self.$height()
            }

            fn cut(self, at: usize) -> (Self, Self) {
                let height = self.$height();
                (self.slice(0, at), self.slice(offset(at), height - at))
            }

            fn cut_all(self, sizes: &[usize]) -> Vec<Self> {
                let mut start = 0;
                let pieces = sizes.iter().map(|&size| {
                    start += size;
                    self.slice(offset(start - size), size)
                });
                pieces.collect()
            }
        }
    };
}
by_rows!(DataFrame, height);
by_rows!(Series, len);
by_rows!(Column, len);

impl Gather for DataFrame {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        concat::stack(parts)
    }
}

impl Gather for Series {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        concat::stack_series(parts)
    }
}

impl Gather for Column {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        let parts = parts.into_iter().map(Column::take_materialized_series).collect();
        concat::stack_series(parts).map(Column::from)
    }
}
