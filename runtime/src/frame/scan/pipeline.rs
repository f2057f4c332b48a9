//! The way from a source to an ending: workers take chunks one after the other, map them at the same time, and hand
//! the results on in the order in which they took the chunks.
//!
//! Whoever has a result that is next in turn workers it on, and with it those behind it that are ready; the others go
//! on to the next chunk meanwhile. A worker takes no chunk that lies too far ahead of the one that is next in turn, so
//! that one slow chunk does not pile up the others' results.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use polars::prelude::*;

use super::catch_panic::guarded;
use super::error::ScanError;
use super::input::Input;
use super::parquet::matches_nothing;
use super::patterns::hide_temporaries;
use super::source::{Batches, Chunk, Source};
use super::{ROWS, Scan};
use crate::frame::chunks::isolated;
use crate::frame::error::ChunkError;
use crate::map::progress::Bar;
use crate::map::{CollectRun, Grain, Items, MapWorkers};
use crate::pool;
use crate::pool::Pool;
use crate::task::send_proof::CallProof;

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

/// What the workers share.
struct State<P> {
    /// Chunks that are not taken yet; `None` while a worker takes one.
    source: Option<Source>,
    /// Whether the source has given its last chunk.
    drained: bool,
    /// Chunks that were taken.
    taken: usize,
    /// The row that the next chunk begins with.
    row: usize,
    /// The chunk whose turn it is.
    next: usize,
    ready: BTreeMap<usize, (Place, P)>,
    /// Whether a worker is handing results on.
    busy: bool,
    /// The first failure in input order: of a chunk, or of the input behind it.
    failed: Option<(usize, ScanError)>,
}

impl<P> State<P> {
    fn fail(&mut self, chunk: usize, error: ScanError) {
        if self.failed.as_ref().is_none_or(|(first, _)| chunk < *first) {
            self.failed = Some((chunk, error));
        }
    }

    /// Whether no further chunk is to be taken.
    fn is_over(&self) -> bool {
        self.drained || self.failed.is_some()
    }

    /// Whether a chunk may be taken that lies less than `window` chunks ahead of the one whose turn it is.
    fn may_take(&self, window: usize) -> bool {
        self.source.is_some() && self.taken < self.next + window
    }
}

struct Pipeline<'a, F, E, P> {
    f: &'a F,
    ending: &'a E,
    bar: Option<Bar>,
    state: Mutex<State<P>>,
    /// Rings for one worker when a chunk may be taken, and for all of them when no further one is to be.
    moved: Condvar,
    /// How far ahead of the next in turn a chunk may be taken.
    window: usize,
}

