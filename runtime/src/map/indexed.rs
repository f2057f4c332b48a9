//! Items that workers take by index: each a run of them, at its own offset.

use std::mem::{ManuallyDrop, needs_drop, transmute_copy};
use std::ops::Range;
use std::slice;

use crate::sys::drop_all::drop_all;

/// Items that can be taken by index.
///
/// # Safety
///
/// `run` and `discard` of different indexes may be called from different threads at once; implementations must allow
/// that for items that may be sent to another thread.
pub unsafe trait Indexed {
    /// One item.
    type Item;
    /// A run of items. It owns them: those that it has not given when it is dropped are dropped with it.
    ///
    /// A type of its own, without a way back to the source, so that a loop over it is as tight as one over a slice.
    type Run<'a>: Iterator<Item = Self::Item>
    where
        Self: 'a;
    /// How many there are.
    fn len(&self) -> usize;
    /// Takes a run of items.
    ///
    /// # Safety
    ///
    /// The indexes are below `len`, and were neither taken nor discarded before.
    unsafe fn run(&self, indexes: Range<usize>) -> Self::Run<'_>;
    /// Drops items that will not be taken.
    ///
    /// # Safety
    ///
    /// As [`run`](Self::run).
    unsafe fn discard(&self, indexes: Range<usize>) {
        // SAFETY: the caller's promise is the same.
        drop(unsafe { self.run(indexes) });
    }
}

/// Items of a vector; those neither taken nor discarded are leaked, the memory itself is freed.
pub(super) struct Owned<T>(ManuallyDrop<Vec<T>>);

impl<T> Owned<T> {
    pub(super) fn new(items: Vec<T>) -> Self {
        Self(ManuallyDrop::new(items))
    }
}

// SAFETY: items are read out by index, each by one thread.
unsafe impl<T> Indexed for Owned<T> {
    type Item = T;
    type Run<'a>
        = OwnedRun<'a, T>
    where
        T: 'a;

    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    unsafe fn run(&self, indexes: Range<usize>) -> OwnedRun<'_, T> {
        let items = self.0.as_ptr().cast::<ManuallyDrop<T>>();
        // SAFETY: in bounds, says the caller; a `ManuallyDrop` has the layout of what it holds.
        OwnedRun(unsafe { slice::from_raw_parts(items.add(indexes.start), indexes.len()) }.iter())
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the vector is not used again. Its items were taken or discarded, so only memory is left.
        unsafe {
            let mut items = ManuallyDrop::take(&mut self.0);
            items.set_len(0);
        }
    }
}

/// A run of a vector's items.
pub(super) struct OwnedRun<'a, T>(slice::Iter<'a, ManuallyDrop<T>>);

impl<T> Iterator for OwnedRun<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        // SAFETY: the run is this one's alone, and each place of it is read once.
        self.0.next().map(|item| unsafe { std::ptr::read(&raw const **item) })
    }
}

impl<T> Drop for OwnedRun<'_, T> {
    fn drop(&mut self) {
        if needs_drop::<T>() {
            drop_all(self);
        }
    }
}

/// References to the items of a slice.
pub struct Borrowed<'a, T>(&'a [T]);

impl<'a, T> Borrowed<'a, T> {
    pub(super) fn new(items: &'a [T]) -> Self {
        Self(items)
    }
}

// SAFETY: shared references may be handed out any number of times.
unsafe impl<'s, T> Indexed for Borrowed<'s, T> {
    type Item = &'s T;
    type Run<'a>
        = slice::Iter<'s, T>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    unsafe fn run(&self, indexes: Range<usize>) -> slice::Iter<'s, T> {
        // SAFETY: in bounds, says the caller.
        unsafe { self.0.get_unchecked(indexes) }.iter()
    }
}

impl<'a, T> IntoIterator for Borrowed<'a, T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Copies of the items of a slice.
pub struct Copied<'a, T>(&'a [T]);

impl<'a, T> Copied<'a, T> {
    pub(super) fn new(items: &'a [T]) -> Self {
        Self(items)
    }
}

// SAFETY: copies may be made any number of times.
unsafe impl<'s, T: Copy> Indexed for Copied<'s, T> {
    type Item = T;
    type Run<'a>
        = std::iter::Copied<slice::Iter<'s, T>>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    unsafe fn run(&self, indexes: Range<usize>) -> Self::Run<'_> {
        // SAFETY: in bounds, says the caller.
        unsafe { self.0.get_unchecked(indexes) }.iter().copied()
    }
}

impl<'a, T: Copy> IntoIterator for Copied<'a, T> {
    type Item = T;
    type IntoIter = std::iter::Copied<slice::Iter<'a, T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().copied()
    }
}

/// The numbers of a range, whose type was found to be an integer at run time.
pub(super) struct Numbers<A> {
    start: A,
    len: usize,
}

impl<A> Numbers<A> {
    /// `len` numbers from `start` on.
    ///
    /// `A` is an integer type of at most 8 bytes, and all numbers are of the type.
    pub(super) fn new(start: A, len: usize) -> Self {
        Self { start, len }
    }

    /// Takes the first ones off, `len` at most.
    pub(super) fn split_off(&mut self, len: usize) -> Self {
        let len = len.min(self.len);
        let first = Self { start: self.number(0), len };
        *self = Self { start: self.number(len), len: self.len - len };
        first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the sum is a number of the range, or its end")]
    fn number(&self, index: usize) -> A {
        macro_rules! add {
            ($int:ident) => {{
                // SAFETY: `A` is an integer, says whoever made this, and one of this size has the bits of this one;
                // adding wraps alike for signed and unsigned.
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

// SAFETY: numbers are made, not moved.
unsafe impl<A> Indexed for Numbers<A> {
    type Item = A;
    type Run<'a>
        = NumbersRun<A>
    where
        A: 'a;

    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    unsafe fn run(&self, indexes: Range<usize>) -> NumbersRun<A> {
        let start = self.number(indexes.start);
        NumbersRun { numbers: Numbers { start, len: indexes.len() }, given: 0 }
    }

    unsafe fn discard(&self, _: Range<usize>) {}
}

/// A run of numbers.
pub(super) struct NumbersRun<A> {
    numbers: Numbers<A>,
    given: usize,
}

impl<A> Iterator for NumbersRun<A> {
    type Item = A;

    #[inline]
    fn next(&mut self) -> Option<A> {
        if self.given == self.numbers.len {
            return None;
        }
        let number = self.numbers.number(self.given);
        self.given += 1;
        Some(number)
    }
}
