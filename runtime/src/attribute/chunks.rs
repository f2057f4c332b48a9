//! The direct call of a function with `chunks`: cut, run each piece, put together.
//!
//! The bounds are asked for once, where the user wrote the types: [`cutter`] and [`gatherer`] compile only for types
//! that can be cut and put together, and hand out what that takes.

use std::sync::Arc;

use super::cuttable::{ChunkStorage, Cuttable};
use super::site::{Call, Site};
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
use crate::task::send_proof::CallProof;

/// How a type is cut: the [`Split`](crate::Split) bound, asked for once, where the user wrote the type.
pub struct Cutter<'r, S> {
    size: fn(&S) -> usize,
    auto: fn(&S, usize) -> usize,
    cut_all: fn(S, &[usize], &'r ChunkStorage) -> Vec<S>,
    polars: bool,
    room: &'r ChunkStorage,
}

/// The proof that a type can be cut; `room` is for what its pieces borrow.
#[must_use]
pub fn cutter<'r, S: Cuttable<'r>>(room: &'r ChunkStorage) -> Cutter<'r, S> {
    Cutter { size: S::items, auto: S::auto, cut_all: S::pieces, polars: S::POLARS, room }
}

/// Two values that are cut alike.
pub struct Both<C, D>(pub C, pub D);

/// One or several values to be cut.
pub trait CutAll<S> {
    /// Items in each; `function` is whose arguments they are, as in the others.
    #[track_caller]
    fn size(&self, whole: &S, function: &str) -> usize;
    /// The pieces.
    #[track_caller]
    fn cut(&self, whole: S, sizes: &[usize], function: &str) -> Vec<S>;
    /// How many pieces, where the user leaves that to us.
    fn auto(&self, whole: &S, workers: usize) -> usize;
    /// Whether they hold Polars data.
    fn polars(&self) -> bool;
    /// The pieces that `workers` are given, and how many items each has of its own.
    ///
    /// # Errors
    ///
    /// If it cannot be cut as was asked for.
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
        (self.cut_all)(whole, sizes, self.room)
    }

    fn auto(&self, whole: &S, workers: usize) -> usize {
        (self.auto)(whole, workers)
    }

    fn polars(&self) -> bool {
        self.polars
    }
}

impl<S, T, C: CutAll<S>, D: CutAll<T>> CutAll<(S, T)> for Both<C, D> {
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

/// How chunk results are put together: the [`Gather`] bound, asked for once.
pub struct Joiner<R> {
    is_failure: fn(&R) -> bool,
    join: Join<R>,
    refuse: fn(GatherError) -> Result<R, GatherError>,
    /// How many items more than its own each part is of, at its start, and what cuts them off.
    trim: Option<(usize, Trim<R>)>,
}

/// Takes a part, its number, how many items are to be cut off, and how many there must be.
type Trim<R> = fn(R, usize, usize, usize) -> Result<R, GatherError>;

enum Join<R> {
    Gather(fn(Vec<R>) -> Result<R, GatherError>),
    Fold(fn(R, R) -> R),
}

/// The proof that results can be gathered.
#[must_use]
pub fn gatherer<R: Gather>() -> Joiner<R> {
    Joiner { is_failure: R::is_failure, join: Join::Gather(R::gather), refuse: R::refuse, trim: None }
}

/// `reduce = path`: folds the results, in chunk order.
#[must_use]
pub fn reducer<R>(fold: fn(R, R) -> R) -> Joiner<R> {
    Joiner { is_failure: |_| false, join: Join::Fold(fold), refuse: Err, trim: None }
}

impl<R> Joiner<R> {
    /// Cuts off from each part what is of others.
    pub(crate) fn trimmed(self, before: usize, trim: Trim<R>) -> Self {
        Self { trim: Some((before, trim)), ..self }
    }

