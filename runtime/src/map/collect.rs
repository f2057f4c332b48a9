//! [`Collect`]: what a map's results are put into; and the run that gets them there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::hash::{BuildHasher, Hash};
use std::mem::needs_drop;
use std::ops::{ControlFlow, Range};

use super::first_error::FirstRefused;
use super::indexed::Indexed;
use super::output::Slots;
use super::progress::Bar;
use super::schedule::{Grain, Hands, Plan, drive};
use super::source::{Source, Visitor};
use crate::pool::Core;
use crate::pool::scoped::Abandoned;
use crate::sys::drop_all::DropEach;
use crate::task::send_proof::{AssertSend, CallProof};

/// What the results of a map can be collected into: `Vec<R>` and the other collections of the standard library,
/// and for functions that may fail `Result<_, E>` or `Option<_>` of one, which stop at the first failure.
#[diagnostic::on_unimplemented(
    message = "results of type `{R}` cannot be collected into `{Self}`",
    label = "cannot be collected into this",
    note = "collect into a `Vec`, another collection, or a `Result` or `Option` of one"
)]
pub trait Collect<R>: sealed::Sealed {
    /// What is kept of a result.
    #[doc(hidden)]
    type DropEach;
    /// What ends the map early.
    #[doc(hidden)]
    type Stop;
    #[doc(hidden)]
    fn keep(result: R) -> Result<Self::DropEach, Self::Stop>;
    #[doc(hidden)]
    fn finish(results: Result<Vec<Self::DropEach>, Self::Stop>) -> Self;
}

/// `DropEach` is made on workers and put together on the caller's thread: only types of which the proof that results may
/// cross says enough can be collected into.
///
/// ```compile_fail,E0277
/// struct Mine;
///
/// impl fanfold::Collect<u64> for Mine {
///     type DropEach = std::rc::Rc<u64>; // would cross threads without anybody's leave
///     type Stop = ();
///     fn keep(result: u64) -> Result<Self::DropEach, ()> {
///         Ok(result.into())
///     }
///     fn finish(_: Result<Vec<Self::DropEach>, ()>) -> Self {
///         Mine
///     }
/// }
/// ```
mod sealed {
    pub trait Sealed: Sized {
        /// Whether a result can end the map early.
        const STOPS: bool;
    }
}

impl<C: sealed::Sealed, E> sealed::Sealed for Result<C, E> {
    const STOPS: bool = true;
}

impl<C: sealed::Sealed> sealed::Sealed for Option<C> {
    const STOPS: bool = true;
}

impl<C: Collect<T>, T, E> Collect<Result<T, E>> for Result<C, E> {
    type DropEach = C::DropEach;
    type Stop = Result<C::Stop, E>;

    #[inline]
    fn keep(result: Result<T, E>) -> Result<C::DropEach, Self::Stop> {
        match result {
            Ok(value) => C::keep(value).map_err(Ok),
            Err(error) => Err(Err(error)),
        }
    }

    fn finish(results: Result<Vec<C::DropEach>, Self::Stop>) -> Self {
        match results {
            Ok(kept) => Ok(C::finish(Ok(kept))),
            Err(Ok(inner)) => Ok(C::finish(Err(inner))),
            Err(Err(error)) => Err(error),
        }
    }
}

impl<C: Collect<T>, T> Collect<Option<T>> for Option<C> {
    type DropEach = C::DropEach;
    type Stop = Option<C::Stop>;

    #[inline]
    fn keep(result: Option<T>) -> Result<C::DropEach, Self::Stop> {
        match result {
            Some(value) => C::keep(value).map_err(Some),
            None => Err(None),
        }
    }

    fn finish(results: Result<Vec<C::DropEach>, Self::Stop>) -> Self {
        match results {
            Ok(kept) => Some(C::finish(Ok(kept))),
            Err(Some(inner)) => Some(C::finish(Err(inner))),
            Err(None) => None,
        }
    }
}

macro_rules! from_vec {
    ([$($generics:tt)*] $item:ty => $type:ty) => {
        impl<$($generics)*> sealed::Sealed for $type {
            const STOPS: bool = false;
        }

        impl<$($generics)*> Collect<$item> for $type {
            type DropEach = $item;
            type Stop = Infallible;

            #[inline]
            fn keep(result: $item) -> Result<$item, Infallible> {
                Ok(result)
            }

            fn finish(results: Result<Vec<$item>, Infallible>) -> Self {
                let Ok(results) = results;
                results.into_iter().collect()
            }
        }
    };
}
from_vec!([T] T => Vec<T>);
from_vec!([T] T => VecDeque<T>);
from_vec!([T] T => Box<[T]>);
from_vec!([T: Eq + Hash, S: BuildHasher + Default] T => HashSet<T, S>);
from_vec!([T: Ord] T => BTreeSet<T>);
from_vec!([K: Eq + Hash, V, S: BuildHasher + Default] (K, V) => HashMap<K, V, S>);
from_vec!([K: Ord, V] (K, V) => BTreeMap<K, V>);
from_vec!([] String => String);
from_vec!([] () => ());

/// A run of a function over items, whose results go straight to their places.
pub(crate) struct Run<'a, F, K> {
    pub(crate) hands: Hands<'a>,
    /// The function's, by which its last cost is known.
    pub(crate) name: &'static str,
    pub(crate) grain: Grain,
    pub(crate) bar: Option<&'a Bar>,
    pub(crate) call: F,
    pub(crate) keep: K,
    /// Whether `keep` may refuse a result, so that most items may never be needed.
    pub(crate) stops: bool,
}

