//! [`Zip`]: two values that are cut at the same places.

use super::Split;

/// Two values that are cut at the same places; [`zip`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zip<A, B>(
    /// The first value.
    pub A,
    /// The second value.
    pub B,
);

/// Puts two values side by side, to be cut at the same places, or mapped over in pairs.
///
/// To be cut, both must have the same size. The pairs of a map end with the shorter one, as those of `Iterator::zip`,
/// so one may be endless. [`Map`](crate::Map) says when workers take them by index.
///
/// # Examples
///
/// ```
/// use fanfold::{Split, zip};
///
/// let (head, tail) = zip(vec![1, 2, 3], "a\nb\nc").cut(2);
/// assert_eq!(head, zip(vec![1, 2], "a\nb\n"));
/// assert_eq!(tail, zip(vec![3], "c"));
/// ```
///
/// Cutting values of unequal sizes panics with both sizes:
///
/// ```should_panic
/// use fanfold::{Split, zip};
///
/// zip(0..3, 0..4).size(); // the chunked arguments have unequal lengths: 3 and 4
/// ```
pub const fn zip<A, B>(first: A, second: B) -> Zip<A, B> {
    Zip(first, second)
}

impl<A: Split, B: Split> Split for Zip<A, B> {
    const POLARS: bool = A::POLARS || B::POLARS;

    fn size(&self) -> usize {
        let (first, second) = (self.0.size(), self.1.size());
        assert!(first == second, "the chunked arguments have unequal lengths: {first} and {second}");
        first
    }

    fn auto_chunks(&self, workers: usize) -> usize {
        self.0.auto_chunks(workers).max(self.1.auto_chunks(workers))
    }

    fn cut(self, at: usize) -> (Self, Self) {
        let (first, first_tail) = self.0.cut(at);
        let (second, second_tail) = self.1.cut(at);
        (Zip(first, second), Zip(first_tail, second_tail))
    }

    fn cut_all(self, sizes: &[usize]) -> Vec<Self> {
        let (first, second) = (self.0.cut_all(sizes), self.1.cut_all(sizes));
        first.into_iter().zip(second).map(|(a, b)| Zip(a, b)).collect()
    }
}
