//! Which way a type goes, asked where the user wrote it.
//!
//! The attribute knows no types, and a generic function cannot ask "does `T` have a way of its own, else serde's?". A
//! method call on a concrete type can: of two traits that have the method, the one that needs fewer references wins. So
//! the attribute's code asks a [`Dispatch`] of the type, and of both sides of a `Result`, as errors are rarely serde's:
//!
//! ```text
//! let whole = &Dispatch::<Type>::new();
//! let (value, error) = ((&whole).value(), (&whole).error());
//! (&whole).whole((&&value).way(), (&&error).way())
//! ```

use std::marker::PhantomData;

use super::{Direct, Sides, Whole, Wire};
use crate::error::TaskError;

/// Stands for a type in questions about it.
pub struct Dispatch<T>(PhantomData<fn(T) -> T>);

impl<T> Dispatch<T> {
    /// The question about `T`.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a type is always named")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// A type has a way of its own.
pub trait HasOwnWay<T> {
    /// That way.
    fn way(&self) -> Whole<T>;
}

impl<T: Direct> HasOwnWay<T> for &Dispatch<T> {
    fn way(&self) -> Whole<T> {
        Whole::by_itself()
    }
}

/// A type must be serde's.
pub trait MustBeSerde<T> {
    /// Through serde.
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

/// A type is a `Result`.
pub trait HasSides {
    /// What is in its `Ok`.
    type Value;
    /// What is in its `Err`.
    type Error;
    /// The question about `Ok`.
    fn value(&self) -> Dispatch<Self::Value>;
    /// The question about `Err`.
    fn error(&self) -> Dispatch<Self::Error>;
    /// The way of the whole, from those of its sides.
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

/// A type that has no sides is asked as a whole.
pub trait HasNoSides {
    /// What is asked.
    type Whole;
    /// The question about the whole.
    fn value(&self) -> Dispatch<Self::Whole>;
    /// A question with an answer.
    fn error(&self) -> Dispatch<()>;
    /// The way of the whole.
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

/// A result has a place for what went wrong on the way.
pub trait HasPlace<R> {
    /// How the error becomes a result.
    fn late(&self) -> Option<fn(TaskError) -> R>;
}

impl<T, E: From<TaskError>> HasPlace<Result<T, E>> for &Dispatch<Result<T, E>> {
    fn late(&self) -> Option<fn(TaskError) -> Result<T, E>> {
        Some(|error| Err(E::from(error)))
    }
}

/// A result has no place for it.
pub trait HasNoPlace<R> {
    /// Nothing.
    fn late(&self) -> Option<fn(TaskError) -> R>;
}

impl<R> HasNoPlace<R> for Dispatch<R> {
    fn late(&self) -> Option<fn(TaskError) -> R> {
        None
    }
}
