//! The cost an item had in the last maps of each function: the first guess for the next map of that function.
//!
//! A map whose first item is long has no other way to know that its items are worth sharing before that item has run.

use std::sync::atomic::{AtomicU64, Ordering};

/// Entries of the table. Functions whose names hash to one entry overwrite each other.
const ENTRIES: usize = 256;
/// Items of at least this cost are long: they are recorded with their cost, and one of them is a measurement. A shorter
/// one may have waited for a cold cache.
pub(super) const LONG_NS: u64 = 5_000;
/// The cost recorded for a function of short items.
const SHORT: u64 = 1;

/// One word an entry: a tag of the function's name in the high half, nanoseconds an item in the low half; 0 is empty.
static TABLE: [AtomicU64; ENTRIES] = [const { AtomicU64::new(0) }; ENTRIES];

/// The entry of one function.
#[derive(Clone, Copy)]
pub(crate) struct CostHistory {
    entry: usize,
    tag: u64,
}

impl CostHistory {
    pub(crate) fn for_function(function: &'static str) -> Self {
        // Keyed by the name's address; literals merged by the linker share an entry.
        let hash = (function.as_ptr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        #[allow(clippy::cast_possible_truncation, reason = "the index is below the table's size")]
        Self { entry: (hash >> 56) as usize % ENTRIES, tag: (hash >> 24) & 0xffff_ffff }
    }

    /// The recorded nanoseconds, 0 if there are none; and whether this function may overwrite the entry with a short
    /// cost, because it is empty or its own.
    fn read(self) -> (u64, bool) {
        let word = TABLE[self.entry].load(Ordering::Relaxed);
        let own = word >> 32 == self.tag;
        (if own { word & 0xffff_ffff } else { 0 }, own || word == 0)
    }

    /// The recorded nanoseconds an item, if items were long.
    pub(crate) fn long_item_ns(self) -> Option<u64> {
        Some(self.read().0).filter(|nanoseconds| *nanoseconds >= LONG_NS)
    }

    /// Whether the function is recorded with short items.
    pub(crate) fn is_short(self) -> bool {
        self.read().0 == SHORT
    }

    /// Whether nothing is recorded.
    pub(crate) fn is_unknown(self) -> bool {
        self.read().0 == 0
    }

    pub(crate) fn record(self, nanoseconds: u64) {
        let (before, can_replace) = self.read();
        // A long cost halves at most, because the next map may be of long items again.
        let nanoseconds = nanoseconds.max(before / 2);
        let now = if nanoseconds < LONG_NS { SHORT } else { nanoseconds.min(u64::from(u32::MAX)) };
        // Written only if the cost changed by more than a quarter: all threads that run nested maps share this line. A
        // function of short items does not evict another function.
        if before.abs_diff(now) > now / 4 && (can_replace || now != SHORT) {
            TABLE[self.entry].store(self.tag << 32 | now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_costs_are_recorded_and_short_ones_differ_from_unknown_ones() {
        let history = || CostHistory::for_function("a name of this test's own");
        assert_eq!((history().long_item_ns(), history().is_short()), (None, false));
        assert!(history().is_unknown());
        history().record(20_000);
        assert_eq!((history().long_item_ns(), history().is_short()), (Some(20_000), false));
        history().record(21_000);
        assert_eq!(history().long_item_ns(), Some(20_000), "a change of 5 % is not written");
        history().record(100);
        assert_eq!(history().long_item_ns(), Some(10_000), "it halves at most");
        history().record(100);
        history().record(100);
        assert_eq!((history().long_item_ns(), history().is_short()), (None, true));
        assert!(!history().is_unknown());
        history().record(9_000);
        assert_eq!((history().long_item_ns(), history().is_short()), (Some(9_000), false));
    }
}
