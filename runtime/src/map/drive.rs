//! Who runs which items: blocks of indexes, handed to workers in order.
//!
//! Without a chunk size the calling thread starts at once, in batches that grow while the clock says that they
//! are short. Only when what is left is worth a helper's wake-up are the others called; until then a map costs
//! what a loop costs. Helpers then take blocks from one counter, larger ones first (guided self-scheduling:
//! Polychronopoulos and Kuck, 1987), and the caller works along and waits for nobody who has not started.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::config;
use crate::lend::{self, Abandoned};
use crate::workers::{Core, Kind, cpu_seat};

/// What is left must be worth this before helpers are called: about ten times what calling them costs.
const WORTH_SHARING_NS: u64 = 20_000;
/// A batch of the calling thread's, before it looks at the clock again.
const BATCH_NS: u64 = 2_000;
/// A block at most, so that the last ones end together.
const BLOCK_NS: u64 = 1_000_000;

/// How items are handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grain {
    /// As the clock says.
    Adaptive,
    /// So many at a time.
    Size(usize),
    /// In so many balanced blocks.
    Blocks(usize),
}

/// Who works on a map.
#[derive(Clone, Copy)]
pub(crate) struct Hands<'a> {
    core: &'a Arc<Core>,
    /// Workers that are called at most.
    helpers: usize,
    /// Whether the caller works along.
    along: bool,
}

impl<'a> Hands<'a> {
    /// The rule for a pool: a caller of the default cpu pool is one of its n workers; on any other pool its own
    /// workers alone run items, and so does a caller that is one of them.
    ///
    /// With `own_workers`, a caller that only does the pool's work is none: the function's state is its workers'.
    pub(crate) fn of(core: &'a Arc<Core>, own_workers: bool) -> Self {
        if config::serial() {
            return Self { core, helpers: 0, along: true };
        }
        let (n, current) = (core.threads(), core.is_current());
        let along = match core.kind() {
            _ if own_workers => core.is_own_worker(),
            Kind::Cpu => core.is_default_cpu() || current,
            // As for frames: the first guarded Polars call on a thread makes it the only thread of a rayon pool, for
            // good. That must not happen to a thread of the user's.
            Kind::Io | Kind::Frame | Kind::Process => current,
        };
        Self { core, helpers: if along { n - 1 } else { n }, along }
    }

    fn does_cpu_work(&self) -> bool {
        match self.core.kind() {
            Kind::Cpu => self.core.is_default_cpu(),
            Kind::Io | Kind::Process => false,
            Kind::Frame => true,
        }
    }

    /// Workers in all, the caller included where it works along.
    pub(crate) fn count(&self) -> usize {
        self.helpers + usize::from(self.along)
    }
}

/// Runs `body` on blocks that cover `0..len`, on several workers at once.
///
/// Blocks are started in order of their indexes. When `body` breaks, no further block is started, and all
/// blocks that were end before this returns. `started` then holds the end of the last one.
///
/// # Panics
///
/// With the first panic of `body`, after no further block was started and all that were have ended.
/// `started` holds the end of the last block then.
pub(crate) fn drive(
    hands: Hands<'_>,
    len: usize,
    grain: Grain,
    started: &AtomicUsize,
    body: &(impl Fn(Range<usize>) -> ControlFlow<()> + Sync),
) -> Result<(), Abandoned> {
    if len == 0 {
        return Ok(());
    }
    if let Grain::Adaptive = grain
        && !hands.along
        && !matches!(hands.core.kind(), Kind::Io | Kind::Process)
    {
        // One of the pool's own workers starts on the items in the caller's place, and calls the others.
        let hands = Hands { helpers: hands.helpers - 1, along: true, ..hands };
        return lend::run_on(hands.core, || drive(hands, len, grain, started, body))?;
    }
    // While the caller does a cpu pool's work, nested calls stay on it.
    let _seat = hands.does_cpu_work().then(cpu_seat);
    let next = Handout::new(len, started);
    let mut size = match grain {
        Grain::Size(size) => Block::Fixed(size.max(1)),
        Grain::Blocks(blocks) => Block::Balanced(blocks.clamp(1, len)),
        // Items of a pool that blocks may take long, each of them.
        Grain::Adaptive if matches!(hands.core.kind(), Kind::Io | Kind::Process) => Block::Fixed(1),
        Grain::Adaptive => match probe(&next, hands.helpers, body) {
            Some(per_item_ns) => Block::Guided { per_item_ns },
            None => return Ok(()),
        },
    };
    if let Block::Balanced(blocks) = size
        && blocks == len
    {
        size = Block::Fixed(1);
    }
    let work = || {
        let mut stop = StopOnUnwind(Some(&next));
        while let Some(block) = next.take(size, hands.count()) {
            if body(block).is_break() {
                next.stop();
            }
        }
        stop.0 = None;
    };
    let blocks = next.blocks_left(size);
    let helpers = hands.helpers.min(if hands.along { blocks.saturating_sub(1) } else { blocks });
    lend::lend(hands.core, helpers, hands.along, &work)
}

