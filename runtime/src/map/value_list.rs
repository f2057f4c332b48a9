//! [`ValueList`]: where a map stores the values of its results. That is one vector, or one for each half of pairs, so
//! that `unzip` makes no list of pairs first.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::slice;

use crate::sys::drop_all::{DropEach, DropSequence};

/// A list of values, stored in one vector or in several of equal length. Its uninitialised elements are written by
/// index, by several threads at once.
pub trait ValueList: Sized {
    /// One value.
    type Value;
    /// The addresses of the first elements.
    type First: Copy;
    /// Uninitialised elements of some indexes.
    type Slots<'a>
    where
        Self: 'a;
    /// An empty list with room for so many values.
    fn with_capacity(len: usize) -> Self;
    /// The list of these values.
    fn from_values(values: Vec<Self::Value>) -> Self;
    /// Whether there is no value.
    fn is_empty(&self) -> bool;
    /// Adds the values of another list.
    fn append(&mut self, other: Self);
    /// The addresses of the first elements of an empty list.
    fn first(&mut self) -> Self::First;
    /// The elements of these indexes.
    ///
    /// # Safety
    ///
    /// The indexes are within the capacity of the list that gave `first`, which outlives the elements; and while these
    /// are used, nothing else reaches them.
    unsafe fn slots<'a>(first: Self::First, indexes: Range<usize>) -> Self::Slots<'a>
    where
        Self: 'a;
    /// The addresses of the first of some elements.
    fn first_of(slots: &mut Self::Slots<'_>) -> Self::First;
    /// Writes the value of this index.
    ///
    /// # Safety
    ///
    /// The index is within the elements that `first` is of, and nothing else reaches its element.
    unsafe fn write(first: Self::First, index: usize, value: Self::Value);
    /// Drops the value of this index.
    ///
    /// # Safety
    ///
    /// As [`write`](Self::write). The value was written, and is not used after this.
    unsafe fn drop_at(first: Self::First, index: usize, drops: &mut DropSequence);
    /// Makes the first `len` elements the values of the list, which was empty.
    ///
    /// # Safety
    ///
    /// They were written, and not dropped.
    unsafe fn set_len(&mut self, len: usize);
}

impl<T> ValueList for DropEach<T> {
    type Value = T;
    type First = *mut MaybeUninit<T>;
    type Slots<'a>
        = &'a mut [MaybeUninit<T>]
    where
        Self: 'a;

    fn with_capacity(len: usize) -> Self {
        Self(Vec::with_capacity(len))
    }

    fn from_values(values: Vec<T>) -> Self {
        Self(values)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    fn first(&mut self) -> Self::First {
        self.0.spare_capacity_mut().as_mut_ptr()
    }

    #[inline]
    unsafe fn slots<'a>(first: Self::First, indexes: Range<usize>) -> Self::Slots<'a>
    where
        Self: 'a,
    {
        // SAFETY: by this function's contract the elements exist, and no other reference to them does.
        unsafe { slice::from_raw_parts_mut(first.add(indexes.start), indexes.len()) }
    }

    #[inline]
    fn first_of(slots: &mut Self::Slots<'_>) -> Self::First {
        slots.as_mut_ptr()
    }

    #[inline]
    unsafe fn write(first: Self::First, index: usize, value: T) {
        // SAFETY: by this function's contract.
        unsafe { (*first.add(index)).write(value) };
    }

    #[inline]
    unsafe fn drop_at(first: Self::First, index: usize, drops: &mut DropSequence) {
        // SAFETY: by this function's contract the element is initialised, and read by nothing else.
        drops.run(|| unsafe { (*first.add(index)).assume_init_drop() });
    }

    unsafe fn set_len(&mut self, len: usize) {
        // SAFETY: by this function's contract.
        unsafe { self.0.set_len(len) };
    }
}

/// The first values of pairs, and the second ones.
impl<C: ValueList, D: ValueList> ValueList for (C, D) {
    type Value = (C::Value, D::Value);
    type First = (C::First, D::First);
    type Slots<'a>
        = (C::Slots<'a>, D::Slots<'a>)
    where
        Self: 'a;

    fn with_capacity(len: usize) -> Self {
        (C::with_capacity(len), D::with_capacity(len))
    }

    fn from_values(values: Vec<Self::Value>) -> Self {
        let (first, second) = values.into_iter().unzip();
        (C::from_values(first), D::from_values(second))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn append(&mut self, other: Self) {
        self.0.append(other.0);
        self.1.append(other.1);
    }

    fn first(&mut self) -> Self::First {
        (self.0.first(), self.1.first())
    }

    #[inline]
    unsafe fn slots<'a>(first: Self::First, indexes: Range<usize>) -> Self::Slots<'a>
    where
        Self: 'a,
    {
        // SAFETY: by this function's contract, for both.
        unsafe { (C::slots(first.0, indexes.clone()), D::slots(first.1, indexes)) }
    }

    #[inline]
    fn first_of(slots: &mut Self::Slots<'_>) -> Self::First {
        (C::first_of(&mut slots.0), D::first_of(&mut slots.1))
    }

    #[inline]
    unsafe fn write(first: Self::First, index: usize, value: Self::Value) {
        // SAFETY: by this function's contract, for both. Nothing panics between the two.
        unsafe {
            C::write(first.0, index, value.0);
            D::write(first.1, index, value.1);
        }
    }

    #[inline]
    unsafe fn drop_at(first: Self::First, index: usize, drops: &mut DropSequence) {
        // SAFETY: by this function's contract, for both.
        unsafe {
            C::drop_at(first.0, index, drops);
            D::drop_at(first.1, index, drops);
        }
    }

    unsafe fn set_len(&mut self, len: usize) {
        // SAFETY: by this function's contract, for both.
        unsafe {
            self.0.set_len(len);
            self.1.set_len(len);
        }
    }
}
