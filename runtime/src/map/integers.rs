//! Ranges of integers as items that workers take by index. They are iterators, and recognised among those at run time.

use std::mem::transmute_copy;
use std::ops::{Range, RangeFrom};

use super::indexed::Indexed;
use crate::chunks::split::Split;
use crate::chunks::type_eq::same_type;

/// The integers of an iterator, if it is a range of integers, and whether others follow.
pub(super) fn integers<I: Iterator>(items: &I) -> Option<(Integers<I::Item>, bool)> {
    macro_rules! recognise {
        ($($int:ident)*) => {$(
            let found = if same_type::<I, Range<$int>>() {
                // SAFETY: `same_type` found that `I` is `Range<$int>`, which has no lifetimes.
                Some((unsafe { &*(&raw const *items).cast::<Range<$int>>() }.clone(), false))
            } else if same_type::<I, RangeFrom<$int>>() {
                // SAFETY: `same_type` found that `I` is `RangeFrom<$int>`, which has no lifetimes.
                let range = unsafe { &*(&raw const *items).cast::<RangeFrom<$int>>() };
                // The iterator itself overflows once it gives the last number of its type.
                Some((range.start..$int::MAX, true))
            } else {
                None
            };
            if let Some((range, has_more)) = found {
                // SAFETY: `I` is a range of `$int`, so `I::Item` is `$int`, which is `Copy`.
                let start = unsafe { transmute_copy::<$int, I::Item>(&range.start) };
                return Some((Integers::new(start, range.size()), has_more));
            }
        )*};
    }
    recognise!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);
    None
}

/// The integers of a range; that `A` is an integer type was found at run time.
pub struct Integers<A> {
    start: A,
    len: usize,
}

impl<A> Integers<A> {
    /// The `len` integers from `start` on.
    ///
    /// `A` is an integer type of at most 8 bytes, and all of the integers fit into it.
    fn new(start: A, len: usize) -> Self {
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
                // SAFETY: `integers` made this with an integer type `A`, and `$int` has its size; every bit
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
    const IN_MEMORY: bool = false;

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
pub struct IntegersIter<A> {
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
