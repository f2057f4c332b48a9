//! [`Gather`]: combines the results of chunks, in chunk order.

mod collections;
mod outcome;

use std::fmt;

/// A result that can be combined from the results of chunks, in chunk order.
///
/// A `#[parallel(chunks = ..)]` function returns one of these types, or one that implements this trait:
///
/// - `Vec<U>`, `VecDeque<U>`, `String` and `()`;
/// - sets, of which the union is returned;
/// - maps, in which the values of equal keys are gathered in turn: `HashMap<K, Vec<V>>`, but not a map of numbers;
/// - tuples of such types;
/// - `Option` and `Result` of such types: the first failing chunk in order is returned, and chunks after it are not
///   started;
/// - with the feature `polars`, `DataFrame`, `Series` and `Column`.
///
/// Numbers need `reduce = path`, a function that combines two of them.
///
/// # Examples
///
/// ```
/// use fanfold::{Gather, GatherError, parallel};
///
/// #[derive(Debug, PartialEq)]
/// struct Extremes {
///     low: i32,
///     high: i32,
/// }
///
/// impl Gather for Extremes {
///     fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
///         Ok(Extremes {
///             low: parts.iter().map(|p| p.low).min().unwrap_or(i32::MAX),
///             high: parts.iter().map(|p| p.high).max().unwrap_or(i32::MIN),
///         })
///     }
/// }
///
/// #[parallel(kind = "cpu", chunks = 3)]
/// fn extremes(numbers: &[i32]) -> Extremes {
///     Extremes {
///         low: numbers.iter().copied().min().unwrap_or(i32::MAX),
///         high: numbers.iter().copied().max().unwrap_or(i32::MIN),
///     }
/// }
///
/// assert_eq!(extremes(&[4, -7, 9, 3]), Extremes { low: -7, high: 9 });
/// ```
#[diagnostic::on_unimplemented(
    message = "chunk results of type `{Self}` cannot be put together",
    label = "cannot be put together from chunk results",
    note = "say how with `reduce = path::to::function`, return a `Vec`, `String`, set, a map of such values, or a `Result` of one (with fanfold's feature `polars` also a `DataFrame`), or implement `fanfold::Gather`"
)]
#[doc(alias = "concat")]
pub trait Gather: Sized {
    /// Whether this part makes the result a failure, so that later chunks need not start.
    fn is_failure(&self) -> bool {
        false
    }

    /// The error as a result of this type, if that can hold it.
    #[doc(hidden)]
    fn refuse(error: GatherError) -> Result<Self, GatherError> {
        Err(error)
    }

    /// Combines the parts. They are in chunk order, there is at least one, and none follows a failure.
    ///
    /// # Errors
    ///
    /// [`GatherError`] if the parts do not fit each other.
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError>;
}

/// Why chunk results do not fit each other.
#[derive(Debug)]
pub struct GatherError {
    /// `None` if the error concerns all chunks.
    chunk: Option<usize>,
    reason: String,
}

impl GatherError {
    /// The error that chunk number `chunk`, counted from 0, does not fit those before it.
    pub fn new(chunk: usize, reason: impl Into<String>) -> Self {
        Self { chunk: Some(chunk), reason: reason.into() }
    }

    /// An error that concerns all chunks.
    #[cfg(feature = "polars")]
    pub(crate) fn whole(reason: impl Into<String>) -> Self {
        Self { chunk: None, reason: reason.into() }
    }

    /// The chunk that does not fit, counted from 0.
    #[must_use]
    pub fn chunk(&self) -> usize {
        self.chunk.unwrap_or(0)
    }

    /// Why it does not fit.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for GatherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chunk {
            Some(chunk) => write!(f, "the result of chunk {chunk} does not fit: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for GatherError {}
