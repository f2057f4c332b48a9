//! The pipeline of a scan: workers take chunks in input order, map them at the same time, and a consumer receives the
//! results in input order.
//!
//! The worker that has the next result in order consumes it, and the ready results behind it; the others go on to their
//! next chunk meanwhile. A worker takes no chunk that is `window` or more chunks ahead of the next one to be consumed,
//! so a slow chunk does not make the results of the others pile up.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use polars::prelude::*;

use super::catch_panic::catch_polars_panic;
use super::chunk_fn::ChunkFn;
use super::chunk_source::ChunkSource;
use super::consumer::{ChunkPosition, OrderedConsumer};
use super::error::ScanError;
use super::grouped_chunks::GroupedChunks;
use super::input::{QueryInput, ScanInput};
use super::overlapping_chunks::{Overlap, OverlappingChunks};
use super::patterns::{hide_temporary_files, is_unmatched_pattern};
use super::query_batches::QueryBatches;
use super::scan_chunk::ScanChunk;
use super::{DEFAULT_CHUNK_ROWS, Scan};
use crate::frame::chunks::call_chunk_fn;
use crate::frame::error::{ChunkError, ChunkMismatch, FrameError};
use crate::frame::groups::check_keys;
use crate::frame::on_error::OnError;
use crate::map::progress::Bar;
use crate::map::{CollectRun, Grain, Items, MapWorkers};
use crate::pool;
use crate::pool::work_span::{Work, WorkKind, WorkSpan, is_observed};
use crate::pool::{Core, Pool};
use crate::sys::mutex;
use crate::task::send_proof::CallProof;

/// The state that the workers share.
struct PipelineState<P> {
    /// The chunks that are not taken yet; `None` while a worker takes one.
    source: Option<ChunkSource>,
    /// Whether the source has no further chunk.
    is_exhausted: bool,
    /// The number of chunks taken.
    taken: usize,
    /// The first row of the next chunk to be taken.
    next_row: usize,
    /// The next chunk to be consumed.
    next: usize,
    /// Prepared results by chunk number, until they are consumed; `None` for a chunk that is left out.
    ready: BTreeMap<usize, (ChunkPosition, Option<P>)>,
    /// Whether a worker consumes results.
    is_consuming: bool,
    /// The first failure in input order: of a chunk, or of the input behind it.
    failed: Option<(usize, ScanError)>,
    /// The errors of chunks that are left out.
    skipped: Vec<ChunkError>,
}

impl<P> PipelineState<P> {
    fn fail(&mut self, chunk: usize, error: ScanError) {
        if self.failed.as_ref().is_none_or(|(first, _)| chunk < *first) {
            self.failed = Some((chunk, error));
        }
    }

    /// Whether no further chunk is to be taken.
    fn is_over(&self) -> bool {
        self.is_exhausted || self.failed.is_some()
    }

    /// Whether a worker may take a chunk: the source is free, and the chunk is in the window.
    fn can_take(&self, window: usize) -> bool {
        self.source.is_some() && self.taken < self.next + window
    }
}

struct Pipeline<'a, F, C, P> {
    f: &'a F,
    consumer: &'a C,
    core: &'a Core,
    on_error: OnError,
    bar: Option<Bar<'static>>,
    state: Mutex<PipelineState<P>>,
    /// Notifies one worker when a chunk may be taken, and all workers when no further chunk is to be taken.
    moved: Condvar,
    /// A chunk may be taken if it is less than this ahead of the next chunk to be consumed.
    window: usize,
}

