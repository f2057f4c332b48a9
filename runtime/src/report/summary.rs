//! The figures of a report: [`WorkerReport`] for each thread, [`FunctionReport`] for each function.

use std::collections::BTreeMap;
use std::time::Duration;

use super::timeline::{Piece, Timeline};
use crate::PoolKind;
use crate::pool::work_span::WorkKind;

/// What one thread did while a [`Report`](super::Report) was made.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerReport {
    /// The thread's name: `fanfold-db-3` for the worker 3 of a pool with the name `db`.
    pub name: String,
    /// How long it ran pieces of work, without their waits for others.
    pub busy: Duration,
    /// How long it waited inside of a piece of work: for a task, a channel or a permit.
    pub waiting: Duration,
    /// The rest of the time.
    pub idle: Duration,
    /// How many pieces it ran.
    pub pieces: usize,
}

/// What one function did in a pool while a [`Report`](super::Report) was made.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionReport {
    /// The function's name and path.
    pub function: String,
    /// What its pieces are: `task`, `future`, `call`, `chunk`, `block` or `half` (of a `join`).
    pub what: &'static str,
    /// The name of the pool.
    pub pool: String,
    /// The kind of the pool.
    pub kind: PoolKind,
    /// How many pieces there were.
    pub pieces: usize,
    /// How many items the pieces had: rows of frames, items of maps.
    pub items: u64,
    /// How long all pieces took, added up, what they waited for and what they called included.
    pub total: Duration,
    /// The shortest piece.
    pub shortest: Duration,
    /// The longest piece.
    pub longest: Duration,
    /// From the begin of the first piece to the end of the last.
    pub span: Duration,
    /// The mean time in the queue of the pieces for which it is known: tasks and chunks.
    pub mean_queued: Option<Duration>,
    /// The longest time in the queue.
    pub longest_queued: Option<Duration>,
}

impl FunctionReport {
    /// The mean time of a piece.
    #[must_use]
    pub fn mean(&self) -> Duration {
        self.total / u32::try_from(self.pieces.max(1)).unwrap_or(u32::MAX)
    }

    /// The longest piece, in mean pieces: 1 if all took the same time. The other workers wait for a piece that is much
    /// longer: cut finer, or balance by weight.
    #[must_use]
    pub fn skew(&self) -> f64 {
        self.longest.as_secs_f64() / self.mean().as_secs_f64().max(1e-9)
    }

    /// The time of all pieces, divided by the time from the first begin to the last end: how many ran on average.
    #[must_use]
    pub fn speedup(&self) -> f64 {
        self.total.as_secs_f64() / self.span.as_secs_f64().max(1e-9)
    }
}

pub(super) fn workers(timeline: &Timeline) -> Vec<WorkerReport> {
    let sum = |pieces: &[Piece]| Duration::from_nanos(pieces.iter().map(|piece| piece.own).sum());
    let worker = |lane: &super::timeline::Lane| {
        let (busy, waiting) = (sum(&lane.pieces), sum(&lane.waits));
        let idle = timeline.wall.saturating_sub(busy + waiting);
        WorkerReport { name: lane.thread.clone(), busy, waiting, idle, pieces: lane.pieces.len() }
    };
    timeline.lanes.iter().map(worker).collect()
}

pub(super) fn functions(timeline: &Timeline) -> Vec<FunctionReport> {
    let mut groups: BTreeMap<(&str, &str, &str), Vec<&Piece>> = BTreeMap::new();
    for piece in timeline.pieces() {
        groups.entry((piece.function, what(piece), piece.pool)).or_default().push(piece);
    }
    let mut functions: Vec<_> = groups.into_values().filter_map(|pieces| function(&pieces)).collect();
    functions.sort_by_key(|function| std::cmp::Reverse(function.total));
    functions
}

/// The figures of pieces of the same function, kind and pool; `None` if there are none.
fn function(pieces: &[&Piece]) -> Option<FunctionReport> {
    let first = pieces.first()?;
    let times = || pieces.iter().map(|piece| piece.took());
    let queued: Vec<u64> = pieces.iter().filter_map(|piece| piece.queued).collect();
    let (start, end) = (pieces.iter().map(|piece| piece.start).min()?, pieces.iter().map(|piece| piece.end).max()?);
    Some(FunctionReport {
        function: first.function.to_owned(),
        what: what(first),
        pool: first.pool.to_owned(),
        kind: first.pool_kind,
        pieces: pieces.len(),
        items: pieces.iter().map(|piece| u64::from(piece.items)).sum(),
        total: times().sum(),
        shortest: times().min()?,
        longest: times().max()?,
        span: Duration::from_nanos(end - start),
        mean_queued: queued.iter().sum::<u64>().checked_div(queued.len() as u64).map(Duration::from_nanos),
        longest_queued: queued.iter().max().copied().map(Duration::from_nanos),
    })
}

/// The word for what a piece is.
pub(super) fn what(piece: &Piece) -> &'static str {
    match piece.work {
        None => "wait",
        Some(WorkKind::Task) => "task",
        Some(WorkKind::Future) => "future",
        Some(WorkKind::Call) => "call",
        Some(WorkKind::Chunk) => "chunk",
        Some(WorkKind::Block) => "block",
        Some(WorkKind::Half) => "half",
    }
}

/// The last two parts of a path, which name a function where its module is known.
pub(super) fn short(function: &str) -> &str {
    // A path in the generics of a closure's type is no part of its own path.
    let own = function.split('<').next().filter(|own| !own.is_empty()).unwrap_or(function);
    match own.rmatch_indices("::").nth(1) {
        Some((at, _)) => &own[at + 2..],
        None => own,
    }
}
