//! Unique references to the items of slices, and pieces of slices, as items that workers take by index.
//!
//! The iterators of the standard library cannot stand in for these types: nothing tells a generic function that its
//! iterator is one of a slice's, and those that give unique references cannot be cut from outside.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::slice;

use super::indexed::Indexed;
use super::source::{ByIndex, IndexedSource, Items};

/// Consecutive pieces of a slice, each `size` items long and the last one maybe shorter, as items of a map that workers
/// take by index.
///
/// As those of `slice.chunks(size)`, which would be pulled on the calling thread.
///
/// # Panics
///
/// If `size` is 0.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, chunks};
///
/// let numbers: Vec<u64> = (0..10).collect();
/// let sums: Vec<u64> = Pool::cpu_default().map(chunks(&numbers, 4), |chunk| chunk.iter().sum()).collect();
/// assert_eq!(sums, [6, 22, 17]);
/// ```
#[doc(alias = "par_chunks")]
#[track_caller]
pub const fn chunks<T>(slice: &[T], size: usize) -> Chunks<'_, T> {
    assert!(size != 0, "chunk size must be non-zero");
    Chunks { slice, size }
}

/// As [`chunks`], for pieces that are changed in place.
///
/// # Panics
///
/// If `size` is 0.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, chunks_mut, enumerate};
///
/// let mut image = vec![0; 640 * 480];
/// let rows = enumerate(chunks_mut(&mut image, 640));
/// Pool::cpu_default().map(rows, |(y, row)| row.fill(y)).for_each(drop);
/// assert_eq!(image[640 * 10], 10);
/// ```
#[doc(alias = "par_chunks_mut")]
#[track_caller]
pub const fn chunks_mut<T>(slice: &mut [T], size: usize) -> ChunksMut<'_, T> {
    assert!(size != 0, "chunk size must be non-zero");
    ChunksMut { items: MutItems::new(slice), size }
}

/// All pieces of `size` neighbouring items of a slice, which overlap, as items of a map that workers take by index.
///
/// As those of `slice.windows(size)`, which would be pulled on the calling thread. A slice of fewer than `size` items
/// has none.
///
/// # Panics
///
/// If `size` is 0.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, windows};
///
/// let rises: Vec<bool> = Pool::cpu_default().map(windows(&[1, 5, 3, 4], 2), |pair| pair[0] < pair[1]).collect();
/// assert_eq!(rises, [true, false, true]);
/// ```
#[doc(alias = "par_windows")]
#[track_caller]
pub const fn windows<T>(slice: &[T], size: usize) -> Windows<'_, T> {
    assert!(size != 0, "window size must be non-zero");
    Windows { slice, size }
}

/// Pieces of a slice, as [`Items`]; [`chunks`] makes one.
#[derive(Debug)]
pub struct Chunks<'a, T> {
    slice: &'a [T],
    size: usize,
}

/// Pieces of a slice that are changed in place, as [`Items`]; [`chunks_mut`] makes one.
pub struct ChunksMut<'a, T> {
    items: MutItems<'a, T>,
    size: usize,
}

/// Overlapping pieces of a slice, as [`Items`]; [`windows`] makes one.
#[derive(Debug)]
pub struct Windows<'a, T> {
    slice: &'a [T],
    size: usize,
}

/// Unique references to the items of a slice.
pub struct MutItems<'a, T> {
    slice: *mut [T],
    _slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for the `&mut [T]` that it was made of, which is `Send` if `T` is.
unsafe impl<T: Send> Send for MutItems<'_, T> {}

impl<'a, T> MutItems<'a, T> {
    pub(super) const fn new(slice: &'a mut [T]) -> Self {
        Self { slice, _slice: PhantomData }
    }

    /// The items of a range of indexes.
    ///
    /// # Safety
    ///
    /// The indexes end at or below the length, and no item is in the range of another call.
    #[inline]
    unsafe fn part(&self, indexes: Range<usize>) -> &'a mut [T] {
        // SAFETY: `slice` was a unique reference for `'a`; by this function's contract the part lies within it, and no
        // other reference to its items exists.
        unsafe { slice::from_raw_parts_mut(self.slice.cast::<T>().add(indexes.start), indexes.len()) }
    }
}

