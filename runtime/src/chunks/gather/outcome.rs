//! [`Gather`] for `Result` and `Option`: the first failing chunk in order is the result.

use super::{Gather, GatherError};
use crate::chunks::type_eq;

impl<T: Gather> Gather for Option<T> {
    fn is_failure(&self) -> bool {
        self.as_ref().is_none_or(Gather::is_failure)
    }

    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        match parts.into_iter().collect::<Option<Vec<T>>>() {
            Some(parts) => T::gather(parts).map(Some),
            None => Ok(None),
        }
    }
}

impl<T: Gather, E> Gather for Result<T, E> {
    fn is_failure(&self) -> bool {
        self.as_ref().map_or(true, Gather::is_failure)
    }

    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        let parts = match parts.into_iter().collect::<Result<Vec<T>, E>>() {
            Ok(parts) => parts,
            Err(first) => return Ok(Err(first)),
        };
        T::gather(parts).map(Ok).or_else(Self::refuse)
    }

    fn refuse(error: GatherError) -> Result<Self, GatherError> {
        into_error(error).map(Err)
    }
}

/// The error as the function's own error type, if that is `PolarsError`, `GatherError` or a boxed error.
fn into_error<E>(error: GatherError) -> Result<E, GatherError> {
    #[cfg(feature = "polars")]
    if type_eq::same_type::<E, polars::error::PolarsError>() {
        let mismatch = polars::error::PolarsError::SchemaMismatch(error.to_string().into());
        return Ok(type_eq::cast(mismatch));
    }
    if type_eq::same_type::<E, GatherError>() {
        return Ok(type_eq::cast(error));
    }
    if type_eq::same_type::<E, Box<dyn std::error::Error + Send + Sync>>() {
        let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
        return Ok(type_eq::cast(boxed));
    }
    Err(error)
}
