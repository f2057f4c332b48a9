//! [`Dispatch`]: chooses the codec of a type, at the place where the user wrote the type.
//!
//! The attribute macro knows no types, and a generic function cannot ask whether `T` implements [`Direct`] and fall
//! back to serde. Method resolution on a concrete type can (autoref specialization): where two traits have the method,
//! the one that needs fewer references wins. The attribute's code asks a [`Dispatch`] of the type. A `Result` is asked
//! for both sides, because error types rarely implement serde's traits:
//!
//! ```text
//! let whole = &Dispatch::<Type>::new();
//! let (value, error) = ((&whole).value(), (&whole).error());
//! (&whole).whole((&&&value).way(), (&&&error).way())
//! ```

use std::marker::PhantomData;

use super::local_state::{CrossesAsOne, LocalState};
use super::{Direct, Sides, Whole, Wire};
use crate::error::TaskError;

/// A value that stands for the type `T` in method calls.
pub struct Dispatch<T>(PhantomData<fn(T) -> T>);

impl<T> Dispatch<T> {
    /// The dispatch value of `T`.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a type is always named")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// Implemented for pointers to state that threads share, of which another process would get a copy, and for containers
/// of them; preferred to [`HasOwnWay`], and refused.
pub trait HasLocalState<T, Place> {
    /// No codec: nothing implements the bound.
    fn way(&self) -> Whole<T>
    where
        T: CrossesAsOne;
}

impl<T: LocalState<Place>, Place> HasLocalState<T, Place> for &&Dispatch<T> {
    fn way(&self) -> Whole<T>
    where
        T: CrossesAsOne,
    {
        Whole::by_serde()
    }
}

/// Implemented for types with a codec of their own (`Direct`); preferred to [`MustBeSerde`].
pub trait HasOwnWay<T> {
    /// The type's own codec.
    fn way(&self) -> Whole<T>;
}

impl<T: Direct> HasOwnWay<T> for &Dispatch<T> {
    fn way(&self) -> Whole<T> {
        Whole::by_itself()
    }
}

/// Implemented for all other types, which need serde's traits.
pub trait MustBeSerde<T> {
    /// The codec by serde.
    fn way(&self) -> Whole<T>
    where
        T: Wire;
}

impl<T> MustBeSerde<T> for Dispatch<T> {
    fn way(&self) -> Whole<T>
    where
        T: Wire,
    {
        Whole::by_serde()
    }
}

/// Implemented for `Result` types; preferred to [`HasNoSides`].
pub trait HasSides {
    /// The type in `Ok`.
    type Value;
    /// The type in `Err`.
    type Error;
    /// The dispatch value of the type in `Ok`.
    fn value(&self) -> Dispatch<Self::Value>;
    /// The dispatch value of the type in `Err`.
    fn error(&self) -> Dispatch<Self::Error>;
    /// The codec of the `Result`, from the codecs of its sides.
    fn whole<C, D>(&self, value: C, error: D) -> Sides<C, D>;
}

impl<T, E> HasSides for &Dispatch<Result<T, E>> {
    type Value = T;
    type Error = E;

    fn value(&self) -> Dispatch<T> {
        Dispatch::new()
    }

    fn error(&self) -> Dispatch<E> {
        Dispatch::new()
    }

    fn whole<C, D>(&self, value: C, error: D) -> Sides<C, D> {
        Sides { value, error }
    }
}

/// Implemented for all other types, which have one codec.
pub trait HasNoSides {
    /// The type itself.
    type Whole;
    /// The dispatch value of the type itself.
    fn value(&self) -> Dispatch<Self::Whole>;
    /// A placeholder that stands where a `Result` has its error side.
    fn error(&self) -> Dispatch<()>;
    /// The codec of the type itself; the placeholder's codec is dropped.
    fn whole<C, D>(&self, whole: C, nothing: D) -> C;
}

impl<T> HasNoSides for Dispatch<T> {
    type Whole = T;

    fn value(&self) -> Dispatch<T> {
        Dispatch::new()
    }

    fn error(&self) -> Dispatch<()> {
        Dispatch::new()
    }

    fn whole<C, D>(&self, whole: C, _: D) -> C {
        whole
    }
}

/// Implemented for `Result` types whose error can be made of a [`TaskError`]; preferred to [`HasNoPlace`].
pub trait HasPlace<R> {
    /// The function that makes a result of an error.
    fn late(&self) -> Option<fn(TaskError) -> R>;
}

impl<T, E: From<TaskError>> HasPlace<Result<T, E>> for &Dispatch<Result<T, E>> {
    fn late(&self) -> Option<fn(TaskError) -> Result<T, E>> {
        Some(|error| Err(E::from(error)))
    }
}

/// Implemented for all other result types, which cannot hold a [`TaskError`].
pub trait HasNoPlace<R> {
    /// No function.
    fn late(&self) -> Option<fn(TaskError) -> R>;
}

impl<R> HasNoPlace<R> for Dispatch<R> {
    fn late(&self) -> Option<fn(TaskError) -> R> {
        None
    }
}
