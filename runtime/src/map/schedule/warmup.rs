//! The warm-up of a map: the calling thread runs items in growing batches and times them, until the items left are
//! worth sharing.

use std::ops::Range;

use super::cost_history::{CostHistory, LONG_NS};
use super::{Body, Discard};
use crate::pool::Load;
use crate::sys::clock::Moment;

/// The longest batch between two readings of the clock.
const BATCH_NS: u64 = 2_000;
/// How many items of a function of short items run before the first reading, while no helper has a CPU to run on.
const UNTIMED_ITEMS: usize = 16;
/// A batch counts as a measurement if it takes this long: reading the clock takes a tenth of it.
const MEASURABLE_NS: u64 = 100;

/// The items that no thread has started. The rest is discarded on drop.
pub(crate) struct UnstartedItems<'a> {
    left: Range<usize>,
    discard: &'a Discard<'a>,
}

impl<'a> UnstartedItems<'a> {
    pub(crate) fn new(len: usize, discard: &'a Discard<'a>) -> Self {
        Self { left: 0..len, discard }
    }

    fn take(&mut self, items: usize) -> Range<usize> {
        let start = self.left.start;
        self.left.start += items.min(self.left.len());
        start..self.left.start
    }

    /// Moves all of them to the caller, which starts or discards them.
    pub(crate) fn take_all(&mut self) -> Range<usize> {
        std::mem::replace(&mut self.left, 0..0)
    }
}

impl Drop for UnstartedItems<'_> {
    fn drop(&mut self) {
        if !self.left.is_empty() {
            (self.discard)(self.take_all());
        }
    }
}

/// The result of a warm-up.
pub(crate) enum WarmUp {
    /// All items ran, or the function broke.
    Done,
    /// The items left are worth sharing.
    Share {
        /// Nanoseconds an item, by the last batch.
        rate: u64,
        /// The number of workers worth calling.
        helpers: usize,
    },
}

/// Runs items until the rest is worth sharing with up to `helpers` workers, or all are done.
pub(crate) fn warm_up(
    unstarted: &mut UnstartedItems<'_>,
    load: &Load,
    helpers: usize,
    history: CostHistory,
    body: &Body<'_>,
) -> WarmUp {
    let all = unstarted.left.len();
    if helpers == 0 || all < 2 {
        run_alone(unstarted, body);
        return WarmUp::Done;
    }
    if !load.has_free_core(helpers) && history.is_short() {
        for _ in 0..2 {
            if body(unstarted.take(UNTIMED_ITEMS / 2)).is_break() || unstarted.left.is_empty() {
                return WarmUp::Done;
            }
        }
    }
    if history.is_unknown() && load.has_free_core(helpers) {
        // Any item may be long.
        return WarmUp::Share { rate: u64::MAX, helpers: helpers.min(all - 1) };
    }
    let all = unstarted.left.len();
    let start = Moment::now();
    if let Some(rate) = history.long_item_ns()
        && let Some(helpers) = load.helpers(rate.saturating_mul(all as u64), helpers, start)
    {
        return WarmUp::Share { rate, helpers };
    }
    // `was_worth`: at some reading the rest was worth sharing, had helpers been awake.
    let (mut batch, mut before, mut was_worth) = (1, start, false);
    loop {
        let block = unstarted.take(batch);
        let items = block.len() as u64;
        if body(block).is_break() {
            return WarmUp::Done;
        }
        let left = unstarted.left.len() as u64;
        if left == 0 && !was_worth && history.is_short() {
            // Neither the history nor the load would change.
            return WarmUp::Done;
        }
        let now = Moment::now();
        let took = now.since(before);
        before = now;
        let rate = took.div_ceil(items);
        if left == 0 {
            if was_worth {
                load.ran_unshared(now.since(start), now);
            }
            history.record(now.since(start) / all as u64);
            return WarmUp::Done;
        }
        // A single item is no measurement: the first run also warms the caches.
        if (items > 1 && took >= MEASURABLE_NS) || now.since(start) >= LONG_NS {
            let rest = left.saturating_mul(took) / items;
            if let Some(helpers) = load.helpers(rest, helpers, now) {
                history.record(rate);
                return WarmUp::Share { rate, helpers };
            }
            was_worth |= load.is_worth_sharing(rest, helpers);
        }
        batch = next_batch(items, took, left);
    }
}

/// Runs all items here, untimed; in batches, so that a progress bar advances.
fn run_alone(unstarted: &mut UnstartedItems<'_>, body: &Body<'_>) {
    let mut batch = 1;
    while !unstarted.left.is_empty() {
        if body(unstarted.take(batch)).is_break() {
            return;
        }
        batch = batch.saturating_mul(8);
    }
}

/// The size of the batch after one of `items` that took `took` nanoseconds: larger while batches are short, and none
/// longer than [`BATCH_NS`]. It takes all of `left` if that fits into one batch and is not many more items, and half of
/// it at most otherwise: costs may jump.
fn next_batch(items: u64, took: u64, left: u64) -> usize {
    let rest = left.saturating_mul(took) / items;
    let size = if rest <= BATCH_NS && left <= 64.max(4 * items) {
        left
    } else {
        let growth = match took {
            0..=99 => 8,
            100..=499 => 4,
            _ => 2,
        };
        let longest = (BATCH_NS * items / took.max(1)).max(1);
        (items * growth).min(longest).min(left / 2).max(1)
    };
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_while_they_are_short() {
        assert_eq!(next_batch(1, 20, 1_000_000), 8);
        assert_eq!(next_batch(8, 100, 1_000_000), 32);
        assert_eq!(next_batch(512, 1_000, 1_000_000), 1_024);
        assert_eq!(next_batch(1_024, 2_000, 1_000_000), 1_024, "2 us");
        assert_eq!(next_batch(1, 3_000_000, 1_000), 1);
        assert_eq!(next_batch(4, 30, 11), 11, "the rest, as it is short");
        assert_eq!(next_batch(512, 1_500, 1_000), 500, "half of the rest");
        assert_eq!(next_batch(64, 50, 190), 190, "the rest takes less than one batch");
    }
}