// SAFETY: by the contract of `take` disjoint ranges are borrowed, each by one thread; no item is reached twice.
unsafe impl<'s, T> Indexed for MutItems<'s, T> {
    type Item = &'s mut T;
    type Iter<'a>
        = slice::IterMut<'s, T>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.slice.len()
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> slice::IterMut<'s, T> {
        // SAFETY: by the contract of `take` the indexes are below the length, and each is taken once.
        unsafe { self.part(indexes) }.iter_mut()
    }
}

impl<'a, T> IntoIterator for MutItems<'a, T> {
    type Item = &'a mut T;
    type IntoIter = slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        let all = 0..self.slice.len();
        // SAFETY: `self` is consumed, so this is the only range of items that was taken from it.
        unsafe { self.part(all) }.iter_mut()
    }
}

/// Where the chunks of some indexes lie in a slice of `len` items.
#[inline]
fn items_of_chunks(chunks: Range<usize>, size: usize, len: usize) -> Range<usize> {
    // A slice of items without size may be so long that the end of its last chunk overflows.
    chunks.start.saturating_mul(size).min(len)..chunks.end.saturating_mul(size).min(len)
}

// SAFETY: `take` only makes shared references, so any number of threads may call it.
unsafe impl<'s, T> Indexed for Chunks<'s, T> {
    type Item = &'s [T];
    type Iter<'a>
        = slice::Chunks<'s, T>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.slice.len().div_ceil(self.size)
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> slice::Chunks<'s, T> {
        self.slice[items_of_chunks(indexes, self.size, self.slice.len())].chunks(self.size)
    }
}

impl<'a, T> IntoIterator for Chunks<'a, T> {
    type Item = &'a [T];
    type IntoIter = slice::Chunks<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.slice.chunks(self.size)
    }
}

// SAFETY: disjoint ranges of chunks are disjoint ranges of items, each borrowed by one thread. So no item is reached
// twice.
unsafe impl<'s, T> Indexed for ChunksMut<'s, T> {
    type Item = &'s mut [T];
    type Iter<'a>
        = slice::ChunksMut<'s, T>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.items.len().div_ceil(self.size)
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> slice::ChunksMut<'s, T> {
        let items = items_of_chunks(indexes, self.size, self.items.len());
        // SAFETY: the range ends at or below the length; by the contract of `take` each chunk is taken once, and chunks
        // do not overlap.
        unsafe { self.items.part(items) }.chunks_mut(self.size)
    }
}

impl<'a, T> IntoIterator for ChunksMut<'a, T> {
    type Item = &'a mut [T];
    type IntoIter = slice::ChunksMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter().into_slice().chunks_mut(self.size)
    }
}

impl<T: fmt::Debug> fmt::Debug for ChunksMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunksMut").field("size", &self.size).finish_non_exhaustive()
    }
}

// SAFETY: `take` only makes shared references, so any number of threads may call it.
unsafe impl<'s, T> Indexed for Windows<'s, T> {
    type Item = &'s [T];
    type Iter<'a>
        = slice::Windows<'s, T>
    where
        's: 'a;

    fn len(&self) -> usize {
        self.slice.len().saturating_sub(self.size - 1)
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> slice::Windows<'s, T> {
        // The last window of the range ends `size - 1` items behind the range. No range has windows if the slice is
        // shorter than one.
        let end = (indexes.end + (self.size - 1)).min(self.slice.len());
        self.slice[indexes.start..end].windows(self.size)
    }
}

impl<'a, T> IntoIterator for Windows<'a, T> {
    type Item = &'a [T];
    type IntoIter = slice::Windows<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.slice.windows(self.size)
    }
}

macro_rules! items {
    ($type:ident gives $item:ty) => {
        #[diagnostic::do_not_recommend]
        impl<'a, T> Items<$item, ByIndex> for $type<'a, T> {
            type Source = IndexedSource<Self>;

            fn into_source(self) -> Self::Source {
                IndexedSource(self)
            }
        }
    };
}
items!(Chunks gives &'a [T]);
items!(ChunksMut gives &'a mut [T]);
items!(Windows gives &'a [T]);
