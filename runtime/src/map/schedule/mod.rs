//! The scheduler of a map: which thread runs which items.
//!
//! Without a chunk size the calling thread starts at once and times its own work (`warmup.rs`). It calls helpers only
//! when the items left are worth sharing, and then works along with them: on ranges with stealing (`steal.rs`), or,
//! where the map may stop early, on blocks in index order from one counter (`guided.rs`). An iterator that is not
//! indexed is pulled while helpers run (`read_ahead.rs`). `map/README.md` describes the protocol and gives the figures.

mod cost_history;
mod guided;
mod interrupt;
mod placement;
mod pulled_items;
mod read_ahead;
mod shared_window;
mod signal;
mod steal;
mod stop;
mod warmup;

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::pool::config;
use crate::pool::scoped::{self, Abandoned};
use crate::pool::work_span::{Work, WorkKind, WorkSpan, is_observed};
use crate::pool::{ComputingGuard, Core, Kind, mark_cpu_work};
use crate::task::cancel::CallerTask;
use cost_history::CostHistory;
use guided::{BlockSize, GuidedBlocks};
use placement::Placement;
use steal::StealableRanges;
use warmup::{UnstartedItems, WarmUp, warm_up};

pub(super) use interrupt::Interrupt;
pub(crate) use interrupt::end_cancelled_task;
pub(super) use read_ahead::{RunBlock, run_pulled};
#[cfg(feature = "process")]
pub(super) use stop::StopFlag;

/// The target of a chunk: short enough that the other workers wait little at the end, and long compared with taking it.
const CHUNK_NS: u64 = 25_000;

/// The grain size of a map: how many items a worker takes at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grain {
    /// As measured while the map runs.
    Adaptive,
    /// This many items at a time.
    Size(usize),
    /// This many balanced blocks in all.
    Blocks(usize),
}

/// The threads that run a map's items: a number of the pool's workers, and maybe the caller.
#[derive(Clone, Copy)]
pub(crate) struct MapWorkers<'a> {
    pub(super) core: &'a Arc<Core>,
    /// The most workers to call.
    helpers: usize,
    /// Whether the calling thread runs items too.
    caller_works: bool,
    /// Whether blocks of items are observed. Chunks are observed one by one, by what runs them.
    observes_blocks: bool,
}

impl<'a> MapWorkers<'a> {
    /// The rule for each pool. A caller of the default cpu pool is one of its n workers. On any other pool only the
    /// pool's own workers run items, and so does a caller that is one of them.
    ///
    /// With `own_workers` (the function's state belongs to its workers) a caller runs items only if it is one of the
    /// pool's own threads, not if it merely does the pool's work.
    pub(crate) fn of(core: &'a Arc<Core>, own_workers: bool) -> Self {
        if config::serial() {
            return Self { core, helpers: 0, caller_works: true, observes_blocks: true };
        }
        let (n, current) = (core.threads(), core.is_current());
        let caller_works = match core.kind() {
            _ if own_workers => core.is_own_worker(),
            Kind::Cpu => core.is_default_cpu() || current,
            // The first guarded Polars call on a thread makes that thread the only one of a rayon pool, for good, which
            // must not happen to a thread of the program. A thread of Polars' streaming engine is serial already, and a
            // chunk that waits for that engine may hold the last permit, so such a thread runs items.
            #[cfg(feature = "polars")]
            Kind::Frame if core.is_default_frames() && crate::pool::polars_threads::is_serial_polars() => true,
            Kind::Io | Kind::Frame | Kind::Process => current,
        };
        Self { core, helpers: if caller_works { n - 1 } else { n }, caller_works, observes_blocks: true }
    }

    /// As [`of`](Self::of), for a map that runs now: it is counted.
    pub(crate) fn begin(core: &'a Arc<Core>, own_workers: bool) -> Self {
        core.counts().maps.fetch_add(1, Ordering::Relaxed);
        Self::of(core, own_workers)
    }

    /// The threads of a map whose items are chunks.
    pub(crate) fn for_chunks(self) -> Self {
        Self { observes_blocks: false, ..self }
    }

