//! Who runs which items of a map.
//!
//! Without a chunk size the calling thread starts at once and looks at the clock (`probe.rs`). Only when what is left
//! is worth it does it call helpers, and works along: on ranges that they split among them (`ranges.rs`), or where
//! order counts on blocks from one counter (`handout.rs`). README.md in this folder tells the whole story.

mod cost_history;
mod guided;
mod malloc_cache;
mod placement;
mod steal;
mod stop;
mod warmup;

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::pool::config;
use crate::pool::scoped::{self, Abandoned};
use crate::pool::{Core, Kind, mark_computing, mark_cpu_work};
use cost_history::Prior;
use guided::{Block, Handout};
use malloc_cache::Aside;
use placement::Cores;
use steal::Ranges;
use warmup::{Probed, Unstarted, probe};

/// Less work is not shared where results own memory: see [`Aside`].
const OWNED_NS: u64 = 20_000;

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
    pub(super) core: &'a Arc<Core>,
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
            // good. That must not happen to a thread of the user's. A thread of Polars' streaming engine is serial
            // already, and a chunk that waits for that engine may hold the last permit: so it works along.
            #[cfg(feature = "polars")]
            Kind::Frame if core.is_default_frames() && crate::pool::polars_threads::is_serial_polars() => true,
            Kind::Io | Kind::Frame | Kind::Process => current,
        };
        Self { core, helpers: if along { n - 1 } else { n }, along }
    }

    /// Workers in all, the caller included where it works along.
    pub(crate) fn count(&self) -> usize {
        self.helpers + usize::from(self.along)
    }

    fn does_cpu_work(&self) -> bool {
        match self.core.kind() {
            Kind::Cpu => self.core.is_default_cpu(),
            Kind::Io | Kind::Process => false,
            Kind::Frame => true,
        }
    }
}

/// How a map is to be run.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) hands: Hands<'a>,
    pub(crate) grain: Grain,
    /// Whether `body` may break, so that blocks must be started in order.
    pub(crate) stops: bool,
    /// Whether what is kept of a result has something to drop: memory, more often than not.
    pub(crate) owned: bool,
    /// The function's name, by which its last cost is known.
    pub(crate) name: &'static str,
}

/// Runs `body` on blocks that cover `0..len`, on several workers at once, and `discard` on what no block is started
/// for.
///
/// When `body` breaks, no further block is started, and all that were end before this returns. With `stops` blocks are
/// started in order of their indexes.
///
/// # Panics
///
/// With the first panic of `body`, after no further block was started and all that were have ended.
pub(crate) fn drive<D>(
    plan: Plan<'_>,
    len: usize,
    body: &(impl Fn(Range<usize>) -> ControlFlow<()> + Sync),
    discard: &D,
) -> Result<(), Abandoned>
where
    D: Fn(Range<usize>) + Sync,
{
    let Plan { hands, grain, .. } = plan;
    let mut unstarted = Unstarted::new(len, discard);
    if len == 0 {
        return Ok(());
    }
    let block = match grain {
        Grain::Size(size) => Block::Fixed(size.max(1)),
        Grain::Blocks(blocks) if blocks >= len => Block::Fixed(1),
        Grain::Blocks(blocks) => Block::Balanced(blocks.max(1)),
        // Items of a pool that blocks may take long, each of them.
        Grain::Adaptive if matches!(hands.core.kind(), Kind::Io | Kind::Process) => Block::Fixed(1),
        Grain::Adaptive if hands.along => return adapt(plan, &mut unstarted, body, discard),
        Grain::Adaptive => {
            // One of the pool's own workers starts on the items in the caller's place, and calls the others.
            let hands = Hands { helpers: hands.helpers - 1, along: true, ..hands };
            let plan = Plan { hands, ..plan };
            return scoped::run_on(hands.core, false, || adapt(plan, &mut unstarted, body, discard))?;
        }
    };
    // While the caller does a cpu pool's work, nested calls stay on it.
    let _seat = hands.does_cpu_work().then(mark_cpu_work);
    let handout = Handout::new(unstarted.give(), block, discard);
    let blocks = handout.blocks();
    let helpers = hands.helpers.min(if hands.along { blocks.saturating_sub(1) } else { blocks });
    let cores = hands.along.then(|| Cores::here(helpers + 1));
    let share = || {
        let _at_work = hands.does_cpu_work().then(mark_computing);
        handout.work(cores.as_ref(), body);
    };
    scoped::lend(hands.core, helpers, hands.along, &share)
}

/// As [`drive`], by the clock: the calling thread starts, and calls others when it is worth it.
fn adapt<D>(
    plan: Plan<'_>,
    unstarted: &mut Unstarted<'_, D>,
    body: &(impl Fn(Range<usize>) -> ControlFlow<()> + Sync),
    discard: &D,
) -> Result<(), Abandoned>
where
    D: Fn(Range<usize>) + Sync,
{
    let Hands { core, helpers, .. } = plan.hands;
    let _seat = plan.hands.does_cpu_work().then(mark_cpu_work);
    let prior = Prior::of(plan.name);
    let least_ns = if plan.owned { OWNED_NS } else { 0 };
    let Probed::Share { rate, helpers } = probe(unstarted, core.load(), helpers, least_ns, prior, body) else {
        return Ok(());
    };
    let items = unstarted.give();
    let cores = Cores::here(helpers + 1);
    if plan.stops || items.end > Ranges::<D>::MOST {
        let handout = Handout::new(items, Block::Guided { per_item_ns: rate, workers: helpers + 1 }, discard);
        let share = || {
            let _at_work = plan.hands.does_cpu_work().then(mark_computing);
            let _aside = plan.owned.then(Aside::new);
            handout.work(Some(&cores), body);
        };
        return scoped::lend(core, helpers, true, &share);
    }
    let ranges = Ranges::new(&items, cores, discard);
    let share = || {
        let _at_work = plan.hands.does_cpu_work().then(mark_computing);
        let _aside = plan.owned.then(Aside::new);
        prior.remember(ranges.work(rate, body));
    };
    scoped::lend(core, helpers, true, &share)
}
