//! [`Rows`]: what is cut by rows without a copy and put together without one; and the same as chunked arguments.

use std::ops::Range;

use polars::prelude::*;

use super::{chunk_count, concat};
use crate::chunks::gather::{Gather, GatherError};
use crate::chunks::split::Split;

/// A row number as Polars' slices take it.
pub(super) fn offset(row: usize) -> i64 {
    // Polars' own row index is at most 64 bits wide, and no frame in memory has 2^63 rows.
    i64::try_from(row).unwrap_or(i64::MAX)
}

/// What [`FrameChunks`](crate::FrameChunks) cuts, and what its functions give back: `DataFrame`, `Series` and `Column`.
pub trait Rows: Send + Sync + Sized + sealed::Sealed {
    /// How many rows there are.
    #[doc(hidden)]
    fn count(&self) -> usize;
    /// These rows, without a copy of their values.
    #[doc(hidden)]
    #[must_use]
    fn rows(&self, rows: Range<usize>) -> Self;
    /// What the values take in memory, about.
    #[doc(hidden)]
    fn bytes(&self) -> usize;
    /// Puts parts together in order, each fitted to `schema` or else to the others.
    #[doc(hidden)]
    fn stack(parts: Vec<Self>, schema: Option<&Schema>) -> Result<Self, GatherError>;
    /// Copies each column into one piece; but objects, which Polars leaves to Python to copy.
    #[doc(hidden)]
    #[must_use]
    fn in_one_piece(self) -> Self;
    /// The rows of these numbers, in their order.
    #[doc(hidden)]
    fn picked(&self, rows: &IdxCa) -> PolarsResult<Self>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for polars::prelude::DataFrame {}
    impl Sealed for polars::prelude::Series {}
    impl Sealed for polars::prelude::Column {}
}

impl Rows for DataFrame {
    fn count(&self) -> usize {
        self.height()
    }

    fn rows(&self, rows: Range<usize>) -> Self {
        self.slice(offset(rows.start), rows.len())
    }

    fn bytes(&self) -> usize {
        self.estimated_size()
    }

    fn stack(parts: Vec<Self>, schema: Option<&Schema>) -> Result<Self, GatherError> {
        concat::stack(parts, schema)
    }

    fn in_one_piece(mut self) -> Self {
        if self.columns().iter().all(|column| !column.dtype().contains_objects()) {
            self.rechunk_mut();
            return self;
        }
        for position in 0..self.width() {
            let column = self.columns()[position].clone().in_one_piece();
            // Of the same name and length, it is never refused.
            let _ = self.replace_column(position, column);
        }
        self
    }

    fn picked(&self, rows: &IdxCa) -> PolarsResult<Self> {
        self.take(rows)
    }
}

impl Rows for Series {
    fn count(&self) -> usize {
        self.len()
    }

    fn rows(&self, rows: Range<usize>) -> Self {
        self.slice(offset(rows.start), rows.len())
    }

    fn bytes(&self) -> usize {
        self.estimated_size()
    }

    fn stack(parts: Vec<Self>, schema: Option<&Schema>) -> Result<Self, GatherError> {
        concat::stack_series(parts, schema)
    }

    fn in_one_piece(self) -> Self {
        if self.dtype().contains_objects() { self } else { self.rechunk() }
    }

    fn picked(&self, rows: &IdxCa) -> PolarsResult<Self> {
        self.take(rows)
    }
}

impl Rows for Column {
    fn count(&self) -> usize {
        self.len()
    }

    fn rows(&self, rows: Range<usize>) -> Self {
        self.slice(offset(rows.start), rows.len())
    }

    fn bytes(&self) -> usize {
        self.as_materialized_series().estimated_size()
    }

    fn stack(parts: Vec<Self>, schema: Option<&Schema>) -> Result<Self, GatherError> {
        let parts = parts.into_iter().map(Column::take_materialized_series).collect();
        concat::stack_series(parts, schema).map(Column::from)
    }

    fn in_one_piece(self) -> Self {
        self.take_materialized_series().in_one_piece().into_column()
    }

    fn picked(&self, rows: &IdxCa) -> PolarsResult<Self> {
        self.take(rows)
    }
}

macro_rules! chunked_argument {
    ($($type:ty)*) => {$(
        impl Split for $type {
            const POLARS: bool = true;

            fn size(&self) -> usize {
                self.count()
            }

            fn auto_chunks(&self, workers: usize) -> usize {
                chunk_count::chunks(self.count(), || self.bytes(), workers)
            }

            fn cut(self, at: usize) -> (Self, Self) {
                (self.rows(0..at), self.rows(at..self.count()))
            }

            fn cut_all(self, sizes: &[usize]) -> Vec<Self> {
                let mut start = 0;
                let pieces = sizes.iter().map(|&size| {
                    start += size;
                    self.rows(start - size..start)
                });
                pieces.collect()
            }
        }

        impl Gather for $type {
            fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
                Self::stack(parts, None)
            }
        }
    )*};
}
chunked_argument!(DataFrame Series Column);
