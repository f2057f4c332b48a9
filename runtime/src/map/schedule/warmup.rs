//! The calling thread's own start on a map: it works, and looks at the clock, until there is work worth sharing.

use std::ops::{ControlFlow, Range};

use super::cost_history::Prior;
use crate::pool::Load;
use crate::sys::clock::Moment;

/// A batch at most, before the clock is looked at again.
const BATCH_NS: u64 = 2_000;
/// The same, while nobody is there to help: as long as the parts of what is shared.
const LONE_BATCH_NS: u64 = 25_000;
/// What is left is not looked at again if it seems to take no longer: about ten looks at the clock.
const LITTLE_NS: u64 = 500;
/// Single items that take so long in all are believed: a cold cache costs less.
const LONG_NS: u64 = 5_000;
/// Items of a function that took little the last time, which nobody is there to help with: the clock is not looked at.
const UNSEEN: usize = 16;
/// A batch that takes so long is believed: reading the clock takes a tenth of it.
const TELLING_NS: u64 = 100;

/// The items that nobody has started on. What is left when it is dropped is discarded.
pub(crate) struct Unstarted<'a, D: Fn(Range<usize>)> {
    left: Range<usize>,
    discard: &'a D,
}

impl<'a, D: Fn(Range<usize>)> Unstarted<'a, D> {
    pub(crate) fn new(len: usize, discard: &'a D) -> Self {
        Self { left: 0..len, discard }
    }

    fn take(&mut self, items: usize) -> Range<usize> {
        let start = self.left.start;
        self.left.start += items.min(self.left.len());
        start..self.left.start
    }

    /// All of them, for others to start on.
    pub(crate) fn give(&mut self) -> Range<usize> {
        std::mem::replace(&mut self.left, 0..0)
    }
}

impl<D: Fn(Range<usize>)> Drop for Unstarted<'_, D> {
    fn drop(&mut self) {
        if !self.left.is_empty() {
            (self.discard)(self.give());
        }
    }
}

/// What the start showed.
pub(crate) enum Probed {
    /// It was all there was, or the function broke.
    Done,
    /// What is left is worth sharing.
    Share {
        /// Nanoseconds an item, by the last batch.
        rate: u64,
        /// Workers that are worth calling.
        helpers: usize,
    },
}

/// Works on the items until they are worth sharing with `helpers` workers, or done. Less than `least_ns` is not.
pub(crate) fn probe<D: Fn(Range<usize>)>(
    unstarted: &mut Unstarted<'_, D>,
    load: &Load,
    helpers: usize,
    least_ns: u64,
    prior: Prior,
    body: &impl Fn(Range<usize>) -> ControlFlow<()>,
) -> Probed {
    let all = unstarted.left.len();
    if helpers == 0 || all < 2 {
        alone(unstarted, body);
        return Probed::Done;
    }
    if !load.has_free_core(helpers) && prior.is_short() {
        for _ in 0..2 {
            if body(unstarted.take(UNSEEN / 2)).is_break() || unstarted.left.is_empty() {
                return Probed::Done;
            }
        }
    }
    let all = unstarted.left.len();
    let start = Moment::now();
    if let Some(rate) = prior.long()
        && let Some(rest) = Some(rate.saturating_mul(all as u64)).filter(|rest| *rest >= least_ns)
        && let Some(helpers) = load.helpers(rest, u64::MAX, helpers, start)
    {
        return Probed::Share { rate, helpers };
    }
    let (mut batch, mut before, mut worth) = (1, start, false);
    loop {
        let block = unstarted.take(batch);
        let items = block.len() as u64;
        if body(block).is_break() {
            return Probed::Done;
        }
        let left = unstarted.left.len() as u64;
        if left == 0 && !worth && prior.is_short() {
            // There is nothing to be told.
            return Probed::Done;
        }
        let now = Moment::now();
        let took = now.since(before);
        before = now;
        let rate = took.div_ceil(items);
        if left == 0 {
            if worth {
                load.ran_unshared(now.since(start), now);
            }
            prior.remember(now.since(start) / all as u64);
            return Probed::Done;
        }
        // One item tells little: its first run also warms the caches.
        if (items > 1 && took >= TELLING_NS) || now.since(start) >= LONG_NS {
            let rest = left.saturating_mul(took) / items;
            if rest < least_ns {
                // Nothing to share.
            } else if let Some(helpers) = load.helpers(rest, now.since(start), helpers, now) {
                prior.remember(rate);
                return Probed::Share { rate, helpers };
            } else {
                worth |= load.is_worth_sharing(rest, helpers);
            }
        }
        let longest = if load.has_free_core(helpers) { BATCH_NS } else { LONE_BATCH_NS };
        batch = next_batch(items, took, left, longest);
    }
}

/// Works on all items, in batches only for whoever counts them.
fn alone<D: Fn(Range<usize>)>(unstarted: &mut Unstarted<'_, D>, body: &impl Fn(Range<usize>) -> ControlFlow<()>) {
    let mut batch = 1;
    while !unstarted.left.is_empty() {
        if body(unstarted.take(batch)).is_break() {
            return;
        }
        batch = batch.saturating_mul(8);
    }
}

/// Grows while batches are short, and none is longer than `longest` nanoseconds. What is left is taken at once if it is little, and otherwise by half at most: costs
/// may jump.
fn next_batch(items: u64, took: u64, left: u64, longest: u64) -> usize {
    let rest = left.saturating_mul(took) / items;
    let size = if (rest <= LITTLE_NS && left <= 4 * items) || (rest <= BATCH_NS && left <= 64) {
        left
    } else {
        let growth = match took {
            0..=99 => 8,
            100..=499 => 4,
            _ => 2,
        };
        let longest = (longest * items / took.max(1)).max(1);
        (items * growth).min(longest).min(left / 2).max(1)
    };
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_and_stay_short() {
        assert_eq!(next_batch(1, 20, 1_000_000, BATCH_NS), 8);
        assert_eq!(next_batch(8, 100, 1_000_000, BATCH_NS), 32);
        assert_eq!(next_batch(512, 1_000, 1_000_000, BATCH_NS), 1_024);
        assert_eq!(next_batch(1_024, 2_000, 1_000_000, BATCH_NS), 1_024, "two microseconds");
        assert_eq!(next_batch(1_024, 2_000, 1_000_000, LONE_BATCH_NS), 2_048, "with nobody to help");
        assert_eq!(next_batch(1, 3_000_000, 1_000, BATCH_NS), 1);
        assert_eq!(next_batch(4, 30, 11, BATCH_NS), 11, "the rest, as it is short");
        assert_eq!(next_batch(512, 400, 1_000, BATCH_NS), 500, "half of the rest");
        assert_eq!(next_batch(64, 50, 190, BATCH_NS), 190, "not worth another look");
    }
}
