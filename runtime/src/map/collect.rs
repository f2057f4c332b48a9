//! [`Collect`]: the collections that a map can end in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::hash::{BuildHasher, Hash};

use super::value_list::ValueList;
use crate::sys::drop_all::DropEach;

/// What the results of a map can be collected into: `Vec<R>` and the other collections of the standard library,
/// and for functions that may fail `Result<_, E>` or `Option<_>` of one, which stop at the first failure.
#[diagnostic::on_unimplemented(
    message = "results of type `{R}` cannot be collected into `{Self}`",
    label = "cannot be collected into this",
    note = "collect into a `Vec`, another collection, or a `Result` or `Option` of one"
)]
pub trait Collect<R>: sealed::Sealed {
    /// What is stored of one result.
    #[doc(hidden)]
    type Value;
    /// Where it is stored.
    #[doc(hidden)]
    type Values: ValueList<Value = Self::Value>;
    /// The failure that ends the map early.
    #[doc(hidden)]
    type Stop;
    /// Splits a result into the value to store, or the failure. Runs on workers.
    #[doc(hidden)]
    fn accept(result: R) -> Result<Self::Value, Self::Stop>;
    /// Adds the values of results to others, until one is a failure. Runs on workers.
    #[doc(hidden)]
    #[inline]
    fn extend(values: &mut Vec<Self::Value>, results: impl IntoIterator<Item = R>) -> Result<(), Self::Stop> {
        for result in results {
            values.push(Self::accept(result)?);
        }
        Ok(())
    }
    /// Makes the collection of all values in input order, or of the first failure. Runs on the caller.
    #[doc(hidden)]
    fn finish(results: Result<Self::Values, Self::Stop>) -> Self;
}

/// Implemented in this crate only. `Value` is made on workers and read by the caller, so it may be built only of parts
/// for which the proof that results may cross threads holds.
///
/// ```compile_fail,E0277
/// struct Mine;
///
/// impl fanfold::Collect<u64> for Mine {
///     type Value = std::rc::Rc<u64>; // not `Send`, and nothing checks it
///     type Values = <Vec<Self::Value> as fanfold::Collect<Self::Value>>::Values;
///     type Stop = ();
///     fn accept(result: u64) -> Result<Self::Value, ()> {
///         Ok(result.into())
///     }
///     fn finish(_: Result<Self::Values, ()>) -> Self {
///         Mine
///     }
/// }
/// ```
mod sealed {
    pub trait Sealed: Sized {
        /// Whether a result can end the map early.
        const CAN_STOP: bool;
    }
}

impl<C: sealed::Sealed, E> sealed::Sealed for Result<C, E> {
    const CAN_STOP: bool = true;
}

impl<C: sealed::Sealed> sealed::Sealed for Option<C> {
    const CAN_STOP: bool = true;
}

impl<C: Collect<T>, T, E> Collect<Result<T, E>> for Result<C, E> {
    type Value = C::Value;
    type Values = C::Values;
    type Stop = Result<C::Stop, E>;

    #[inline]
    fn accept(result: Result<T, E>) -> Result<C::Value, Self::Stop> {
        match result {
            Ok(value) => C::accept(value).map_err(Ok),
            Err(error) => Err(Err(error)),
        }
    }

    fn finish(results: Result<C::Values, Self::Stop>) -> Self {
        match results {
            Ok(values) => Ok(C::finish(Ok(values))),
            Err(Ok(inner)) => Ok(C::finish(Err(inner))),
            Err(Err(error)) => Err(error),
        }
    }
}

impl<C: Collect<T>, T> Collect<Option<T>> for Option<C> {
    type Value = C::Value;
    type Values = C::Values;
    type Stop = Option<C::Stop>;

    #[inline]
    fn accept(result: Option<T>) -> Result<C::Value, Self::Stop> {
        match result {
            Some(value) => C::accept(value).map_err(Some),
            None => Err(None),
        }
    }

    fn finish(results: Result<C::Values, Self::Stop>) -> Self {
        match results {
            Ok(values) => Some(C::finish(Ok(values))),
            Err(Some(inner)) => Some(C::finish(Err(inner))),
            Err(None) => None,
        }
    }
}

macro_rules! from_vec {
    ([$($generics:tt)*] $item:ty => $type:ty) => {
        impl<$($generics)*> sealed::Sealed for $type {
            const CAN_STOP: bool = false;
        }

        more_items!([$($generics)*] $item => $type);
    };
}
macro_rules! more_items {
    ([$($generics:tt)*] $item:ty => $type:ty) => {
        impl<$($generics)*> Collect<$item> for $type {
            type Value = $item;
            type Values = DropEach<$item>;
            type Stop = Infallible;

            #[inline]
            fn accept(result: $item) -> Result<$item, Infallible> {
                Ok(result)
            }

            #[inline]
            fn extend(values: &mut Vec<$item>, results: impl IntoIterator<Item = $item>) -> Result<(), Infallible> {
                values.extend(results);
                Ok(())
            }

            fn finish(results: Result<DropEach<$item>, Infallible>) -> Self {
                let Ok(results) = results;
                results.into_vec().into_iter().collect()
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
more_items!([] char => String);
more_items!(['a] &'a str => String);
from_vec!([] () => ());

impl<C: sealed::Sealed, D: sealed::Sealed> sealed::Sealed for (C, D) {
    const CAN_STOP: bool = false;
}

/// The first values of pairs, and the second ones.
impl<T, U, C, D> Collect<(T, U)> for (C, D)
where
    C: Collect<T, Stop = Infallible>,
    D: Collect<U, Stop = Infallible>,
{
    type Value = (C::Value, D::Value);
    type Values = (C::Values, D::Values);
    type Stop = Infallible;

    #[inline]
    fn accept((first, second): (T, U)) -> Result<Self::Value, Infallible> {
        Ok((C::accept(first)?, D::accept(second)?))
    }

    fn finish(results: Result<Self::Values, Infallible>) -> Self {
        let Ok((first, second)) = results;
        (C::finish(Ok(first)), D::finish(Ok(second)))
    }
}
