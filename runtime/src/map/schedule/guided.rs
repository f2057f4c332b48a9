//! Blocks in index order from one counter (guided self-scheduling): for maps that may stop early, and for those with a
//! chunk size or a number of chunks.
//!
//! Blocks start in index order. So when one fails, all earlier blocks have started, and the first failure in input
//! order is found. Without a chunk size blocks shrink with the number of items left (Polychronopoulos and Kuck, 1987).

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::placement::Placement;
use super::stop::StopFlag;
use super::{Body, Discard, chunk_len};
use crate::sys::clock::Moment;

/// How long the next block is.
#[derive(Clone, Copy)]
pub(crate) enum BlockSize {
    /// This many items.
    Fixed(usize),
    /// This many blocks in all; the first ones are one item longer than the last ones.
    Balanced(usize),
    /// A [chunk](chunk_len) of the items left, which leaves as many to each other worker. `per_item_ns` is the first
    /// guess.
    Guided { per_item_ns: u64, workers: usize },
}

/// The counter from which workers take blocks. Items of blocks that no worker started are discarded on drop.
pub(crate) struct GuidedBlocks<'a> {
    items: Range<usize>,
    size: BlockSize,
    /// The end of the last block that a worker took.
    started: AtomicUsize,
    /// For guided blocks, the cost of an item in the last block that ended, in nanoseconds.
    per_item_ns: AtomicU64,
    stop: StopFlag,
    discard: &'a Discard<'a>,
}

impl<'a> GuidedBlocks<'a> {
    pub(crate) fn new(items: Range<usize>, size: BlockSize, discard: &'a Discard<'a>) -> Self {
        let started = AtomicUsize::new(items.start);
        let per_item_ns = AtomicU64::new(match size {
            BlockSize::Guided { per_item_ns, .. } => per_item_ns,
            BlockSize::Fixed(_) | BlockSize::Balanced(_) => 0,
        });
        Self { items, size, started, per_item_ns, stop: StopFlag::new(), discard }
    }

    /// One worker's share: runs `body` on blocks until none is left, or one breaks. `placement` is given where the
    /// caller runs a share too. Returns the cost of an item in the last guided block that ended, in nanoseconds.
    pub(crate) fn work(&self, placement: Option<&Placement>, body: &Body<'_>) -> Option<u64> {
        let stop_on_unwind = self.stop.set_on_unwind();
        let mut worker = match placement.map(|placement| placement.arrive(|| self.left_ns())) {
            Some(None) => {
                stop_on_unwind.disarm();
                return None;
            }
            Some(worker) => worker,
            None => None,
        };
        let is_guided = matches!(self.size, BlockSize::Guided { .. });
        let (mut before, mut measured) = (Moment::now(), None);
        while let Some(block) = self.take() {
            let items = block.len() as u64;
            if body(block).is_break() {
                self.stop.set();
            }
            let now = Moment::now();
            if is_guided {
                let rate = now.since(before).div_ceil(items);
                self.per_item_ns.store(rate, Ordering::Relaxed);
                measured = Some(rate);
            }
            before = worker.as_mut().map_or(now, |worker| worker.yield_if_late(now));
        }
        stop_on_unwind.disarm();
        measured
    }

    /// The estimated cost of the items left; `u64::MAX` if unknown.
    fn left_ns(&self) -> u64 {
        let left = self.items.end.saturating_sub(self.started.load(Ordering::Relaxed));
        match self.size {
            BlockSize::Guided { .. } => self.per_item_ns.load(Ordering::Relaxed).saturating_mul(left as u64),
            BlockSize::Fixed(_) | BlockSize::Balanced(_) => u64::MAX,
        }
    }

    fn take(&self) -> Option<Range<usize>> {
        let mut start = self.started.load(Ordering::Relaxed);
        loop {
            if start >= self.items.end || self.stop.is_set() {
                return None;
            }
            let end = start + self.len_at(start);
            match self.started.compare_exchange_weak(start, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(start..end),
                Err(other) => start = other,
            }
        }
    }

    /// The length of the block that begins at `start`.
    fn len_at(&self, start: usize) -> usize {
        let rest = self.items.end - start;
        match self.size {
            BlockSize::Fixed(size) => size.min(rest),
            BlockSize::Balanced(blocks) => {
                let (each, more) = (self.items.len() / blocks, self.items.len() % blocks);
                if start - self.items.start < more * (each + 1) { each + 1 } else { each }
            }
            BlockSize::Guided { workers, .. } => chunk_len(rest, self.per_item_ns.load(Ordering::Relaxed), workers + 1),
        }
    }

    /// The number of blocks; an upper bound for guided ones.
    pub(crate) fn count(&self) -> usize {
        match self.size {
            BlockSize::Fixed(size) => self.items.len().div_ceil(size),
            BlockSize::Balanced(blocks) => blocks,
            BlockSize::Guided { .. } => self.items.len(),
        }
    }
}

impl Drop for GuidedBlocks<'_> {
    fn drop(&mut self) {
        // `&mut self`: every worker has returned from `work`, so the items behind the counter were not started.
        let left = *self.started.get_mut()..self.items.end;
        if !left.is_empty() {
            (self.discard)(left);
        }
    }
}