/// The caller's own start: `None` if it did all there was, else what an item costs.
fn probe(next: &Handout<'_>, helpers: usize, body: &impl Fn(Range<usize>) -> ControlFlow<()>) -> Option<u64> {
    let mut batch = 1;
    loop {
        let block = next.take(Block::Fixed(batch), 1)?;
        let items = block.len() as u64;
        let start = Instant::now();
        if body(block).is_break() {
            next.stop();
            return None;
        }
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
        let per_item = took.div_ceil(items);
        // A single item tells little: its first run also warms the caches.
        let believable = items > 1 || took >= BATCH_NS;
        let left = next.left() as u64;
        if believable && helpers > 0 && left.saturating_mul(took) / items >= WORTH_SHARING_NS {
            return Some(per_item);
        }
        let longest = if helpers > 0 { (BATCH_NS * items / took).max(1) } else { u64::MAX };
        // Costs may jump: a batch is a small share of what is left, however cheap the items were so far.
        let share = left / (8 * (helpers as u64 + 1));
        batch = usize::try_from((items * 8).min(longest.max(items)).min(share).max(1)).unwrap_or(usize::MAX);
    }
}

/// How large the next block is.
#[derive(Clone, Copy)]
enum Block {
    Fixed(usize),
    /// The first ones are one item longer than the last ones.
    Balanced(usize),
    /// A share of what is left.
    Guided {
        per_item_ns: u64,
    },
}

/// The counter that blocks are taken from.
struct Handout<'a> {
    len: usize,
    /// The end of the last block that was started.
    started: &'a AtomicUsize,
    stopped: AtomicBool,
}

impl<'a> Handout<'a> {
    fn new(len: usize, started: &'a AtomicUsize) -> Self {
        Self { len, started, stopped: AtomicBool::new(false) }
    }

    fn take(&self, size: Block, workers: usize) -> Option<Range<usize>> {
        let mut start = self.started.load(Ordering::Relaxed);
        loop {
            if start >= self.len || self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            let rest = self.len - start;
            let length = match size {
                Block::Fixed(size) => size.min(rest),
                Block::Balanced(blocks) => {
                    let (each, more) = (self.len / blocks, self.len % blocks);
                    if start < more * (each + 1) { each + 1 } else { each }
                }
                Block::Guided { per_item_ns } => {
                    let share = rest / (4 * workers);
                    let least = usize::try_from(BATCH_NS / per_item_ns).unwrap_or(1);
                    let most = usize::try_from(BLOCK_NS / per_item_ns).unwrap_or(1).max(1);
                    share.clamp(least.clamp(1, most), most).min(rest)
                }
            };
            match self.started.compare_exchange_weak(start, start + length, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(start..start + length),
                Err(other) => start = other,
            }
        }
    }

    fn left(&self) -> usize {
        self.len - self.started.load(Ordering::Relaxed)
    }

    /// Blocks still to come, where that is known.
    fn blocks_left(&self, size: Block) -> usize {
        match size {
            Block::Fixed(size) => self.left().div_ceil(size),
            Block::Balanced(blocks) => blocks,
            Block::Guided { .. } => self.left(),
        }
    }

    /// No block is started after this.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Stops the handout if its thread unwinds.
struct StopOnUnwind<'a, 'b>(Option<&'a Handout<'b>>);

impl Drop for StopOnUnwind<'_, '_> {
    fn drop(&mut self) {
        if let Some(handout) = self.0 {
            handout.stop();
        }
    }
}
