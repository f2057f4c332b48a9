//! [`Timeline`]: the recorded pieces of work of each thread, nested.

use std::fmt;
use std::time::Duration;

use crate::PoolKind;
use crate::pool::recorder::{Event, Recorded};
use crate::pool::work_span::WorkKind;

/// What each thread has run. Times are nanoseconds from the begin of the report.
#[derive(Clone)]
pub(super) struct Timeline {
    pub(super) wall: Duration,
    pub(super) lanes: Vec<Lane>,
    /// Submitted futures, which run on threads of an async runtime in turns, by their begin.
    pub(super) futures: Vec<Piece>,
    pub(super) lost: usize,
}

/// What a thread has run.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) thread: String,
    /// By their begin; an outer piece before those inside of it.
    pub(super) pieces: Vec<Piece>,
    /// The waits inside of pieces.
    pub(super) waits: Vec<Piece>,
}

/// A piece of work, or a wait.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// `None` for a wait.
    pub(super) work: Option<WorkKind>,
    pub(super) function: &'static str,
    pub(super) pool: &'static str,
    pub(super) pool_kind: PoolKind,
    pub(super) items: u32,
    /// Time in the queue, if it is known.
    pub(super) queued: Option<u64>,
    pub(super) start: u64,
    pub(super) end: u64,
    /// The time without the pieces and waits inside of it.
    pub(super) own: u64,
    /// The number of pieces and waits around it.
    pub(super) depth: usize,
}

impl Piece {
    fn new(event: Event) -> Self {
        let Event { work, function, pool, pool_kind, items, queued, start, end } = event;
        let end = end.max(start);
        let queued = (queued != u64::MAX).then_some(queued);
        Self { work, function, pool, pool_kind, items, queued, start, end, own: end - start, depth: 0 }
    }

    pub(super) fn took(&self) -> Duration {
        Duration::from_nanos(self.end - self.start)
    }
}

impl Timeline {
    pub(super) fn new(recorded: Recorded) -> Self {
        let mut futures = Vec::new();
        let mut lanes = Vec::new();
        for (thread, events) in recorded.lanes {
            let (of_futures, of_thread): (Vec<Piece>, Vec<Piece>) =
                events.into_iter().map(Piece::new).partition(|piece| piece.work == Some(WorkKind::Future));
            futures.extend(of_futures);
            let (waits, pieces) = nest(of_thread).into_iter().partition(|piece| piece.work.is_none());
            let lane = Lane { thread, pieces, waits };
            if !lane.pieces.is_empty() {
                lanes.push(lane);
            }
        }
        futures.sort_by_key(|piece| piece.start);
        lanes.sort_by(|a, b| natural(&a.thread).cmp(&natural(&b.thread)));
        Self { wall: recorded.wall, lanes, futures, lost: recorded.lost }
    }

    /// All pieces of work, without waits.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.lanes.iter().flat_map(|lane| &lane.pieces).chain(&self.futures)
    }
}

/// Sorts what a thread has run, and finds what is inside of what.
fn nest(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.sort_by_key(|piece| (piece.start, std::cmp::Reverse(piece.end)));
    let mut around: Vec<usize> = Vec::new();
    for index in 0..pieces.len() {
        let (start, end) = (pieces[index].start, pieces[index].end);
        while around.last().is_some_and(|&outer| pieces[outer].end <= start) {
            around.pop();
        }
        if let Some(&outer) = around.last() {
            // Rounding of times may let the inner one end later.
            let inside = end.min(pieces[outer].end) - start.min(pieces[outer].end);
            pieces[outer].own = pieces[outer].own.saturating_sub(inside);
        }
        pieces[index].depth = around.len();
        around.push(index);
    }
    pieces
}

/// A key by which `worker-10` comes after `worker-9`.
fn natural(name: &str) -> (&str, u64) {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (text, number) = name.split_at(name.len() - digits);
    (text, number.parse().unwrap_or(0))
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces = self.pieces().count();
        f.debug_struct("Timeline").field("wall", &self.wall).field("pieces", &pieces).finish_non_exhaustive()
    }
}
