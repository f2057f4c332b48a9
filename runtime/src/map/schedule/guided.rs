//! Blocks of items in order, from one counter: for maps that end at the first failure, and those with a chunk size.
//!
//! Blocks are started in the order of their indexes, so when one fails all earlier ones have been started, and the
//! first failure in input order is found. Without a chunk size blocks shrink with what is left (guided
//! self-scheduling: Polychronopoulos and Kuck, 1987).

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::placement::Cores;
use super::stop::Stop;
use crate::sys::clock::Moment;

/// A block at least, where items are cheap.
const LEAST_NS: u64 = 2_000;
/// A block at most, so that the last ones end together.
const BLOCK_NS: u64 = 1_000_000;

/// How large the next block is.
#[derive(Clone, Copy)]
pub(crate) enum Block {
    Fixed(usize),
    /// So many in all; the first ones are one item longer than the last ones.
    Balanced(usize),
    /// A share of what is left for so many workers.
    Guided {
        per_item_ns: u64,
        workers: usize,
    },
}

/// The counter that blocks are taken from. What no worker starts on is discarded with it.
pub(crate) struct Handout<'a, D: Fn(Range<usize>)> {
    items: Range<usize>,
    size: Block,
    /// The end of the last block that was started.
    started: AtomicUsize,
    stop: Stop,
    discard: &'a D,
}

impl<'a, D: Fn(Range<usize>)> Handout<'a, D> {
    pub(crate) fn new(items: Range<usize>, size: Block, discard: &'a D) -> Self {
        let started = AtomicUsize::new(items.start);
        Self { items, size, started, stop: Stop::new(), discard }
    }

    /// One worker's share: runs `body` on blocks until none is left, or one breaks. With `cores` the caller works along.
    pub(crate) fn work(&self, cores: Option<&Cores>, body: &impl Fn(Range<usize>) -> ControlFlow<()>) {
        let unwinding = self.stop.on_unwind();
        let mut worker = match cores.map(|cores| cores.arrive(|| self.left_ns())) {
            Some(None) => return unwinding.defuse(),
            Some(worker) => worker,
            None => None,
        };
        while let Some(block) = self.take() {
            if body(block).is_break() {
                self.stop.set();
            }
            if let Some(worker) = &mut worker {
                worker.give_way(Moment::now());
            }
        }
        unwinding.defuse();
    }

    /// What is left, in nanoseconds, where that is known.
    fn left_ns(&self) -> u64 {
        let left = self.items.end.saturating_sub(self.started.load(Ordering::Relaxed));
        match self.size {
            Block::Guided { per_item_ns, .. } => per_item_ns.saturating_mul(left as u64),
            Block::Fixed(_) | Block::Balanced(_) => u64::MAX,
        }
    }

    fn take(&self) -> Option<Range<usize>> {
        let mut start = self.started.load(Ordering::Relaxed);
        loop {
            if start >= self.items.end || self.stop.is_set() {
                return None;
            }
            let end = start + self.next(start);
            match self.started.compare_exchange_weak(start, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(start..end),
                Err(other) => start = other,
            }
        }
    }

    /// The length of the block that begins at `start`.
    fn next(&self, start: usize) -> usize {
        let rest = self.items.end - start;
        match self.size {
            Block::Fixed(size) => size.min(rest),
            Block::Balanced(blocks) => {
                let (each, more) = (self.items.len() / blocks, self.items.len() % blocks);
                if start - self.items.start < more * (each + 1) { each + 1 } else { each }
            }
            Block::Guided { per_item_ns, workers } => {
                let items = |time: u64| usize::try_from(time / per_item_ns.max(1)).unwrap_or(usize::MAX).max(1);
                let most = items(BLOCK_NS);
                (rest / (4 * workers)).clamp(items(LEAST_NS).min(most), most).min(rest)
            }
        }
    }

    /// Blocks in all, where that is known; else items.
    pub(crate) fn blocks(&self) -> usize {
        match self.size {
            Block::Fixed(size) => self.items.len().div_ceil(size),
            Block::Balanced(blocks) => blocks,
            Block::Guided { .. } => self.items.len(),
        }
    }
}

impl<D: Fn(Range<usize>)> Drop for Handout<'_, D> {
    fn drop(&mut self) {
        // Everybody has left: nobody started on what comes after the last block.
        let left = *self.started.get_mut()..self.items.end;
        if !left.is_empty() {
            (self.discard)(left);
        }
    }
}
