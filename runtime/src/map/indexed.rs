//! [`Indexed`]: items that workers take by index, each worker a contiguous range at its own offset.

use std::mem::{ManuallyDrop, needs_drop};
use std::ops::Range;
use std::slice;

use crate::sys::drop_all::drop_all;

/// Items that can be taken by index, once each.
///
/// # Safety
///
/// Implementations must allow `take` and `discard` of disjoint indexes from several threads at once, if items may be
/// sent to another thread.
pub unsafe trait Indexed {
    /// One item.
    type Item;
    /// The items of a range of indexes. It owns them: dropping it drops those that it has not given.
    ///
    /// It holds no reference to the whole source, so that a loop over it compiles as one over a slice does.
    type Iter<'a>: Iterator<Item = Self::Item>
    where
        Self: 'a;
    /// Whether the items, or what they are taken from, are in memory. If not, there may be more than fit into memory,
    /// and [`discard`](Self::discard) does nothing.
    const IN_MEMORY: bool = true;
    /// The number of items.
    fn len(&self) -> usize;
    /// Takes the items of a range of indexes.
    ///
    /// # Safety
    ///
    /// The indexes are below `len`, and none of them was taken or discarded before.
    unsafe fn take(&self, indexes: Range<usize>) -> Self::Iter<'_>;
    /// Drops items that will not be taken.
    ///
    /// # Safety
    ///
    /// As [`take`](Self::take).
    unsafe fn discard(&self, indexes: Range<usize>) {
        // SAFETY: this function has the contract of `take`.
        drop(unsafe { self.take(indexes) });
    }
}

/// The items of a vector. Dropping it frees the memory and leaks items that were neither taken nor discarded.
pub struct OwnedItems<T>(ManuallyDrop<Vec<T>>);

impl<T> OwnedItems<T> {
    pub(super) fn new(items: Vec<T>) -> Self {
        Self(ManuallyDrop::new(items))
    }
}

// SAFETY: by the contract of `take` disjoint ranges are moved out, each by one thread; no item is reached twice.
unsafe impl<T> Indexed for OwnedItems<T> {
    type Item = T;
    type Iter<'a>
        = OwnedIter<'a, T>
    where
        T: 'a;

    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> OwnedIter<'_, T> {
        let items = self.0.as_ptr().cast::<ManuallyDrop<T>>();
        // SAFETY: by the contract of `take` the indexes are below the length; `ManuallyDrop<T>` has the layout of `T`.
        OwnedIter(unsafe { slice::from_raw_parts(items.add(indexes.start), indexes.len()) }.iter())
    }
}

impl<T> Drop for OwnedItems<T> {
    fn drop(&mut self) {
        // SAFETY: `drop` runs once and the vector is not used after it; length 0 is below every capacity.
        unsafe {
            let mut items = ManuallyDrop::take(&mut self.0);
            items.set_len(0);
        }
    }
}

/// Some items of a vector.
pub struct OwnedIter<'a, T>(slice::Iter<'a, ManuallyDrop<T>>);

impl<T> Iterator for OwnedIter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        // SAFETY: by the contract of `take` no other iterator has these items, and this one reads each of them once.
        self.0.next().map(|item| unsafe { std::ptr::read(&raw const **item) })
    }
}

impl<T> Drop for OwnedIter<'_, T> {
    fn drop(&mut self) {
        if needs_drop::<T>() {
            drop_all(self);
        }
    }
}

/// References to the items of a slice.
pub struct BorrowedItems<'a, T>(&'a [T]);

impl<'a, T> BorrowedItems<'a, T> {
    pub(super) fn new(items: &'a [T]) -> Self {
        Self(items)
    }
}

// SAFETY: `take` only makes shared references, so any number of threads may call it.
unsafe impl<'s, T> Indexed for BorrowedItems<'s, T> {
    type Item = &'s T;
    type Iter<'a>
        = slice::Iter<'s, T>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> slice::Iter<'s, T> {
        // SAFETY: by the contract of `take` the indexes are below the length.
        unsafe { self.0.get_unchecked(indexes) }.iter()
    }
}

impl<'a, T> IntoIterator for BorrowedItems<'a, T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Copies of the items of a slice.
pub struct CopiedItems<'a, T>(&'a [T]);

impl<'a, T> CopiedItems<'a, T> {
    pub(super) fn new(items: &'a [T]) -> Self {
        Self(items)
    }
}

// SAFETY: `take` only reads the slice, so any number of threads may call it.
unsafe impl<'s, T: Copy> Indexed for CopiedItems<'s, T> {
    type Item = T;
    type Iter<'a>
        = std::iter::Copied<slice::Iter<'s, T>>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> Self::Iter<'_> {
        // SAFETY: by the contract of `take` the indexes are below the length.
        unsafe { self.0.get_unchecked(indexes) }.iter().copied()
    }
}

impl<'a, T: Copy> IntoIterator for CopiedItems<'a, T> {
    type Item = T;
    type IntoIter = std::iter::Copied<slice::Iter<'a, T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().copied()
    }
}

/// A range of the items of another source.
pub(super) struct Window<'s, S> {
    items: &'s S,
    indexes: Range<usize>,
}

impl<'s, S: Indexed> Window<'s, S> {
    /// The items of `indexes`, which belong to no other window and end below the number of items.
    pub(super) fn new(items: &'s S, indexes: Range<usize>) -> Self {
        Self { items, indexes }
    }
}

// SAFETY: disjoint ranges of a window are disjoint ranges of the source, which is `Indexed` itself.
unsafe impl<'s, S: Indexed> Indexed for Window<'s, S> {
    type Item = S::Item;
    type Iter<'a>
        = S::Iter<'s>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.indexes.len()
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> S::Iter<'s> {
        let start = self.indexes.start;
        // SAFETY: by the contract of `take` the indexes are in the window and were not taken; no other window has them.
        unsafe { self.items.take(start + indexes.start..start + indexes.end) }
    }

    unsafe fn discard(&self, indexes: Range<usize>) {
        let start = self.indexes.start;
        // SAFETY: this function has the contract of `take`.
        unsafe { self.items.discard(start + indexes.start..start + indexes.end) }
    }
}