    /// The calling thread alone.
    #[cfg(feature = "process")]
    pub(super) fn only_caller(self) -> Self {
        Self { helpers: 0, caller_works: true, ..self }
    }

    /// The most threads, the caller included where it runs items.
    pub(crate) fn count(&self) -> usize {
        self.helpers + usize::from(self.caller_works)
    }

    /// Whether nested calls run on the default cpu pool while this map's caller computes.
    fn does_cpu_work(&self) -> bool {
        self.core.is_default_cpu() || self.core.kind() == Kind::Frame
    }

    /// Counts this thread as computing until the guard is dropped, if a share of the map computes.
    fn mark_computing(&self) -> Option<ComputingGuard<'a>> {
        matches!(self.core.kind(), Kind::Cpu | Kind::Frame).then(|| self.core.load().mark_computing())
    }
}

/// How one window of a map is run.
#[derive(Clone, Copy)]
pub(crate) struct RunPlan<'a> {
    pub(crate) workers: MapWorkers<'a>,
    pub(crate) grain: Grain,
    /// Whether `body` may break, so that blocks must start in index order.
    pub(crate) can_stop: bool,
    /// The function's name, the key of its [`CostHistory`].
    pub(crate) name: &'static str,
}

impl<'a> RunPlan<'a> {
    /// What observes the blocks of this window, if that is wanted now.
    fn observer(self) -> Option<BlockObserver<'a>> {
        let is_wanted = self.workers.observes_blocks && is_observed();
        is_wanted.then_some(BlockObserver { function: self.name, core: self.workers.core })
    }
}

/// Observes the blocks of a window.
#[derive(Clone, Copy)]
struct BlockObserver<'a> {
    function: &'static str,
    core: &'a Core,
}

impl BlockObserver<'_> {
    /// A block of so many items starts.
    fn start(self, items: usize) -> WorkSpan {
        let Self { function, core } = self;
        WorkSpan::start(Work { kind: WorkKind::Block, function, core, items }, None)
    }
}

/// What runs a block of items: `Break` if no further block shall start.
///
/// The scheduler calls it through a pointer, once for a block and not for an item, so that it is compiled once and not
/// for each map of a program. Otherwise it would be two thirds of the code of a program with many maps.
type Body<'a> = dyn Fn(Range<usize>) -> ControlFlow<()> + Sync + 'a;
/// What drops the items of a block that is not started.
type Discard<'a> = dyn Fn(Range<usize>) + Sync + 'a;

/// Runs `body` on blocks that cover `0..len`, on several threads at once, and `discard` on the indexes for which no
/// block is started.
///
/// When `body` breaks, no further block starts, and all blocks that started end before this returns. With `can_stop`
/// blocks start in index order.
///
/// # Panics
///
/// With the payload of the first `body` that panics. No further block starts then, and all that started end before. If
/// the caller's task is cancelled before all blocks have started: the task ends, as cancelled.
pub(crate) fn run_blocks(
    plan: RunPlan<'_>,
    len: usize,
    body: &Body<'_>,
    discard: &Discard<'_>,
) -> Result<(), Abandoned> {
    let (observer, interrupt) = (plan.observer(), Interrupt::of(plan.workers.core));
    if observer.is_none() && interrupt.is_none() {
        return run_uninterrupted(plan, len, body, discard);
    }
    let body = |indexes: Range<usize>| {
        if interrupt.as_ref().is_some_and(Interrupt::is_raised) {
            discard(indexes);
            return ControlFlow::Break(());
        }
        let span = observer.map(|observer| observer.start(indexes.len()));
        let _entered = span.as_ref().map(WorkSpan::enter);
        body(indexes)
    };
    let done = run_uninterrupted(plan, len, &body, discard);
    match &interrupt {
        Some(interrupt) => interrupt.end(done),
        None => done,
    }
}