/// Runs the function on each chunk of the scan, the consumer on each result, and `end` on the consumer at the end. Also
/// returns the errors of the chunks that are left out.
#[track_caller]
pub(super) fn run<T, F, C, O>(
    scan: Scan,
    f: &F,
    consumer: C,
    on_error: OnError,
    end: impl FnOnce(C) -> Result<O, ScanError>,
) -> Result<(O, Vec<ChunkError>), ScanError>
where
    T: Send,
    F: ChunkFn<T>,
    C: OrderedConsumer<T>,
{
    let Scan {
        input_name,
        frame,
        steps,
        chunk_rows,
        knows_height,
        path,
        format,
        label,
        report,
        core,
        overlap,
        groups,
        ..
    } = scan;
    let read_error = |source| ScanError::Read { what: input_name.clone(), source };
    let batch_rows = std::num::NonZero::new(chunk_rows.unwrap_or(DEFAULT_CHUNK_ROWS)).ok_or_else(|| {
        read_error(polars_err!(InvalidOperation: "nothing can be read in chunks of 0 rows: ask for at least 1"))
    })?;
    check_cut(&overlap, groups.as_deref(), C::TAKES_ROWS)?;
    let core = core.unwrap_or_else(|| Arc::clone(Pool::frames().core()));
    let workers = MapWorkers::begin(&core, false).for_chunks();
    if path.as_deref().is_some_and(is_unmatched_pattern) {
        return Err(read_error(polars_err!(ComputeError: "no file matches the pattern")));
    }
    let input = match path.zip(format) {
        Some((path, format)) => ScanInput::from_files(&path, format, frame, steps, chunk_rows, workers.count()),
        None => frame.map(|frame| ScanInput::from_query(frame, steps)),
    };
    let (source, total_rows) = match input.map_err(read_error)? {
        ScanInput::Parquet(chunks) => {
            let rows = chunks.total_rows() as u64;
            (ChunkSource::Parquet(chunks), Some(rows))
        }
        ScanInput::Query(QueryInput { frame, steps, changed_files, failing_file }) => {
            let frame = hide_temporary_files(frame);
            let rows = if (label.is_some() || report.is_some()) && knows_height && steps.keeps_rows() {
                height(&frame)
            } else {
                None
            };
            let batches = QueryBatches::new(frame, &steps, batch_rows, changed_files, failing_file);
            (ChunkSource::Query(batches.map_err(read_error)?), rows)
        }
    };
    let source = if let Some(keys) = groups {
        ChunkSource::Grouped(GroupedChunks::new(source, keys))
    } else if overlap.is_some() {
        ChunkSource::Overlapping(OverlappingChunks::new(source, overlap))
    } else {
        source
    };
    let pipeline = Pipeline {
        f,
        consumer: &consumer,
        core: &core,
        on_error,
        bar: Bar::new(label, report, total_rows),
        state: Mutex::new(PipelineState {
            source: Some(source),
            is_exhausted: false,
            taken: 0,
            next_row: 0,
            next: 0,
            ready: BTreeMap::new(),
            is_consuming: false,
            failed: None,
            skipped: Vec::new(),
        }),
        moved: Condvar::new(),
        // One chunk per worker being mapped, and as many results that wait for an earlier one.
        window: 2 * workers.count(),
    };
    let run = CollectRun {
        workers,
        name: F::name(),
        grain: Grain::Size(1),
        bar: None,
        call: |_| pipeline.work(&read_error),
        accept: Ok::<(), std::convert::Infallible>,
        can_stop: false,
    };
    let Ok(_) = run.collect(Items::into_source(0..workers.count()), CallProof::from_bounds());
    let Pipeline { bar, state, .. } = pipeline;
    let PipelineState { failed, mut skipped, taken, .. } = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, error)) = failed {
        return Err(error);
    }
    skipped.sort_by_key(ChunkError::chunk);
    if skipped.len() == taken && !skipped.is_empty() {
        return Err(skipped.swap_remove(0).into());
    }
    let ended = end(consumer)?;
    bar.iter().for_each(Bar::finish);
    Ok((ended, skipped))
}

