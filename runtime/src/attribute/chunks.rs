//! The entry for functions with `chunks`: it cuts the arguments, runs each piece and gathers the results.
//!
//! [`cutter`] and [`gatherer`] have the bounds, and the attribute calls them where the user wrote the types, so that
//! one bad type is one error. They return the trait's functions as pointers.

use std::sync::Arc;

use super::call_site::CheckedCall;
use super::cuttable::{ChunkStorage, Cuttable};
use crate::chunks::gather::{Gather, GatherError};
use crate::chunks::split::Cut;
use crate::map::progress::Bar;
use crate::map::{CollectRun, Grain, Items, MapWorkers};
use crate::pool::Core;
#[cfg(feature = "polars")]
use crate::pool::Pool;
use crate::pool::config;
#[cfg(feature = "polars")]
use crate::pool::polars_threads::serial_polars;
use crate::pool::runtime_warning::warn_if_blocking;
use crate::pool::work_span::ChunkClock;
use crate::task::send_proof::CallProof;

/// How one chunked argument is cut: the functions of its [`Split`](crate::Split) implementation.
pub struct Cutter<'r, S> {
    size: fn(&S) -> usize,
    auto: fn(&S, usize) -> usize,
    cut_all: fn(S, &[usize], &'r ChunkStorage) -> Vec<S>,
    polars: bool,
    storage: &'r ChunkStorage,
}

/// The cutter of a type; `storage` holds the pieces of a value that is cut behind a reference.
#[must_use]
pub fn cutter<'r, S: Cuttable<'r>>(storage: &'r ChunkStorage) -> Cutter<'r, S> {
    Cutter { size: S::items, auto: S::auto, cut_all: S::pieces, polars: S::POLARS, storage }
}

/// The cutters of two arguments that are cut at the same places.
pub struct CutterPair<C, D>(pub C, pub D);

/// Cuts the chunked arguments: one, or nested pairs of several.
pub trait CutAll<S> {
    /// The number of items in each argument. `function` is the name that errors give, here and below.
    #[track_caller]
    fn size(&self, whole: &S, function: &str) -> usize;
    /// The pieces.
    #[track_caller]
    fn cut(&self, whole: S, sizes: &[usize], function: &str) -> Vec<S>;
    /// The number of pieces for `chunks = "auto"`.
    fn auto(&self, whole: &S, workers: usize) -> usize;
    /// Whether the arguments hold Polars data.
    fn polars(&self) -> bool;
    /// The pieces for `workers` threads, each with the number of its items, without those that overlap others.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be cut this way.
    #[track_caller]
    fn pieces(&self, whole: S, cut: Cut, workers: usize, function: &str) -> Result<Vec<(usize, S)>, GatherError> {
        let cut = if cut == Cut::Auto { Cut::Chunks(self.auto(&whole, workers)) } else { cut };
        let sizes = cut.sizes(self.size(&whole, function), workers);
        let pieces = self.cut(whole, &sizes, function);
        let (wanted, found) = (sizes.len(), pieces.len());
        assert!(wanted == found, "`{function}`: `Split::cut_all` gave {found} pieces instead of {wanted}");
        Ok(sizes.into_iter().zip(pieces).collect())
    }
}

impl<S> CutAll<S> for Cutter<'_, S> {
    fn size(&self, whole: &S, _: &str) -> usize {
        (self.size)(whole)
    }

    fn cut(&self, whole: S, sizes: &[usize], _: &str) -> Vec<S> {
        (self.cut_all)(whole, sizes, self.storage)
    }

    fn auto(&self, whole: &S, workers: usize) -> usize {
        (self.auto)(whole, workers)
    }

    fn polars(&self) -> bool {
        self.polars
    }
}

impl<S, T, C: CutAll<S>, D: CutAll<T>> CutAll<(S, T)> for CutterPair<C, D> {
    #[track_caller]
    fn size(&self, (first, second): &(S, T), function: &str) -> usize {
        let (first, second) = (self.0.size(first, function), self.1.size(second, function));
        let equal = first == second;
        assert!(equal, "`{function}`: its `#[chunk]` arguments have unequal lengths: {first} and {second}");
        first
    }

    #[track_caller]
    fn cut(&self, (first, second): (S, T), sizes: &[usize], function: &str) -> Vec<(S, T)> {
        let (first, second) = (self.0.cut(first, sizes, function), self.1.cut(second, sizes, function));
        let (one, other) = (first.len(), second.len());
        let equal = one == other;
        assert!(equal, "`{function}`: `Split::cut_all` gave {one} pieces of one argument and {other} of another");
        first.into_iter().zip(second).collect()
    }

    fn auto(&self, (first, second): &(S, T), workers: usize) -> usize {
        self.0.auto(first, workers).max(self.1.auto(second, workers))
    }

