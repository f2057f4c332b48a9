//! [`Split`]: values that can be cut into chunks; and [`Cut`]: the number of chunks.

mod range;
mod sequence;
mod text;
mod zip;

pub use zip::{Zip, zip};

/// A value that can be cut into pieces of its own type, in order.
///
/// A `#[parallel(chunks = ..)]` function takes one: the attribute cuts it, runs the function on each piece, and
/// gathers the results. The standard implementations cut `Vec<T>`, `&[T]`, `&mut [T]`, `VecDeque<T>`,
/// ranges of every integer, `&str` and `String` (in lines, at line ends), [`zip`]s, and with the feature
/// `polars` `DataFrame`, `Series` and `Column`, and references to them (in rows, without a copy).
///
/// # Examples
///
/// A type of your own says how long it is and how to cut it in two:
///
/// ```
/// use fanfold::{Split, parallel};
///
/// struct Image {
///     width: usize,
///     pixels: Vec<u8>,
/// }
///
/// impl Split for Image {
///     fn size(&self) -> usize {
///         self.pixels.len() / self.width // rows
///     }
///     fn cut(mut self, at: usize) -> (Self, Self) {
///         let tail = self.pixels.split_off(at * self.width);
///         let width = self.width;
///         (self, Image { width, pixels: tail })
///     }
/// }
///
/// #[parallel(kind = "cpu", chunks = 4)]
/// fn invert(image: Image) -> Vec<u8> {
///     image.pixels.iter().map(|p| 255 - p).collect()
/// }
///
/// let image = Image { width: 3, pixels: (0..30).collect() };
/// assert_eq!(invert(image), (226..=255).rev().collect::<Vec<u8>>());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cut into chunks",
    label = "cannot be cut into chunks",
    note = "`chunks` cuts the first argument, or those marked `#[chunk]`: a `Vec`, a slice (`&[T]`, not `&Vec<T>`), a range, a string, with fanfold's feature `polars` a `DataFrame` or `&DataFrame`, or your own `fanfold::Split` type"
)]
#[doc(alias = "par_chunks")]
pub trait Split: Sized {
    /// Whether pieces hold Polars data: they run on Fanfold's own plain threads, with Polars' inner threads off.
    #[doc(hidden)]
    const POLARS: bool = false;

    /// The number of its items: elements, numbers, lines or rows.
    fn size(&self) -> usize;

    /// The number of pieces for `chunks = "auto"`.
    #[doc(hidden)]
    fn auto_chunks(&self, workers: usize) -> usize {
        workers * PIECES_PER_WORKER
    }

    /// Cuts it in two: the first `at` items, and the others. `at` is at most [`size`](Self::size).
    #[must_use]
    fn cut(self, at: usize) -> (Self, Self);

    /// Cuts it into pieces of the given sizes, which add up to [`size`](Self::size). The call panics if the number of
    /// pieces is not that of the sizes.
    ///
    /// The default cuts in two repeatedly, from the back. Implement it if there is a cheaper way.
    #[must_use]
    fn cut_all(self, sizes: &[usize]) -> Vec<Self> {
        let mut pieces = Vec::with_capacity(sizes.len());
        let mut rest = self;
        let mut left: usize = sizes.iter().sum();
        for &size in sizes.iter().skip(1).rev() {
            left -= size;
            let (head, tail) = rest.cut(left);
            pieces.push(tail);
            rest = head;
        }
        pieces.push(rest);
        pieces.reverse();
        pieces
    }
}

/// The number or the size of the pieces that a value is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// This many pieces, balanced: their sizes differ by one at most.
    Chunks(usize),
    /// Pieces of this many items; the last may be shorter.
    Size(usize),
    /// A few pieces per worker.
    Auto,
}

/// The pieces per worker for `Cut::Auto`: enough that one slow piece does not leave the other workers idle for long,
/// and few enough that the cost of a piece does not matter.
const PIECES_PER_WORKER: usize = 4;

impl Cut {
    /// The sizes of the pieces for `size` items: at least one, and none is 0 unless `size` is 0.
    #[must_use]
    pub(crate) fn sizes(self, size: usize, workers: usize) -> Vec<usize> {
        let chunks = match self {
            Cut::Chunks(chunks) => chunks,
            Cut::Auto => workers * PIECES_PER_WORKER,
            Cut::Size(length) => {
                let length = length.max(1);
                let mut sizes = vec![length; size / length];
                if size == 0 || !size.is_multiple_of(length) {
                    sizes.push(size % length);
                }
                return sizes;
            }
        };
        balanced(size, chunks)
    }
}

/// The sizes of `chunks` pieces of `size` items: each is the quotient, and the first ones, as many as the remainder,
/// have one item more.
pub(crate) fn balanced(size: usize, chunks: usize) -> Vec<usize> {
    let chunks = chunks.clamp(1, size.max(1));
    let (each, more) = (size / chunks, size % chunks);
    (0..chunks).map(|index| each + usize::from(index < more)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_pieces_differ_by_one_at_most() {
        assert_eq!(balanced(19, 10), [2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
        assert_eq!(balanced(2, 5), [1, 1]);
        assert_eq!(balanced(0, 5), [0]);
    }

    #[test]
    fn pieces_by_length_end_with_the_rest() {
        assert_eq!(Cut::Size(4).sizes(10, 2), [4, 4, 2]);
        assert_eq!(Cut::Size(5).sizes(10, 2), [5, 5]);
        assert_eq!(Cut::Size(5).sizes(0, 2), [0]);
    }
}