/// Items whose results are kept at once where the first of them may be the last: a range may be longer than memory.
const STOPPING_WINDOW: usize = 1 << 20;

/// What a run has given so far.
struct Gathering<'r, 'a, F, K, T, E> {
    run: &'r Run<'a, F, K>,
    kept: Result<DropEach<T>, E>,
    /// Whether the pool was closed before all items had run.
    abandoned: bool,
}

impl<F, K> Run<'_, F, K> {
    /// Runs `call` on every item and `keep` on every result; `Err` for the first item in order whose result
    /// `keep` refuses. Items after that one may have run, as many as there are workers times a block.
    ///
    /// # Panics
    ///
    /// With a panic of `call`, and if the pool is closed.
    #[track_caller]
    pub(crate) fn collect<A, R, T, E>(&self, source: impl Source<Item = A>, proof: CallProof<A, R>) -> Result<Vec<T>, E>
    where
        F: Fn(A) -> R + Sync,
        K: Fn(R) -> Result<T, E> + Sync,
    {
        match self.try_collect(source, proof) {
            Ok(results) => results,
            Err(Abandoned) => pool_was_closed(self.name, self.hands.core),
        }
    }

    /// As [`collect`](Self::collect), and [`Abandoned`] if the pool is closed.
    pub(crate) fn try_collect<A, R, T, E>(
        &self,
        source: impl Source<Item = A>,
        _: CallProof<A, R>,
    ) -> Result<Result<Vec<T>, E>, Abandoned>
    where
        F: Fn(A) -> R + Sync,
        K: Fn(R) -> Result<T, E> + Sync,
    {
        let mut gathering = Gathering { run: self, kept: Ok(DropEach(Vec::new())), abandoned: false };
        source.visit(&mut gathering);
        gathering.end()
    }

    /// As [`collect`](Self::collect), for items that are one window.
    #[track_caller]
    pub(super) fn collect_window<A, R, T, E>(
        &self,
        items: impl Indexed<Item = A>,
        _: CallProof<A, R>,
    ) -> Result<Vec<T>, E>
    where
        F: Fn(A) -> R + Sync,
        K: Fn(R) -> Result<T, E> + Sync,
    {
        let mut gathering = Gathering { run: self, kept: Ok(DropEach(Vec::new())), abandoned: false };
        let _ = gathering.window(items);
        match gathering.end() {
            Ok(results) => results,
            Err(Abandoned) => pool_was_closed(self.name, self.hands.core),
        }
    }
}

/// Panics with the names of a function and of its pool.
#[cold]
#[track_caller]
pub(crate) fn pool_was_closed(name: &str, core: &Core) -> ! {
    panic!(
        "`{name}` cannot run on all items: its pool was closed: call it before the {core:?} is shut down, or on another \
         pool"
    )
}

impl<F, K, T, E> Gathering<'_, '_, F, K, T, E> {
    fn end(self) -> Result<Result<Vec<T>, E>, Abandoned> {
        if self.abandoned { Err(Abandoned) } else { Ok(self.kept.map(DropEach::into_vec)) }
    }
}

impl<A, R, F, K, T, E> Visitor<A> for Gathering<'_, '_, F, K, T, E>
where
    F: Fn(A) -> R + Sync,
    K: Fn(R) -> Result<T, E> + Sync,
{
    fn largest(&self) -> usize {
        if self.run.stops { STOPPING_WINDOW } else { usize::MAX }
    }

    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()> {
        let Run { hands, name, grain, bar, ref call, ref keep, stops } = *self.run;
        let len = items.len();
        let slots = Slots::new(len);
        let stop = FirstRefused::new();
        // SAFETY: `Run::collect` took the proof that arguments and results may cross. Each block takes its own
        // items, writes its own places, and reaches `stop` under its lock.
        let shared = unsafe { AssertSend::new((&items, &slots, &stop)) };
        let body = |indexes: Range<usize>| {
            let (items, slots, stop) = *shared.get();
            let (start, count) = (indexes.start, indexes.len());
            // SAFETY: `drive` gives each index to one block.
            let input = unsafe { items.run(indexes.clone()) };
            // SAFETY: the same.
            if let Err(refused) = unsafe { slots.fill(indexes, input, |item| keep(call(item))) } {
                let index = start + refused.index;
                stop.refuse(index, refused.reason);
                return ControlFlow::Break(());
            }
            if let Some(bar) = bar {
                bar.advance(count);
            }
            ControlFlow::Continue(())
        };
        let discard = |indexes: Range<usize>| {
            let (items, ..) = *shared.get();
            // SAFETY: no block was started for these.
            unsafe { items.discard(indexes) };
        };
        let driven = drive(Plan { hands, grain, stops, name, owned: needs_drop::<T>() }, len, &body, &discard);
        if driven.is_err() {
            self.abandoned = true;
            return ControlFlow::Break(());
        }
        if let Some(reason) = stop.into_reason() {
            self.kept = Err(reason);
            return ControlFlow::Break(());
        }
        // SAFETY: no block stopped or panicked, so `drive` ran and finished blocks over all of `0..len`.
        let mut results = unsafe { slots.into_vec() };
        if let Ok(kept) = &mut self.kept {
            if kept.0.is_empty() {
                kept.0 = results;
            } else {
                kept.0.append(&mut results);
            }
        }
        ControlFlow::Continue(())
    }
}
