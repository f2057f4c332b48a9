//! What functions took the last time: a guess, for maps whose first item is long.

use std::sync::atomic::{AtomicU64, Ordering};

/// Functions that are remembered; one that falls on another's place takes it.
const PLACES: usize = 256;
/// Shorter items are not told apart: their cost is found sooner than it is believed.
const LONG_NS: u64 = 5_000;

/// The function's name in the high half of a word, its nanoseconds an item in the low half; 0 where items are short.
static TOOK: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];

/// A function's place in the table.
#[derive(Clone, Copy)]
pub(super) struct Prior {
    place: usize,
    tag: u64,
}

impl Prior {
    pub(super) fn of(function: &'static str) -> Self {
        // Names are told apart by where they stand: two that share a text share a guess.
        let hash = (function.as_ptr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        #[allow(clippy::cast_possible_truncation, reason = "of the table's size")]
        Self { place: (hash >> 56) as usize % PLACES, tag: (hash >> 24) & 0xffff_ffff }
    }

    /// Nanoseconds an item took, if the function is remembered and they were many.
    pub(super) fn long(self) -> Option<u64> {
        let word = TOOK[self.place].load(Ordering::Relaxed);
        (word >> 32 == self.tag).then_some(word & 0xffff_ffff).filter(|nanoseconds| *nanoseconds > 0)
    }

    pub(super) fn remember(self, nanoseconds: u64) {
        let long = if nanoseconds < LONG_NS { 0 } else { nanoseconds.min(u64::from(u32::MAX)) };
        // Only what is news is written: with maps inside maps all threads would write here.
        if self.long().unwrap_or(0).abs_diff(long) > long / 4 {
            TOOK[self.place].store(self.tag << 32 | long, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_items_are_remembered_and_short_ones_are_not() {
        let prior = Prior::of("a name of this test's own");
        assert_eq!(prior.long(), None);
        prior.remember(20_000);
        assert_eq!(prior.long(), Some(20_000));
        prior.remember(21_000);
        assert_eq!(prior.long(), Some(20_000), "much the same");
        prior.remember(100);
        assert_eq!(prior.long(), None);
    }
}
