//! [`Rows`]: the types that are cut by rows and stacked without a copy, `DataFrame`, `Series` and `Column`; and their
//! use as chunked arguments of `#[parallel]` functions.

use std::ops::Range;

use polars::prelude::*;

use super::{chunk_count, concat};
use crate::chunks::gather::{Gather, GatherError};
use crate::chunks::split::Split;

/// A row number as the signed offset that Polars' `slice` takes.
pub(super) fn slice_offset(row: usize) -> i64 {
    // Polars' row index has at most 64 bits, and no frame in memory has 2^63 rows.
    i64::try_from(row).unwrap_or(i64::MAX)
}

/// The types that [`FrameChunks`](crate::FrameChunks) cuts and that its functions return: `DataFrame`, `Series` and
/// `Column`.
pub trait Rows: Send + Sync + Sized + sealed::Sealed {
    /// The number of rows.
    #[doc(hidden)]
    fn row_count(&self) -> usize;
    /// A slice of rows, which shares the values' buffers.
    #[doc(hidden)]
    #[must_use]
    fn slice_rows(&self, rows: Range<usize>) -> Self;
    /// The estimated size of the values in memory.
    #[doc(hidden)]
    fn estimated_bytes(&self) -> usize;
    /// Stacks parts in order. Null columns are cast to the types of `schema`, or else of the other parts.
    #[doc(hidden)]
    fn stack(parts: Vec<Self>, schema: Option<&Schema>) -> Result<Self, GatherError>;
    /// Copies each column into one contiguous buffer, except columns of objects: Polars can copy these for Python only.
    #[doc(hidden)]
    #[must_use]
    fn rechunked(self) -> Self;
    /// The rows of these numbers, in this order.
    #[doc(hidden)]
    fn take_rows(&self, rows: &IdxCa) -> PolarsResult<Self>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for polars::prelude::DataFrame {}
    impl Sealed for polars::prelude::Series {}
    impl Sealed for polars::prelude::Column {}
}

impl Rows for DataFrame {
    fn row_count(&self) -> usize {
        self.height()
    }

    fn slice_rows(&self, rows: Range<usize>) -> Self {
        self.slice(slice_offset(rows.start), rows.len())
    }

    fn estimated_bytes(&self) -> usize {
        self.estimated_size()
    }

    fn stack(parts: Vec<Self>, schema: Option<&Schema>) -> Result<Self, GatherError> {
        concat::stack(parts, schema)
    }

    fn rechunked(mut self) -> Self {
        if self.columns().iter().all(|column| !column.dtype().contains_objects()) {
            self.rechunk_mut();
            return self;
        }
        for position in 0..self.width() {
            let column = self.columns()[position].clone().rechunked();
            // The new column has the same name and length, so this never fails.
            let _ = self.replace_column(position, column);
        }
        self
    }

    fn take_rows(&self, rows: &IdxCa) -> PolarsResult<Self> {
        self.take(rows)
    }
}

impl Rows for Series {
    fn row_count(&self) -> usize {
        self.len()
    }

    fn slice_rows(&self, rows: Range<usize>) -> Self {
        self.slice(slice_offset(rows.start), rows.len())
    }

    fn estimated_bytes(&self) -> usize {
        self.estimated_size()
    }

    fn stack(parts: Vec<Self>, schema: Option<&Schema>) -> Result<Self, GatherError> {
        concat::stack_series(parts, schema)
    }

    fn rechunked(self) -> Self {
        if self.dtype().contains_objects() { self } else { self.rechunk() }
    }

    fn take_rows(&self, rows: &IdxCa) -> PolarsResult<Self> {
        self.take(rows)
    }
}

impl Rows for Column {
    fn row_count(&self) -> usize {
        self.len()
    }

    fn slice_rows(&self, rows: Range<usize>) -> Self {
        self.slice(slice_offset(rows.start), rows.len())
    }

    fn estimated_bytes(&self) -> usize {
        self.as_materialized_series().estimated_size()
    }

    fn stack(parts: Vec<Self>, schema: Option<&Schema>) -> Result<Self, GatherError> {
        let parts = parts.into_iter().map(Column::take_materialized_series).collect();
        concat::stack_series(parts, schema).map(Column::from)
    }

    fn rechunked(self) -> Self {
        self.take_materialized_series().rechunked().into_column()
    }

    fn take_rows(&self, rows: &IdxCa) -> PolarsResult<Self> {
        self.take(rows)
    }
}

macro_rules! chunk_argument {
    ($($type:ty)*) => {$(
        impl Split for $type {
            const POLARS: bool = true;

            fn size(&self) -> usize {
                self.row_count()
            }

            fn auto_chunks(&self, workers: usize) -> usize {
                chunk_count::default_chunk_count(self.row_count(), || self.estimated_bytes(), workers)
            }

            fn cut(self, at: usize) -> (Self, Self) {
                (self.slice_rows(0..at), self.slice_rows(at..self.row_count()))
            }

            fn cut_all(self, sizes: &[usize]) -> Vec<Self> {
                let mut start = 0;
                let slices = sizes.iter().map(|&size| {
                    start += size;
                    self.slice_rows(start - size..start)
                });
                slices.collect()
            }
        }

        impl Gather for $type {
            fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
                Self::stack(parts, None)
            }
        }
    )*};
}
chunk_argument!(DataFrame Series Column);