    fn polars(&self) -> bool {
        self.0.polars() || self.1.polars()
    }
}

/// How chunk results are gathered: the functions of the [`Gather`] implementation, or `reduce`.
pub struct Gatherer<'f, R> {
    is_failure: fn(&R) -> bool,
    with: GatherWith<'f, R>,
    refuse: fn(GatherError) -> Result<R, GatherError>,
    /// With an overlap: how many items of earlier pieces each part covers, and the function that cuts them off.
    trim: Option<(usize, Trim<R>)>,
}

/// Takes a part, its chunk number, the number of items to cut off, and the number that it must have.
type Trim<R> = fn(R, usize, usize, usize) -> Result<R, GatherError>;

enum GatherWith<'f, R> {
    Gather(fn(Vec<R>) -> Result<R, GatherError>),
    Fold(Box<dyn Fn(R, R) -> R + 'f>),
}

/// The function of `reduce = path`, for results of type `R`. `M` tells whether it takes the results themselves
/// ([`WholeResults`]) or the values of results that are `Ok` ([`OkValues`]).
#[diagnostic::on_unimplemented(
    message = "`reduce` cannot fold results of type `{R}` with this function",
    label = "takes and returns other types",
    note = "`reduce` takes a path of a `fn(T, T) -> T`, where the function returns `T`, or `Result<T, E>`"
)]
pub trait FoldFn<R, M> {
    /// Whether a result ends the call.
    const IS_FAILURE: fn(&R) -> bool;
    /// Combines the results of two neighbours.
    fn fold(&self, left: R, right: R) -> R;
}

/// A fold of the results themselves.
pub struct WholeResults;

/// A fold of the values of results that are `Ok`; the first error in chunk order is the result of the call.
pub struct OkValues;

#[diagnostic::do_not_recommend]
impl<R, F: Fn(R, R) -> R> FoldFn<R, WholeResults> for F {
    const IS_FAILURE: fn(&R) -> bool = |_| false;

    fn fold(&self, left: R, right: R) -> R {
        self(left, right)
    }
}

#[diagnostic::do_not_recommend]
impl<T, E, F: Fn(T, T) -> T> FoldFn<Result<T, E>, OkValues> for F {
    const IS_FAILURE: fn(&Result<T, E>) -> bool = Result::is_err;

    fn fold(&self, left: Result<T, E>, right: Result<T, E>) -> Result<T, E> {
        Ok(self(left?, right?))
    }
}

/// Gathers results by their type's [`Gather`] implementation.
#[must_use]
pub fn gatherer<'f, R: Gather>() -> Gatherer<'f, R> {
    Gatherer { is_failure: R::is_failure, with: GatherWith::Gather(R::gather), refuse: R::refuse, trim: None }
}

/// `reduce = path`: folds the results in chunk order.
#[must_use]
pub fn reducer<'f, R, M, F: FoldFn<R, M> + 'f>(fold: F) -> Gatherer<'f, R> {
    let with = GatherWith::Fold(Box::new(move |left, right| fold.fold(left, right)));
    Gatherer { is_failure: F::IS_FAILURE, with, refuse: Err, trim: None }
}

impl<R> Gatherer<'_, R> {
    /// Cuts the overlap of `before` items off each part.
    pub(crate) fn trimmed(self, before: usize, trim: Trim<R>) -> Self {
        Self { trim: Some((before, trim)), ..self }
    }

    /// Gathers the parts of pieces of these sizes.
    fn gather(&self, mut parts: Vec<R>, sizes: &[usize]) -> Result<R, GatherError> {
        if let Some((before, trim)) = self.trim {
            let mut start = 0;
            let trimmed = parts.into_iter().zip(sizes).enumerate().map(|(chunk, (part, size))| {
                let seen = before.min(start);
                start += size;
                trim(part, chunk, seen, seen + size)
            });
            parts = trimmed.collect::<Result<_, _>>()?;
        }
        match &self.with {
            GatherWith::Gather(gather) => gather(parts),
            GatherWith::Fold(fold) => {
                let folded = parts.into_iter().reduce(fold);
                folded.ok_or_else(|| GatherError::new(0, "there are no parts to reduce"))
            }
        }
    }
}

/// How a call is chunked: the number of pieces, the cutter and the gatherer.
pub struct Chunking<'f, C, R> {
    cut: Cut,
    cutter: C,
    gatherer: Gatherer<'f, R>,
}