    /// Puts together the parts of pieces of these sizes.
    fn join(&self, mut parts: Vec<R>, sizes: &[usize]) -> Result<R, GatherError> {
        if let Some((before, trim)) = self.trim {
            let mut start = 0;
            let trimmed = parts.into_iter().zip(sizes).enumerate().map(|(chunk, (part, size))| {
                let seen = before.min(start);
                start += size;
                trim(part, chunk, seen, seen + size)
            });
            parts = trimmed.collect::<Result<_, _>>()?;
        }
        match self.join {
            Join::Gather(gather) => gather(parts),
            Join::Fold(fold) => {
                let folded = parts.into_iter().reduce(fold);
                folded.ok_or_else(|| GatherError::new(0, "there are no parts to reduce"))
            }
        }
    }
}

/// How a call is chunked: into how many pieces, what cuts, and what puts together.
pub struct Chunking<C, R> {
    cut: Cut,
    cutter: C,
    joiner: Joiner<R>,
}

/// How a call is chunked.
pub fn chunking<C, R>(cut: Cut, cutter: C, joiner: Joiner<R>) -> Chunking<C, R> {
    Chunking { cut, cutter, joiner }
}

/// The direct call of a function with `chunks`: cut, run each piece, put together.
///
/// `with` adds the other arguments to a piece.
///
/// # Panics
///
/// With the function's own payload, if results do not fit each other, and if the pool is closed.
#[track_caller]
pub fn call_chunks<S, C: CutAll<S>, A, R>(
    Call { site, .. }: Call<A, R>,
    chunking: Chunking<C, R>,
    whole: S,
    mut with: impl FnMut(S) -> A,
    function: impl Fn(A) -> R + Sync,
) -> R {
    let Chunking { cut, cutter, joiner } = chunking;
    let core = lane(site, cutter.polars());
    let workers = MapWorkers::of(core, site.terms.own_worker);
    let pieces = match cutter.pieces(whole, cut, workers.count(), site.function) {
        Ok(pieces) => pieces,
        Err(misfit) => return (joiner.refuse)(misfit).unwrap_or_else(|misfit| panic!("`{}`: {misfit}", site.function)),
    };
    let sizes: Vec<usize> = pieces.iter().map(|(size, _)| *size).collect();
    let args: Vec<(usize, A)> = pieces.into_iter().map(|(size, piece)| (size, with(piece))).collect();
    let bar = Bar::new(site.progress, Some(sizes.iter().sum::<usize>() as u64));
    let guarded = core.is_frames() && !config::serial();
    let run = CollectRun {
        workers,
        name: site.function,
        grain: Grain::Size(1),
        bar: None,
        call: |(items, args)| {
            let _guard = guarded.then(serial_polars);
            let result = function(args);
            // Counted in items, as a reader knows them, not in pieces.
            if let Some(bar) = &bar {
                bar.advance(items);
            }
            result
        },
        accept: |result| if (joiner.is_failure)(&result) { Err(result) } else { Ok(result) },
        can_stop: true,
    };
    // SAFETY: the arguments and results are those of the proof that was given, beside a number.
    let proof = unsafe { CallProof::new_unchecked() };
    let parts = run.collect(Items::into_source(args), proof).unwrap_or_else(|failure| vec![failure]);
    joiner.join(parts, &sizes).unwrap_or_else(|misfit| panic!("`{}`: {misfit}", site.function))
}

/// An argument that every chunk gets a copy of.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given to every chunk",
    label = "not `Clone`, so only one chunk could have it",
    note = "take it by reference, make it `Clone`, or mark it `#[chunk]` to cut it as well"
)]
pub trait Broadcast: Sized {
    /// One more of it.
    fn one_more(&self) -> Self;
}

impl<T: Clone> Broadcast for T {
    fn one_more(&self) -> Self {
        self.clone()
    }
}

/// A copy of a broadcast argument, for one chunk.
pub fn broadcast<T: Broadcast>(value: &T) -> T {
    value.one_more()
}

/// `chunks = N`, checked at compile time.
///
/// # Panics
///
/// With `what`, if the number is 0.
#[must_use]
pub const fn at_least_one(number: usize, what: &str) -> usize {
    assert!(number > 0, "{}", what);
    number
}

/// Where chunks run: those of Polars data on the frame crew, or on that beside the pool that the user chose.
#[cfg(feature = "polars")]
fn lane(site: Site, polars: bool) -> &'static Arc<Core> {
    let own = site.core();
    match polars {
        true if own.is_default_cpu() => Pool::frames().core(),
        // Other processes have threads of their own.
        true if !own.is_process() => own.frames(),
        _ => own,
    }
}

#[cfg(not(feature = "polars"))]
fn lane(site: Site, _: bool) -> &'static Arc<Core> {
    site.core()
}

#[cfg(not(feature = "polars"))]
fn serial_polars() {}
