//! Contiguous ranges of items, one a worker: each works from the front of its own, and takes half of another's tail
//! when it has none left.
//!
//! Workers that take turns over one counter would write neighbouring places of the output, and fight over its pages.
//! Splitting in halves keeps the number of steals logarithmic (Blumofe and Leiserson, 1999).

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering};

use super::placement::Cores;
use super::stop::Stop;
use crate::sys::clock::Moment;
use crate::sys::drop_all::DropSequence;

/// What a chunk is to take: short enough that the others wait little at the end.
const CHUNK_NS: u64 = 25_000;
/// A chunk that takes less than this costs more to hand out than it is worth.
const LEAST_NS: u64 = 2_000;

/// A range as one word, on a cache line of its own.
#[repr(align(128))]
struct Held(AtomicU64);

fn pack(range: &Range<usize>) -> u64 {
    (range.start as u64) << 32 | range.end as u64
}

#[allow(clippy::cast_possible_truncation, reason = "each half is 32 bits")]
fn unpack(word: u64) -> Range<usize> {
    (word >> 32) as usize..(word & 0xffff_ffff) as usize
}

/// The ranges of a map that is shared. What no worker starts on is discarded with it.
pub(crate) struct Ranges<'a, D: Fn(Range<usize>)> {
    held: Box<[Held]>,
    cores: Cores,
    stop: Stop,
    discard: &'a D,
}

impl<'a, D: Fn(Range<usize>)> Ranges<'a, D> {
    /// The most items that ranges can tell apart.
    pub(crate) const MOST: usize = u32::MAX as usize;

    /// All of `items`, for the first of the workers to begin with.
    pub(crate) fn new(items: &Range<usize>, cores: Cores, discard: &'a D) -> Self {
        let held: Box<[Held]> = (0..cores.workers()).map(|_| Held(AtomicU64::new(0))).collect();
        held[0].0.store(pack(items), Ordering::Relaxed);
        Self { held, cores, stop: Stop::new(), discard }
    }

    /// One worker's share: runs `body` on chunks until nothing is left to take. `rate` is what an item is believed to
    /// take, in nanoseconds; gives what the last chunk's took.
    pub(crate) fn work(&self, mut rate: u64, body: &impl Fn(Range<usize>) -> ControlFlow<()>) -> u64 {
        let Some(mut worker) = self.cores.arrive(|| self.left().saturating_mul(rate)) else { return rate };
        let unwinding = self.stop.on_unwind();
        worker.begin(rate);
        let mut before = Moment::now();
        while let Some(chunk) = self.next(worker.index, rate) {
            let items = chunk.len() as u64;
            if body(chunk).is_break() {
                self.stop.set();
            }
            let now = Moment::now();
            // Costs may differ from item to item: what was last is the best guess.
            rate = now.since(before).div_ceil(items);
            before = worker.give_way(now);
        }
        unwinding.defuse();
        rate
    }

    /// Items that nobody has started on.
    fn left(&self) -> u64 {
        self.held.iter().map(|held| unpack(held.0.load(Ordering::Relaxed)).len() as u64).sum()
    }

    /// The next chunk of worker `me`: its own, else a part of another's.
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
        let held = &self.held[me].0;
        let mut word = held.load(Ordering::Relaxed);
        loop {
            let mine = unpack(word);
            if mine.is_empty() {
                return None;
            }
            let size = chunk(mine.len(), rate);
            let rest = mine.start + size..mine.end;
            match held.compare_exchange_weak(word, pack(&rest), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(mine.start..rest.start),
                Err(other) => word = other,
            }
        }
    }

    /// Moves half of the longest range of another worker to this one's; `false` if there is none.
    fn steal(&self, me: usize) -> bool {
        loop {
            let words = self.held.iter().map(|held| held.0.load(Ordering::Relaxed)).enumerate();
            let longest = words.max_by_key(|(_, word)| unpack(*word).len());
            let Some((victim, word)) = longest.filter(|(_, word)| !unpack(*word).is_empty()) else { return false };
            let theirs = unpack(word);
            let middle = theirs.start + theirs.len() / 2;
            // A range never comes back once its front was started: the same word is the same range.
            let kept = pack(&(theirs.start..middle));
            let held = &self.held[victim].0;
            if held.compare_exchange(word, kept, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.held[me].0.store(pack(&(middle..theirs.end)), Ordering::Relaxed);
                return true;
            }
        }
    }
}

/// How many of `rest` items to start on at once.
fn chunk(rest: usize, rate: u64) -> usize {
    let items = |time: u64| usize::try_from(time / rate.max(1)).unwrap_or(usize::MAX);
    items(CHUNK_NS).min(rest / 3).max(items(LEAST_NS)).clamp(1, rest)
}

impl<D: Fn(Range<usize>)> Drop for Ranges<'_, D> {
    fn drop(&mut self) {
        // Everybody has left: what is held now nobody started on.
        let mut drops = DropSequence::default();
        for held in &mut self.held {
            let left = unpack(*held.0.get_mut());
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
    use std::sync::Mutex;

    #[test]
    fn every_item_is_started_once_or_discarded() {
        for workers in 1..5 {
            for stop_at in [0, 500, 999, usize::MAX] {
                let seen = Mutex::new(vec![0; 1_000]);
                let count = |range: Range<usize>| range.for_each(|item| seen.lock().unwrap()[item] += 1);
                let ranges = Ranges::new(&(10..1_000), Cores::here(workers), &count);
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

    #[test]
    fn chunks_are_neither_tiny_nor_long() {
        assert_eq!(chunk(1_000_000, 1), 25_000);
        assert_eq!(chunk(9_000, 1), 3_000);
        assert_eq!(chunk(3_000, 1), 2_000, "what is left is not worth cutting further");
        assert_eq!(chunk(10, 1_000_000), 1);
        assert_eq!(chunk(7, 0), 7);
    }
}
