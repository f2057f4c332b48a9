//! [`Cuttable`]: the types that the attribute can cut. These are the [`Split`] types, and references to frames
//! (`&DataFrame`), which are cut into new frames.
//!
//! The new frames live in a [`ChunkStorage`], and the function borrows them. The storage is a local of the call, so the
//! borrow checker sees that the function's result does not borrow from them.

use std::any::Any;
use std::cell::OnceCell;

use crate::chunks::split::Split;

/// Owns the pieces of a value that is cut behind a reference, while the call runs.
#[derive(Default)]
pub struct ChunkStorage(
    #[cfg_attr(not(feature = "polars"), allow(dead_code, reason = "only frames are cut behind a reference"))]
    OnceCell<Box<dyn Any>>,
);

impl ChunkStorage {
    /// An empty storage, for the pieces of one value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores the pieces and returns references to them.
    #[cfg(feature = "polars")]
    pub(crate) fn store<T: 'static>(&self, pieces: Vec<T>) -> &[T] {
        // Each value has its own storage, so the storage was empty.
        let stored = self.0.get_or_init(|| Box::new(pieces));
        stored.downcast_ref::<Vec<T>>().map_or(&[], Vec::as_slice)
    }
}

/// A value that the attribute can cut. Do not implement it: implement [`Split`].
// The message is that of `Split`: rustc's error names this trait, and `Split` in a help only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cut into chunks",
    label = "cannot be cut into chunks",
    note = "`chunks` cuts the first argument, or those marked `#[chunk]`: a `Vec`, a slice (`&[T]`, not `&Vec<T>`), a range, a string, with fanfold's feature `polars` a `DataFrame` or `&DataFrame`, or your own `fanfold::Split` type"
)]
pub trait Cuttable<'r>: Sized {
    /// As [`Split::POLARS`].
    const POLARS: bool;
    /// As [`Split::size`].
    fn items(&self) -> usize;
    /// As [`Split::auto_chunks`].
    fn auto(&self, workers: usize) -> usize;
    /// As [`Split::cut_all`].
    fn pieces(self, sizes: &[usize], storage: &'r ChunkStorage) -> Vec<Self>;
}

impl<S: Split> Cuttable<'_> for S {
    const POLARS: bool = S::POLARS;

    fn items(&self) -> usize {
        self.size()
    }

    fn auto(&self, workers: usize) -> usize {
        self.auto_chunks(workers)
    }

    fn pieces(self, sizes: &[usize], _: &ChunkStorage) -> Vec<Self> {
        self.cut_all(sizes)
    }
}
