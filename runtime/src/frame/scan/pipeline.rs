//! The way from a source to an ending: workers take chunks one after the other, map them at the same time, and hand
//! the results on in the order in which they took the chunks.
//!
//! Whoever has a result that is next in turn hands it on, and with it those behind it that are ready; the others go
//! on to the next chunk meanwhile. A worker takes no chunk that lies too far ahead of the one that is next in turn, so
//! that one slow chunk does not pile up the others' results.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use polars::prelude::*;

use super::super::chunks::isolated;
use super::super::error::ChunkError;
use super::error::ScanError;
use super::parquet::{Blocks, matches_nothing};
use super::source::{Batches, Chunk, Source};
use super::{ROWS, Scan};
use crate::map::{Grain, Hands, Items, Run};
use crate::pool::Pool;
use crate::progress::Bar;
use crate::sent::Crossing;

/// A chunk's place in the input.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) chunk: usize,
    pub(super) rows: Range<usize>,
}

impl Place {
    pub(super) fn error(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ScanError {
        ChunkError::new(self.chunk, self.rows.clone(), cause).into()
    }
}

/// What becomes of the results.
pub(super) trait Ending<T>: Sync {
    /// What is handed on in order.
    type Part: Send;
    /// Done by whoever has the result, at the same time as others.
    fn prepare(&self, place: &Place, result: T) -> Result<Self::Part, ScanError>;
    /// Done in input order, one at a time.
    fn accept(&self, place: &Place, part: Self::Part) -> Result<(), ScanError>;
}

/// Chunks that are not taken yet.
struct Inflow {
    source: Source,
    chunk: usize,
    row: usize,
}

/// Results on their way out.
struct Outflow<P> {
    /// Chunks that were taken.
    taken: usize,
    /// The chunk whose turn it is.
    next: usize,
    ready: BTreeMap<usize, (Place, P)>,
    /// Whether somebody is handing results on.
    busy: bool,
    /// The first failure in input order: of a chunk, or of the input behind it.
    failed: Option<(usize, ScanError)>,
}

impl<P> Outflow<P> {
    fn fail(&mut self, chunk: usize, error: ScanError) {
        if self.failed.as_ref().is_none_or(|(first, _)| chunk < *first) {
            self.failed = Some((chunk, error));
        }
    }
}

struct Pipeline<'a, F, E, P> {
    f: &'a F,
    ending: &'a E,
    bar: Option<Bar>,
    inflow: Mutex<Inflow>,
    outflow: Mutex<Outflow<P>>,
    /// Rings when results were handed on, or one has failed.
    moved: Condvar,
    /// How far ahead of the next in turn a chunk may be taken.
    window: usize,
}