/// Runs the function on each chunk of the scan, and the ending on each result.
#[track_caller]
pub(super) fn run<T, F, E>(scan: Scan, f: &F, ending: &E) -> Result<(), ScanError>
where
    T: Send,
    F: Fn(DataFrame) -> PolarsResult<T> + Sync,
    E: Ending<T>,
{
    let Scan { what, frame, rows, counted, path, format, label, core, .. } = scan;
    let unreadable = |source| ScanError::Read { what: what.clone(), source };
    let wanted = std::num::NonZero::new(rows.unwrap_or(ROWS)).ok_or_else(|| {
        unreadable(polars_err!(InvalidOperation: "nothing can be read in chunks of 0 rows: ask for at least 1"))
    })?;
    let core = core.unwrap_or_else(|| Arc::clone(Pool::frames().core()));
    let workers = MapWorkers::of(&core, false);
    if path.as_deref().is_some_and(matches_nothing) {
        return Err(unreadable(polars_err!(ComputeError: "no file matches the pattern")));
    }
    let input = match path.zip(format) {
        Some((path, format)) => Input::files(&path, format, frame, rows, workers.count()),
        None => frame.map(Input::query),
    };
    let (source, total) = match input.map_err(unreadable)? {
        Input::Blocks(blocks) => {
            let height = blocks.height() as u64;
            (Source::Files(blocks), Some(height))
        }
        Input::Query(frame, watched, suspects) => {
            let frame = hide_temporaries(frame);
            let total = if label.is_some() && counted { height(&frame) } else { None };
            (Source::Query(Batches::new(frame, wanted, watched, suspects).map_err(unreadable)?), total)
        }
    };
    let pipeline = Pipeline {
        f,
        ending,
        bar: Bar::new(label, total),
        state: Mutex::new(State {
            source: Some(source),
            drained: false,
            taken: 0,
            row: 0,
            next: 0,
            ready: BTreeMap::new(),
            busy: false,
            failed: None,
        }),
        moved: Condvar::new(),
        window: 2 * workers.count(),
    };
    let run = CollectRun {
        workers,
        name: std::any::type_name::<F>(),
        grain: Grain::Size(1),
        bar: None,
        call: |_| pipeline.work(&unreadable),
        accept: Ok::<(), std::convert::Infallible>,
        can_stop: false,
    };
    let Ok(_) = run.collect(Items::into_source(0..workers.count()), CallProof::from_bounds());
    let state = pipeline.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failed {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// How many rows there are, where that costs next to nothing.
fn height(frame: &LazyFrame) -> Option<u64> {
    let counted = guarded(|| frame.clone().select([len()]).collect()).ok()?;
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
            let mut state = self.state();
            match part {
                Ok(part) => {
                    state.ready.insert(place.chunk, (place, part));
                }
                Err(cause) => state.fail(place.chunk, told(&place, cause)),
            }
            drop(state);
            self.hand_on();
            if let Some(bar) = &self.bar {
                bar.advance(height);
            }
        }
    }

    /// The next chunk, once there is room for its result.
    ///
    /// The source is asked with no lock held, as its query may itself use Fanfold.
    fn take(&self, unreadable: &impl Fn(PolarsError) -> ScanError) -> Option<(Place, Chunk)> {
        let mut turn = self.turn()?;
        let next = turn.source.as_mut()?.next();
        let mut state = self.state();
        let chunk = state.taken;
        let taken = match next {
            Ok(Some(rows)) => {
                let place = Place { chunk, rows: state.row..state.row + rows.height() };
                state.taken += 1;
                state.row = place.rows.end;
                Some((place, rows))
            }
            Ok(None) => None,
            Err(error) => {
                state.fail(chunk, unreadable(error));
                None
            }
        };
        turn.last = taken.is_none();
        drop(state);
        taken
    }

    /// Waits until this worker may take a chunk; `None` if there is none to be taken any more.
    ///
    /// A worker that waits here gives its permit back: the worker that holds the source may wait for what needs one.
    fn turn(&self) -> Option<Turn<'_, P>> {
        loop {
            let mut state = self.state();
            if state.is_over() {
                return None;
            }
            if state.may_take(self.window)
                && let Some(source) = state.source.take()
            {
                return Some(Turn { state: &self.state, moved: &self.moved, source: Some(source), last: true });
            }
            drop(state);
            let must_wait = |state: &mut State<P>| !state.is_over() && !state.may_take(self.window);
            pool::blocking_section(|| drop(self.moved.wait_while(self.state(), must_wait)));
        }
    }

    /// MapWorkers on what is ready, in turn, unless another worker is at it.
    fn hand_on<T>(&self)
    where
        E: Ending<T, Part = P>,
    {
        let mut state = self.state();
        while !state.busy {
            let next = state.next;
            let Some((place, part)) = state.ready.remove(&next) else { break };
            state.busy = true;
            drop(state);
            let accepted =
                isolated(std::any::type_name::<F>(), || self.ending.accept(&place, part).map_err(Cause::Scan));
            state = self.state();
            state.busy = false;
            match accepted {
                Ok(()) => {
                    state.next += 1;
                    self.moved.notify_one();
                }
                Err(cause) => state.fail(next, told(&place, cause)),
            }
        }
        if state.failed.is_some() {
            self.moved.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source, while one worker takes a chunk; the next worker gets it when this is dropped.
struct Turn<'a, P> {
    state: &'a Mutex<State<P>>,
    moved: &'a Condvar,
    source: Option<Source>,
    /// Whether no further chunk is to be taken; also after a panic in the source.
    last: bool,
}

impl<P> Drop for Turn<'_, P> {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.source = self.source.take();
        state.drained |= self.last;
        drop(state);
        if self.last {
            self.moved.notify_all();
        } else {
            self.moved.notify_one();
        }
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
