//! What the attribute cuts: every [`Split`] type; and what is cut behind a reference (`&DataFrame`), whose pieces are
//! values of their own.
//!
//! Such pieces stand in a [`ChunkStorage`] of the call, which lends them to the function. That the function's result borrows
//! from none of them is for the borrow checker to see: the room is a local of the call.

use std::any::Any;
use std::cell::OnceCell;

use crate::chunks::split::Split;

/// Where the pieces of a lent value stand while its call runs.
#[derive(Default)]
pub struct ChunkStorage(
    #[cfg_attr(not(feature = "polars"), allow(dead_code, reason = "only frames are lent"))] OnceCell<Box<dyn Any>>,
);

impl ChunkStorage {
    /// An empty room, for the pieces of one value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the pieces, and lends them.
    #[cfg(feature = "polars")]
    pub(crate) fn keep<T: 'static>(&self, pieces: Vec<T>) -> &[T] {
        let kept = self.0.get_or_init(|| Box::new(pieces));
        // Each value has a room of its own, so there was nothing else in it.
        kept.downcast_ref::<Vec<T>>().map_or(&[], Vec::as_slice)
    }
}

/// A value that the attribute can cut, with a room for its pieces. Not implemented by hand: implement [`Split`].
// The words of `Split`: what is asked for here is named in the error, and that trait behind it in a help.
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
    fn pieces(self, sizes: &[usize], room: &'r ChunkStorage) -> Vec<Self>;
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
