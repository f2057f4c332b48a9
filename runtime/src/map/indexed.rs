//! [`Indexed`]: items that workers take by index, each worker a contiguous range at its own offset.

use std::mem::{ManuallyDrop, needs_drop, transmute_copy};
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
pub(super) struct OwnedItems<T>(ManuallyDrop<Vec<T>>);

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
pub(super) struct OwnedIter<'a, T>(slice::Iter<'a, ManuallyDrop<T>>);

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

/// The integers of a range; that `A` is an integer type was found at run time.
pub(super) struct Integers<A> {
    start: A,
    len: usize,
}

impl<A> Integers<A> {
    /// The `len` integers from `start` on.
    ///
    /// `A` is an integer type of at most 8 bytes, and all of the integers fit into it.
    pub(super) fn new(start: A, len: usize) -> Self {
        Self { start, len }
    }

    /// Removes and returns the first `len` of them, or all if there are fewer.
    pub(super) fn split_off(&mut self, len: usize) -> Self {
        let len = len.min(self.len);
        let first = Self { start: self.at(0), len };
        *self = Self { start: self.at(len), len: self.len - len };
        first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the sum is an integer of the range, or its end")]
    fn at(&self, index: usize) -> A {
        macro_rules! add {
            ($int:ident) => {{
                // SAFETY: `source::integers` made this with an integer type `A`, and `$int` has its size; every bit
                // pattern is valid for both. Wrapping addition has the same bits for signed and unsigned integers.
                unsafe {
                    let start = transmute_copy::<A, $int>(&self.start);
                    transmute_copy::<$int, A>(&start.wrapping_add(index as $int))
                }
            }};
        }
        match size_of::<A>() {
            1 => add!(u8),
            2 => add!(u16),
            4 => add!(u32),
            _ => add!(u64),
        }
    }
}

// SAFETY: `take` computes integers from two fields that do not change, so any number of threads may call it.
unsafe impl<A> Indexed for Integers<A> {
    type Item = A;
    type Iter<'a>
        = IntegersIter<A>
    where
        A: 'a;

    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> IntegersIter<A> {
        let start = self.at(indexes.start);
        IntegersIter { integers: Integers { start, len: indexes.len() }, given: 0 }
    }

    unsafe fn discard(&self, _: Range<usize>) {}
}

/// Some integers of a range.
pub(super) struct IntegersIter<A> {
    integers: Integers<A>,
    given: usize,
}

impl<A> Iterator for IntegersIter<A> {
    type Item = A;

    #[inline]
    fn next(&mut self) -> Option<A> {
        if self.given == self.integers.len {
            return None;
        }
        let integer = self.integers.at(self.given);
        self.given += 1;
        Some(integer)
    }
}
