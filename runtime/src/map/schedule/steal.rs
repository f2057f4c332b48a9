//! Contiguous ranges of items, one for each worker, with range stealing: a worker takes chunks from the front of its
//! own range, and steals the back half of another's when its own is empty.
//!
//! Workers that took turns over one counter would write neighbouring elements of the output, and contend for its pages.
//! Stealing halves keeps the number of steals logarithmic (Blumofe and Leiserson, 1999).

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::placement::Placement;
use super::stop::StopFlag;
use super::{Body, Discard, chunk_len};
use crate::sys::clock::Moment;
use crate::sys::drop_all::DropSequence;

/// A worker takes a third of its range at most, so that others find something to steal.
const PARTS: usize = 3;

/// A range of indexes in one word, on a cache line of its own.
#[repr(align(128))]
struct PackedRange(AtomicU64);

fn pack(range: &Range<usize>) -> u64 {
    (range.start as u64) << 32 | range.end as u64
}

#[allow(clippy::cast_possible_truncation, reason = "each half is 32 bits")]
fn unpack(word: u64) -> Range<usize> {
    (word >> 32) as usize..(word & 0xffff_ffff) as usize
}

/// The ranges of all workers of one map. Items that no worker started are discarded on drop.
pub(crate) struct StealableRanges<'a> {
    ranges: Box<[PackedRange]>,
    placement: Placement,
    stop: StopFlag,
    discard: &'a Discard<'a>,
}

impl<'a> StealableRanges<'a> {
    /// The most items: an index has 32 bits.
    pub(crate) const MAX_ITEMS: usize = u32::MAX as usize;

    /// All of `items` in the range of the first worker that arrives.
    pub(crate) fn new(items: &Range<usize>, placement: Placement, discard: &'a Discard<'a>) -> Self {
        let ranges: Box<[PackedRange]> = (0..placement.workers()).map(|_| PackedRange(AtomicU64::new(0))).collect();
        ranges[0].0.store(pack(items), Ordering::Relaxed);
        Self { ranges, placement, stop: StopFlag::new(), discard }
    }

    /// One worker's share: runs `body` on chunks until nothing is left to take or to steal. `rate` is the expected cost
    /// of an item in nanoseconds; returns the cost of an item in the last chunk, if there was one.
    pub(crate) fn work(&self, mut rate: u64, body: &Body<'_>) -> Option<u64> {
        let mut worker = self.placement.arrive(|| self.left().saturating_mul(rate))?;
        let mut measured = None;
        let stop_on_unwind = self.stop.set_on_unwind();
        worker.begin(rate);
        let mut before = Moment::now();
        while let Some(chunk) = self.next(worker.index, rate) {
            let items = chunk.len() as u64;
            if body(chunk).is_break() {
                self.stop.set();
            }
            let now = Moment::now();
            // Costs may change along the items: the last chunk's is the best guess.
            rate = now.since(before).div_ceil(items);
            measured = Some(rate);
            before = worker.yield_if_late(now);
        }
        stop_on_unwind.disarm();
        measured
    }

    /// Items that no worker has started.
    fn left(&self) -> u64 {
        self.ranges.iter().map(|range| unpack(range.0.load(Ordering::Relaxed)).len() as u64).sum()
    }

    /// The next chunk of worker `me`: from its own range, after a steal if that is empty.
    fn next(&self, me: usize, rate: u64) -> Option<Range<usize>> {
        while !self.stop.is_set() {
            if let Some(chunk) = self.take(me, rate) {
                return Some(chunk);
            }
            if !self.steal(me) {
                return None;
            }
        }
        None
    }

    /// A chunk from the front of the worker's own range.
    fn take(&self, me: usize, rate: u64) -> Option<Range<usize>> {
        let own = &self.ranges[me].0;
        let mut word = own.load(Ordering::Relaxed);
        loop {
            let range = unpack(word);
            if range.is_empty() {
                return None;
            }
            let size = chunk_len(range.len(), rate, PARTS);
            let rest = range.start + size..range.end;
            match own.compare_exchange_weak(word, pack(&rest), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(range.start..rest.start),
                Err(other) => word = other,
            }
        }
    }

    /// Moves the back half of the longest range to worker `me`'s; `false` if all are empty.
    fn steal(&self, me: usize) -> bool {
        loop {
            let words = self.ranges.iter().map(|range| range.0.load(Ordering::Relaxed)).enumerate();
            let longest = words.max_by_key(|(_, word)| unpack(*word).len());
            let Some((victim, word)) = longest.filter(|(_, word)| !unpack(*word).is_empty()) else { return false };
            let range = unpack(word);
            let middle = range.start + range.len() / 2;
            // No ABA: a range whose front was taken never holds that index again, so an equal word is the same range.
            let front = pack(&(range.start..middle));
            if self.ranges[victim].0.compare_exchange(word, front, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.ranges[me].0.store(pack(&(middle..range.end)), Ordering::Relaxed);
                return true;
            }
        }
    }
}

impl Drop for StealableRanges<'_> {
    fn drop(&mut self) {
        // `&mut self`: every worker has returned from `work`, so the items still in a range were not started.
        let mut drops = DropSequence::default();
        for range in &mut self.ranges {
            let left = unpack(*range.0.get_mut());
            if !left.is_empty() {
                drops.run(|| (self.discard)(left));
            }
        }
        drops.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;
    use std::sync::Mutex;

    #[test]
    fn every_item_is_started_once_or_discarded() {
        for workers in 1..5 {
            for stop_at in [0, 500, 999, usize::MAX] {
                let seen = Mutex::new(vec![0; 1_000]);
                let count = |range: Range<usize>| range.for_each(|item| seen.lock().unwrap()[item] += 1);
                let ranges = StealableRanges::new(&(10..1_000), Placement::here(workers), &count);
                let body = |chunk: Range<usize>| {
                    let found = chunk.contains(&stop_at);
                    count(chunk);
                    if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                std::thread::scope(|scope| {
                    (0..workers).for_each(|_| drop(scope.spawn(|| ranges.work(1_000, &body))));
                });
                drop(ranges);
                let seen = seen.into_inner().unwrap();
                assert!(seen[..10].iter().all(|times| *times == 0) && seen[10..].iter().all(|times| *times == 1));
            }
        }
    }
}
