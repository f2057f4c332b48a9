//! What functions took the last time: a guess, for maps whose first item is long.

use std::sync::atomic::{AtomicU64, Ordering};

/// Functions that are remembered; one that falls on another's place takes it.
const PLACES: usize = 256;

/// The function's name in the high half of a word, its nanoseconds an item in the low half.
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

    /// Nanoseconds an item took, if the function is remembered.
    pub(super) fn nanoseconds(self) -> Option<u64> {
        let word = TOOK[self.place].load(Ordering::Relaxed);
        (word >> 32 == self.tag).then_some(word & 0xffff_ffff)
    }

    pub(super) fn remember(self, nanoseconds: u64) {
        let word = self.tag << 32 | nanoseconds.min(u64::from(u32::MAX));
        TOOK[self.place].store(word, Ordering::Relaxed);
    }
}
