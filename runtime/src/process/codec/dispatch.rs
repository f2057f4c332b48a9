//! [`Dispatch`]: chooses the codec of a type, at the place where the user wrote the type.
//!
//! The attribute macro knows no types, and a generic function cannot ask whether `T` implements [`Direct`] and fall
//! back to serde. Method resolution on a concrete type can: a method of the type itself, with bounds that hold, is
//! preferred to one of a trait, and of two traits the one that needs fewer references wins (autoref specialization).
//! The attribute's code asks a [`Dispatch`] of the type. A `Result` is asked for both sides, because error types rarely
//! implement serde's traits:
//!
//! ```text
//! let whole = Dispatch::<Type>::new();
//! whole.whole((&&&whole.value()).way(), (&&&whole.error()).way())
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
/// of them; preferred to a codec of their own, and refused.
pub trait HasLocalState<T, Place> {
    /// No codec: nothing implements the bound.
    fn way(&self) -> Whole<T>
    where
        T: CrossesAsOne,
    {
        Whole::by_serde()
    }
}

impl<T: LocalState<Place>, Place> HasLocalState<T, Place> for &&Dispatch<T> {}

/// Types with a codec of their own.
impl<T: Direct> Dispatch<T> {
    /// The type's own codec.
    #[must_use]
    pub fn way(&self) -> Whole<T> {
        Whole::by_itself()
    }
}

/// Implemented for all other types, which need serde's traits.
pub trait MustBeSerde<T> {
    /// The codec by serde.
    fn way(&self) -> Whole<T>
    where
        T: Wire,
    {
        Whole::by_serde()
    }
}

impl<T> MustBeSerde<T> for Dispatch<T> {}

impl<T, E> Dispatch<Result<T, E>> {
    /// The dispatch value of the type in `Ok`.
    #[must_use]
    pub fn value(&self) -> Dispatch<T> {
        Dispatch::new()
    }

    /// The dispatch value of the type in `Err`.
    #[must_use]
    pub fn error(&self) -> Dispatch<E> {
        Dispatch::new()
    }

    /// The codec of the `Result`, from the codecs of its sides.
    pub fn whole<C, D>(&self, value: C, error: D) -> Sides<C, D> {
        Sides { value, error }
    }
}

/// Implemented for all other types, which have one codec.
pub trait HasNoSides {
    /// The dispatch value of the type itself.
    fn value(&self) -> &Self {
        self
    }

    /// A placeholder that stands where a `Result` has its error side.
    fn error(&self) -> Dispatch<()> {
        Dispatch::new()
    }

    /// The codec of the type itself; the placeholder's codec is dropped.
    fn whole<C, D>(&self, whole: C, _: D) -> C {
        whole
    }
}

impl<T> HasNoSides for Dispatch<T> {}

impl<T, E: From<TaskError>> Dispatch<Result<T, E>> {
    /// The function that makes a result of an error.
    #[must_use]
    pub fn late(&self) -> Option<fn(TaskError) -> Result<T, E>> {
        Some(|error| Err(E::from(error)))
    }
}

/// Implemented for all other result types, which cannot hold a [`TaskError`].
pub trait HasNoPlace<R> {
    /// No function.
    fn late(&self) -> Option<fn(TaskError) -> R> {
        None
    }
}

impl<R> HasNoPlace<R> for Dispatch<R> {}