/// Combines a cut, a cutter and a gatherer.
pub fn chunking<C, R>(cut: Cut, cutter: C, gatherer: Gatherer<'_, R>) -> Chunking<'_, C, R> {
    Chunking { cut, cutter, gatherer }
}

/// The direct call of a function with `chunks`: cuts the arguments, runs each piece and gathers the results.
///
/// `with` adds the other arguments to a piece.
///
/// # Panics
///
/// With the function's own payload, if results do not fit each other, and if the pool is closed.
#[track_caller]
pub fn call_chunks<S, C: CutAll<S>, A, R>(
    call: CheckedCall<A, R>,
    chunking: Chunking<C, R>,
    whole: S,
    with: impl FnMut(S) -> A,
    function: impl Fn(A) -> R + Sync,
) -> R {
    call_chunks_in(call.site.core(), call, chunking, whole, with, function)
}

/// The direct call of a function with chunks, on this pool.
#[track_caller]
#[inline]
pub(super) fn call_chunks_in<S, C: CutAll<S>, A, R>(
    own: &Arc<Core>,
    CheckedCall { site, .. }: CheckedCall<A, R>,
    chunking: Chunking<'_, C, R>,
    whole: S,
    mut with: impl FnMut(S) -> A,
    function: impl Fn(A) -> R + Sync,
) -> R {
    warn_if_blocking(site.function);
    let Chunking { cut, cutter, gatherer } = chunking;
    let core = chunk_core(own, cutter.polars());
    let workers = MapWorkers::begin(core, site.options.own_worker).for_chunks();
    let pieces = match cutter.pieces(whole, cut, workers.count(), site.function) {
        Ok(pieces) => pieces,
        Err(error) => return (gatherer.refuse)(error).unwrap_or_else(|error| panic!("`{}`: {error}", site.function)),
    };
    let sizes: Vec<usize> = pieces.iter().map(|(size, _)| *size).collect();
    let args: Vec<(usize, A)> = pieces.into_iter().map(|(size, piece)| (size, with(piece))).collect();
    let bar = Bar::new(site.progress, None, Some(sizes.iter().sum::<usize>() as u64));
    let serial_frames = core.is_frames() && !config::serial();
    let clock = ChunkClock::start();
    let run = CollectRun {
        workers,
        name: site.function,
        grain: Grain::Size(1),
        bar: None,
        call: |(items, args)| {
            let _guard = serial_frames.then(serial_polars);
            let result = clock.observed(site.function, core, items, || function(args));
            // The bar counts items, not pieces.
            if let Some(bar) = bar.as_ref().filter(|_| !(gatherer.is_failure)(&result)) {
                bar.advance(items);
            }
            result
        },
        accept: |result| if (gatherer.is_failure)(&result) { Err(result) } else { Ok(result) },
        can_stop: true,
    };
    // SAFETY: the `CheckedCall` covers the arguments and results; the rest of an item is its size, an integer.
    let proof = unsafe { CallProof::new_unchecked() };
    let parts = run.collect(Items::into_source(args), proof).unwrap_or_else(|failure| vec![failure]);
    let gathered = gatherer.gather(parts, &sizes).unwrap_or_else(|error| panic!("`{}`: {error}", site.function));
    if let Some(bar) = bar.filter(|_| !(gatherer.is_failure)(&gathered)) {
        bar.finish();
    }
    gathered
}

/// An argument of which every chunk gets a clone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given to every chunk",
    label = "not `Clone`, so only one chunk could have it",
    note = "take it by reference, make it `Clone`, or mark it `#[chunk]` to cut it as well"
)]
pub trait Broadcast: Sized {
    /// A clone of the value.
    fn broadcast(&self) -> Self;
}

impl<T: Clone> Broadcast for T {
    fn broadcast(&self) -> Self {
        self.clone()
    }
}

/// A clone of an unchunked argument, for one chunk.
pub fn broadcast<T: Broadcast>(value: &T) -> T {
    value.broadcast()
}

/// The `N` of `chunks = N` or `chunk_size = N`, checked at compile time.
///
/// # Panics
///
/// With `what`, if the number is 0.
#[must_use]
pub const fn at_least_one(number: usize, what: &str) -> usize {
    assert!(number > 0, "{}", what);
    number
}

/// The pool that chunks run on. Chunks of Polars data run on plain threads: those of the frame pool, or those that
/// belong to the pool that the user chose.
#[cfg(feature = "polars")]
fn chunk_core(own: &Arc<Core>, polars: bool) -> &Arc<Core> {
    match polars {
        true if own.is_default_cpu() => Pool::frames().core(),
        // Worker processes have Polars threads of their own.
        true if !own.is_process() => own.frames(),
        _ => own,
    }
}

#[cfg(not(feature = "polars"))]
fn chunk_core(own: &Arc<Core>, _: bool) -> &Arc<Core> {
    own
}

#[cfg(not(feature = "polars"))]
fn serial_polars() {}
