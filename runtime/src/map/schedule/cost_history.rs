//! What functions took the last time: a guess, for maps whose first item is long.

use std::sync::atomic::{AtomicU64, Ordering};

/// Functions that are remembered; one that falls on another's place takes it.
const PLACES: usize = 256;
/// Shorter items are not told apart: their cost is found sooner than it is believed.
const LONG_NS: u64 = 5_000;
/// What is remembered of functions whose items are short.
const SHORT: u64 = 1;

/// The function's name in the high half of a word, its nanoseconds an item in the low half; 0 where nobody is.
static TOOK: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];

/// A function's place in the table.
#[derive(Clone, Copy)]
pub(crate) struct Prior {
    place: usize,
    tag: u64,
}

impl Prior {
    pub(crate) fn of(function: &'static str) -> Self {
        // Names are told apart by where they stand: two that share a text share a guess.
        let hash = (function.as_ptr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        #[allow(clippy::cast_possible_truncation, reason = "of the table's size")]
        Self { place: (hash >> 56) as usize % PLACES, tag: (hash >> 24) & 0xffff_ffff }
    }

    /// Nanoseconds, if the function is remembered; and whether the place is free for it.
    fn took(self) -> (u64, bool) {
        let word = TOOK[self.place].load(Ordering::Relaxed);
        let own = word >> 32 == self.tag;
        (if own { word & 0xffff_ffff } else { 0 }, own || word == 0)
    }

    /// Nanoseconds an item took, if the function is remembered and they were many.
    pub(crate) fn long(self) -> Option<u64> {
        Some(self.took().0).filter(|nanoseconds| *nanoseconds >= LONG_NS)
    }

    /// Whether the function is remembered, and its items were short.
    pub(crate) fn is_short(self) -> bool {
        self.took().0 == SHORT
    }

    pub(crate) fn remember(self, nanoseconds: u64) {
        let (before, is_free) = self.took();
        let now = if nanoseconds < LONG_NS { SHORT } else { nanoseconds.min(u64::from(u32::MAX)) };
        // Only what is news is written: with maps inside maps all threads would write here. And functions of short items
        // do not fight for a place.
        if before.abs_diff(now) > now / 4 && (is_free || now != SHORT) {
            TOOK[self.place].store(self.tag << 32 | now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_items_are_remembered_and_short_ones_told_apart_from_unknown_ones() {
        let prior = || Prior::of("a name of this test's own");
        assert_eq!((prior().long(), prior().is_short()), (None, false));
        prior().remember(20_000);
        assert_eq!((prior().long(), prior().is_short()), (Some(20_000), false));
        prior().remember(21_000);
        assert_eq!(prior().long(), Some(20_000), "much the same");
        prior().remember(100);
        assert_eq!((prior().long(), prior().is_short()), (None, true));
        prior().remember(9_000);
        assert_eq!((prior().long(), prior().is_short()), (Some(9_000), false));
    }
}