/// As [`run_blocks`], for a `body` that breaks when the map is interrupted.
fn run_uninterrupted(plan: RunPlan<'_>, len: usize, body: &Body<'_>, discard: &Discard<'_>) -> Result<(), Abandoned> {
    let RunPlan { workers, grain, .. } = plan;
    let mut unstarted = UnstartedItems::new(len, discard);
    if len == 0 {
        return Ok(());
    }
    let size = match grain {
        Grain::Size(size) => BlockSize::Fixed(size.max(1)),
        Grain::Blocks(blocks) if blocks >= len => BlockSize::Fixed(1),
        Grain::Blocks(blocks) => BlockSize::Balanced(blocks.max(1)),
        // An item that blocks may take long, so none waits behind another.
        Grain::Adaptive if matches!(workers.core.kind(), Kind::Io | Kind::Process) => BlockSize::Fixed(1),
        Grain::Adaptive if workers.caller_works => return run_adaptive(plan, &mut unstarted, body, discard),
        Grain::Adaptive => {
            // One of the pool's own workers warms up in place of the caller, and calls the others.
            let workers = MapWorkers { helpers: workers.helpers - 1, caller_works: true, ..workers };
            let plan = RunPlan { workers, ..plan };
            let task = CallerTask::here();
            return scoped::run_on(workers.core, false, || {
                // SAFETY: this frame called `here`, and `run_on` returns after the closure.
                let _task = unsafe { task.enter() };
                run_adaptive(plan, &mut unstarted, body, discard)
            })?;
        }
    };
    // While the caller does a cpu pool's work, nested calls run on it.
    let _seat = workers.does_cpu_work().then(mark_cpu_work);
    let blocks = GuidedBlocks::new(unstarted.take_all(), size, discard);
    let count = blocks.count();
    let helpers = workers.helpers.min(if workers.caller_works { count.saturating_sub(1) } else { count });
    let placement = workers.caller_works.then(|| Placement::here(helpers + 1));
    let share = || {
        let _computing = workers.mark_computing();
        blocks.work(placement.as_ref(), body);
    };
    scoped::lend(workers.core, helpers, workers.caller_works, &share)
}

/// As [`run_blocks`] with [`Grain::Adaptive`]: the calling thread starts, and calls helpers once that is worth it.
fn run_adaptive(
    plan: RunPlan<'_>,
    unstarted: &mut UnstartedItems<'_>,
    body: &Body<'_>,
    discard: &Discard<'_>,
) -> Result<(), Abandoned> {
    let MapWorkers { core, helpers, .. } = plan.workers;
    let _seat = plan.workers.does_cpu_work().then(mark_cpu_work);
    let history = CostHistory::for_function(plan.name);
    let WarmUp::Share { rate, helpers } = warm_up(unstarted, core.load(), helpers, history, body) else {
        return Ok(());
    };
    let items = unstarted.take_all();
    let placement = Placement::here(helpers + 1);
    if plan.can_stop || items.end > StealableRanges::MAX_ITEMS {
        let size = BlockSize::Guided { per_item_ns: rate, workers: helpers + 1 };
        let blocks = GuidedBlocks::new(items, size, discard);
        let share = || {
            let _computing = plan.workers.mark_computing();
            if let Some(rate) = blocks.work(Some(&placement), body) {
                history.record(rate);
            }
        };
        return scoped::lend(core, helpers, true, &share);
    }
    let ranges = StealableRanges::new(&items, placement, discard);
    let share = || {
        let _computing = plan.workers.mark_computing();
        if let Some(rate) = ranges.work(rate, body) {
            history.record(rate);
        }
    };
    scoped::lend(core, helpers, true, &share)
}

/// How many of `left` items, of `item_ns` each, to start at once: [`CHUNK_NS`] of them, and at most one part in
/// `parts`.
fn chunk_len(left: usize, item_ns: u64, parts: usize) -> usize {
    let fitting = usize::try_from(CHUNK_NS / item_ns.max(1)).unwrap_or(usize::MAX);
    fitting.min(left / parts).clamp(1, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_take_25_microseconds_at_most_and_leave_items_to_others() {
        assert_eq!(chunk_len(1_000_000, 1, 3), 25_000);
        assert_eq!(chunk_len(9_000, 1, 3), 3_000);
        assert_eq!(chunk_len(10, 1_000_000, 3), 1, "one item is longer");
        assert_eq!(chunk_len(2, 1, 3), 1);
        assert_eq!(chunk_len(7, 0, 1), 7);
    }
}