/// Runs the function on each chunk of the scan, and the ending on each result.
pub(super) fn run<T, F, E>(scan: Scan, f: &F, ending: &E) -> Result<(), ScanError>
where
    T: Send,
    F: Fn(DataFrame) -> PolarsResult<T> + Sync,
    E: Ending<T>,
{
    let Scan { what, frame, rows, counted, path, parquet, label, core, .. } = scan;
    let unreadable = |source| ScanError::Read { what: what.clone(), source };
    let wanted = std::num::NonZero::new(rows.unwrap_or(ROWS)).ok_or_else(|| {
        unreadable(polars_err!(InvalidOperation: "nothing can be read in chunks of 0 rows: ask for at least 1"))
    })?;
    let core = core.unwrap_or_else(|| Arc::clone(Pool::frames().core()));
    let hands = Hands::of(&core, false);
    if path.as_deref().is_some_and(matches_nothing) {
        return Err(unreadable(polars_err!(ComputeError: "no file matches the pattern")));
    }
    let blocks = path.filter(|_| parquet).map(|path| Blocks::new(&path, rows, hands.count()));
    let files = blocks.transpose().map_err(unreadable)?;
    let (source, total) = match files.flatten() {
        Some(blocks) => {
            let height = blocks.height() as u64;
            (Source::Files(blocks), Some(height))
        }
        None => {
            let frame = frame.map_err(unreadable)?;
            let total = if label.is_some() && counted { height(&frame) } else { None };
            (Source::Query(Batches::new(frame, wanted).map_err(unreadable)?), total)
        }
    };
    let pipeline = Pipeline {
        f,
        ending,
        bar: Bar::new(label, total),
        inflow: Mutex::new(Inflow { source, chunk: 0, row: 0 }),
        outflow: Mutex::new(Outflow { taken: 0, next: 0, ready: BTreeMap::new(), busy: false, failed: None }),
        moved: Condvar::new(),
        window: 2 * hands.count(),
    };
    let workers = Run {
        hands,
        name: std::any::type_name::<F>(),
        grain: Grain::Size(1),
        bar: None,
        call: |_| pipeline.work(&unreadable),
        keep: Ok::<(), std::convert::Infallible>,
        stops: false,
    };
    let Ok(_) = workers.collect(Items::into_source(0..hands.count()), Crossing::by_bounds());
    let outflow = pipeline.outflow.into_inner().unwrap_or_else(PoisonError::into_inner);
    match outflow.failed {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// How many rows there are, where that costs next to nothing.
fn height(frame: &LazyFrame) -> Option<u64> {
    let counted = frame.clone().select([len()]).collect().ok()?;
    let count = counted.columns().first()?.get(0).ok()?;
    count.extract()
}

impl<F, E, P: Send> Pipeline<'_, F, E, P> {
    /// A worker's share: chunk after chunk, until there are no more.
    fn work<T>(&self, unreadable: &(impl Fn(PolarsError) -> ScanError + Sync))
    where
        T: Send,
        F: Fn(DataFrame) -> PolarsResult<T> + Sync,
        E: Ending<T, Part = P>,
    {
        while let Some((place, chunk)) = self.take(unreadable) {
            let height = chunk.height();
            let part = isolated(std::any::type_name::<F>(), || {
                let rows = chunk.rows().map_err(|error| Cause::Scan(unreadable(error)))?;
                let result = (self.f)(rows).map_err(Cause::Function)?;
                self.ending.prepare(&place, result).map_err(Cause::Scan)
            });
            let mut outflow = self.outflow();
            match part {
                Ok(part) => {
                    outflow.ready.insert(place.chunk, (place, part));
                }
                Err(cause) => outflow.fail(place.chunk, told(&place, cause)),
            }
            drop(outflow);
            self.hand_on();
            if let Some(bar) = &self.bar {
                bar.advance(height);
            }
        }
    }

    /// The next chunk, once there is room for its result.
    fn take(&self, unreadable: &impl Fn(PolarsError) -> ScanError) -> Option<(Place, Chunk)> {
        let mut inflow = self.inflow.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outflow = self.outflow();
        while outflow.failed.is_none() && outflow.taken >= outflow.next + self.window {
            outflow = self.moved.wait(outflow).unwrap_or_else(PoisonError::into_inner);
        }
        if outflow.failed.is_some() {
            return None;
        }
        outflow.taken += 1;
        drop(outflow);
        match inflow.source.next() {
            Ok(Some(chunk)) => {
                let place = Place { chunk: inflow.chunk, rows: inflow.row..inflow.row + chunk.height() };
                inflow.chunk += 1;
                inflow.row = place.rows.end;
                Some((place, chunk))
            }
            Ok(None) => None,
            Err(error) => {
                self.outflow().fail(inflow.chunk, unreadable(error));
                self.moved.notify_all();
                None
            }
        }
    }

    /// Hands on what is ready, in turn, unless somebody is at it.
    fn hand_on<T>(&self)
    where
        E: Ending<T, Part = P>,
    {
        let mut outflow = self.outflow();
        while !outflow.busy {
            let next = outflow.next;
            let Some((place, part)) = outflow.ready.remove(&next) else { break };
            outflow.busy = true;
            drop(outflow);
            let accepted =
                isolated(std::any::type_name::<F>(), || self.ending.accept(&place, part).map_err(Cause::Scan));
            outflow = self.outflow();
            outflow.busy = false;
            match accepted {
                Ok(()) => outflow.next += 1,
                Err(cause) => outflow.fail(next, told(&place, cause)),
            }
            self.moved.notify_all();
        }
        if outflow.failed.is_some() {
            self.moved.notify_all();
        }
    }

    fn outflow(&self) -> MutexGuard<'_, Outflow<P>> {
        self.outflow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a chunk failed: by its function, or as an error that is complete.
#[derive(Debug)]
enum Cause {
    Function(PolarsError),
    Scan(ScanError),
}

impl From<Cause> for Box<dyn std::error::Error + Send + Sync> {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Function(error) => error.into(),
            Cause::Scan(error) => error.into(),
        }
    }
}

fn told(place: &Place, cause: Box<dyn std::error::Error + Send + Sync>) -> ScanError {
    match cause.downcast::<ScanError>() {
        Ok(error) => *error,
        Err(cause) => place.error(cause),
    }
}