/// Fails for an overlap or groups that the scan cannot have.
fn check_cut(overlap: &Overlap, groups: Option<&[PlSmallStr]>, takes_rows: bool) -> Result<(), ScanError> {
    let invalid = match groups {
        Some(keys) => check_keys(keys).err().or(overlap.is_some().then_some("groups have no overlap: leave it away")),
        None if overlap.is_some() && !takes_rows => Some(
            "an overlap is cut off from each chunk's result, so the function must give rows: end with `collect` or a sink",
        ),
        None => None,
    };
    invalid.map_or(Ok(()), |reason| Err(ChunkError::from(FrameError::InvalidRequest(reason)).into()))
}

/// The number of rows of a query of files whose metadata has it.
fn height(frame: &LazyFrame) -> Option<u64> {
    let counted = catch_polars_panic(|| frame.clone().select([len()]).collect()).ok()?;
    let count = counted.columns().first()?.get(0).ok()?;
    count.extract()
}

impl<F, C, P: Send> Pipeline<'_, F, C, P> {
    /// The loop of one worker: takes and maps chunks until there are no more.
    fn work<T>(&self, read_error: &(impl Fn(PolarsError) -> ScanError + Sync))
    where
        T: Send,
        F: ChunkFn<T>,
        C: OrderedConsumer<T, Prepared = P>,
    {
        while let Some((position, chunk)) = self.take_chunk(read_error) {
            let (height, own) = (chunk.height(), chunk.own_rows());
            let mut position = position;
            let work = Work { kind: WorkKind::Chunk, function: F::name(), core: self.core, items: height };
            let span = is_observed().then(|| WorkSpan::start(work, None));
            let prepared = call_chunk_fn(F::name(), || {
                let _entered = span.as_ref().map(WorkSpan::enter);
                let rows = chunk.rows().map_err(|error| ChunkFailure::Scan(read_error(error)))?;
                position.overlap = own.map(|own| (own, rows.height()));
                let result = self.f.call(position.chunk, position.rows.clone(), rows);
                let result = result.map_err(ChunkFailure::Function)?;
                self.consumer.prepare(&position, result).map_err(ChunkFailure::Scan)
            });
            drop(span);
            let mut state = self.state();
            let prepared = match prepared {
                Ok(prepared) => Some(Some(prepared)),
                Err(cause) => match scan_error(&position, cause) {
                    ScanError::Chunk(error) if self.on_error == OnError::Skip => {
                        state.skipped.push(error);
                        Some(None)
                    }
                    error => {
                        state.fail(position.chunk, error);
                        None
                    }
                },
            };
            let is_mapped = prepared.is_some();
            if let Some(prepared) = prepared {
                state.ready.insert(position.chunk, (position, prepared));
            }
            drop(state);
            self.consume_ready();
            if let Some(bar) = self.bar.as_ref().filter(|_| is_mapped) {
                let end_on_panic = EndOnPanic(self);
                bar.advance(height);
                std::mem::forget(end_on_panic);
            }
        }
    }

    /// Takes the next chunk, once it is in the window. `None` if there is none.
    ///
    /// The source is asked with no lock held, as its query may itself use Fanfold.
    fn take_chunk(&self, read_error: &impl Fn(PolarsError) -> ScanError) -> Option<(ChunkPosition, ScanChunk)> {
        let mut lease = self.lease_source()?;
        let next = lease.source.as_mut()?.next();
        let mut state = self.state();
        let chunk = state.taken;
        let taken = match next {
            Ok(Some(rows)) => {
                let position =
                    ChunkPosition { chunk, rows: state.next_row..state.next_row + rows.height(), overlap: None };
                state.taken += 1;
                state.next_row = position.rows.end;
                Some((position, rows))
            }
            Ok(None) => None,
            Err(error) => {
                state.fail(chunk, read_error(error));
                None
            }
        };
        lease.is_last = taken.is_none();
        drop(state);
        taken
    }

    /// Waits until this worker may take a chunk. `None` if no further chunk is to be taken.
    ///
    /// A worker that waits here releases its permit: the worker that has the source may wait for a job that needs one.
    fn lease_source(&self) -> Option<SourceLease<'_, P>> {
        loop {
            let mut state = self.state();
            if state.is_over() {
                return None;
            }
            if state.can_take(self.window)
                && let Some(source) = state.source.take()
            {
                return Some(SourceLease {
                    state: &self.state,
                    moved: &self.moved,
                    source: Some(source),
                    is_last: true,
                });
            }
            drop(state);
            let must_wait = |state: &PipelineState<P>| !state.is_over() && !state.can_take(self.window);
            pool::blocking_section(|| drop(mutex::wait_while(&self.moved, self.state(), must_wait)));
        }
    }

    /// Consumes the results that are next in order and ready, unless another worker does so.
    fn consume_ready<T>(&self)
    where
        F: ChunkFn<T>,
        C: OrderedConsumer<T, Prepared = P>,
    {
        let mut state = self.state();
        while !state.is_consuming {
            let next = state.next;
            let Some((position, prepared)) = state.ready.remove(&next) else { break };
            state.is_consuming = true;
            drop(state);
            let consumed = match prepared {
                Some(prepared) => {
                    call_chunk_fn(F::name(), || self.consumer.consume(&position, prepared).map_err(ChunkFailure::Scan))
                }
                None => Ok(()),
            };
            state = self.state();
            state.is_consuming = false;
            let error = match consumed.map_err(|cause| scan_error(&position, cause)) {
                Ok(()) => None,
                // The errors and panics of a user's consumer end the scan.
                Err(ScanError::Chunk(error))
                    if self.on_error == OnError::Skip && error.source.is::<ChunkMismatch>() =>
                {
                    state.skipped.push(error);
                    None
                }
                Err(error) => Some(error),
            };
            match error {
                None => {
                    state.next += 1;
                    self.moved.notify_one();
                }
                Some(error) => state.fail(next, error),
            }
        }
        if state.failed.is_some() {
            self.moved.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, PipelineState<P>> {
        mutex::lock(&self.state)
    }
}

/// Dropped by a panic, it makes the other workers take no further chunk.
struct EndOnPanic<'p, 'a, F, C, P>(&'p Pipeline<'a, F, C, P>);

impl<F, C, P> Drop for EndOnPanic<'_, '_, F, C, P> {
    fn drop(&mut self) {
        mutex::lock(&self.0.state).is_exhausted = true;
        self.0.moved.notify_all();
    }
}

/// The source, leased to one worker while it takes a chunk. Dropping the lease gives the source back and wakes the next
/// worker.
struct SourceLease<'a, P> {
    state: &'a Mutex<PipelineState<P>>,
    moved: &'a Condvar,
    source: Option<ChunkSource>,
    /// Whether no further chunk is to be taken. Initially true, so that it also holds after a panic in the source.
    is_last: bool,
}

impl<P> Drop for SourceLease<'_, P> {
    fn drop(&mut self) {
        let mut state = mutex::lock(self.state);
        state.source = self.source.take();
        state.is_exhausted |= self.is_last;
        drop(state);
        if self.is_last {
            self.moved.notify_all();
        } else {
            self.moved.notify_one();
        }
    }
}

/// The failure of a chunk: an error of its function, which gets the chunk's position, or a complete error.
#[derive(Debug)]
enum ChunkFailure {
    Function(Box<dyn std::error::Error + Send + Sync>),
    Scan(ScanError),
}

impl From<ChunkFailure> for Box<dyn std::error::Error + Send + Sync> {
    fn from(failure: ChunkFailure) -> Self {
        match failure {
            ChunkFailure::Function(error) => error,
            ChunkFailure::Scan(error) => error.into(),
        }
    }
}

fn scan_error(position: &ChunkPosition, cause: Box<dyn std::error::Error + Send + Sync>) -> ScanError {
    match cause.downcast::<ScanError>() {
        Ok(error) => *error,
        Err(cause) => position.error(cause),
    }
}
