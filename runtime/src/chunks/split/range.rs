//! [`Split`] for ranges of every integer type.
//!
//! The size of a range is at most `usize::MAX`; the last piece of a longer range gets the rest.

use std::ops::{Range, RangeInclusive};

use super::Split;

macro_rules! ranges {
    ($($int:ident as $unsigned:ident,)*) => {$(
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_lossless, reason = "the numbers stay between the range's ends")]
        impl Split for Range<$int> {
            fn size(&self) -> usize {
                if self.is_empty() {
                    return 0;
                }
                // The distance fits the unsigned type, even from the lowest number to the highest.
                usize::try_from(self.end.wrapping_sub(self.start) as $unsigned).unwrap_or(usize::MAX)
            }

            fn cut(self, at: usize) -> (Self, Self) {
                let middle = self.start.wrapping_add(at as $int);
                (self.start..middle, middle..self.end)
            }
        }

        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_lossless, reason = "the numbers stay between the range's ends")]
        #[allow(clippy::reversed_empty_ranges, reason = "`1..=0` is the empty range")]
        impl Split for RangeInclusive<$int> {
            fn size(&self) -> usize {
                if self.is_empty() {
                    return 0;
                }
                (*self.start()..*self.end()).size().saturating_add(1)
            }

            fn cut(self, at: usize) -> (Self, Self) {
                // No inclusive range ends before its type's first number: `1..=0` is the empty one.
                if at == 0 {
                    return (1..=0, self);
                }
                let (start, end) = self.into_inner();
                let last = start.wrapping_add((at - 1) as $int);
                if last == end {
                    return (start..=end, 1..=0);
                }
                (start..=last, last + 1..=end)
            }
        }
    )*};
}

ranges!(u8 as u8, u16 as u16, u32 as u32, u64 as u64, u128 as u128, usize as usize,);
ranges!(i8 as u8, i16 as u16, i32 as u32, i64 as u64, i128 as u128, isize as usize,);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_whole_type_are_cut_without_overflow() {
        let pieces = (u8::MIN..=u8::MAX).cut_all(&[100, 100, 56]);
        assert_eq!(pieces, [0..=99, 100..=199, 200..=255]);
        let (low, high) = (i8::MIN..i8::MAX).cut(200);
        assert_eq!((low, high), (-128..72, 72..127));
        assert_eq!((0..=u64::MAX).size(), usize::MAX);
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges, reason = "the test is about empty ranges")]
    fn reversed_ranges_are_empty() {
        assert_eq!((9..3_u8).size(), 0);
        assert_eq!((9..=3_i64).size(), 0);
        let (empty, all) = (3..=9_u8).cut(0);
        assert!(empty.is_empty());
        assert_eq!(all, 3..=9);
    }
}
