//! [`Items`], the argument of `f::map`, and [`Source`], which gives a map its items.
//!
//! There are two kinds of source. Workers read an [`Indexed`] source (vectors, slices, pieces of slices, ranges of
//! integers, and zips of these) at their own offsets, and nothing is buffered. Any other iterator is pulled on the
//! calling thread only, one window at a time, so it need not be `Send` and may be longer than memory.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::indexed::{BorrowedItems, CopiedItems, Indexed, OwnedItems};
use super::integers::{Integers, integers};
use super::slices::MutItems;

/// A value that `map` can take: any iterator, `Vec<T>`, arrays, `&Vec<T>`, `&[T]`, `&mut Vec<T>`, `&mut [T]`,
/// `VecDeque<T>`, ranges, [`chunks`](crate::chunks), [`chunks_mut`](crate::chunks_mut) and [`windows`](crate::windows)
/// of slices, and [`zip`](crate::zip)s of two of them for functions of two arguments. See [`Map`](crate::Map) for those
/// that workers take by index.
///
/// `A` is the function's argument. A reference to a sequence works for a function that takes `&T`, and for one that
/// takes a `Copy` `T` by value. `M` only tells the implementations apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not give items of type `{A}`",
    label = "does not give items of type `{A}`",
    note = "give an iterator, `Vec`, array, slice or range of `{A}`; `std::iter::repeat_n((), 10)` calls a function without arguments 10 times",
    note = "convert other items first: `names.iter().map(String::as_str)` gives `&str`, and `.into_iter()` the items of a set or a map"
)]
pub trait Items<A, M> {
    #[doc(hidden)]
    type Source: Source<Item = A>;
    #[doc(hidden)]
    fn into_source(self) -> Self::Source;
}

/// The argument of [`Pool::map`](crate::Pool::map): [`Items`] whose item type follows from their own type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not something to map over",
    label = "not something to map over",
    note = "`map` takes an iterator, a `Vec`, an array, a slice, a range, or a `zip` of two of them; give it `.into_iter()` of a set or a map"
)]
pub trait PoolItems<A, M>: Items<A, M> {}

impl<I: Items<A, ByIter>, A> PoolItems<A, ByIter> for I {}
impl<I: Items<A, ByIndex>, A> PoolItems<A, ByIndex> for I {}

/// Marks items from an iterator.
pub struct ByIter;
/// Marks items from a sequence, by index.
pub struct ByIndex;
/// Marks items copied out of a sequence, by index.
pub struct ByCopy;

/// The items of a map.
pub trait Source {
    /// One item.
    type Item;
    /// See [`into_iter`](Self::into_iter).
    type Iter: Iterator<Item = Self::Item>;
    /// See [`into_indexed`](Self::into_indexed).
    type Indexed: Indexed<Item = Self::Item>;
    /// The items in order, for a map that is iterated.
    fn into_iter(self) -> Self::Iter;
    /// Passes all items to `visitor` in order, in one or several windows, until it breaks.
    fn visit(self, visitor: &mut impl WindowVisitor<Self::Item>);
    /// The bounds of the number of items, as those of an iterator.
    fn size_hint(&self) -> (usize, Option<usize>);
    /// The number of items, if it is known beforehand.
    fn count(&self) -> Option<u64> {
        let (least, most) = self.size_hint();
        Some(least as u64).filter(|_| most == Some(least))
    }
    /// Which items workers can take by index.
    fn indexes(&self) -> Indexes;
    /// The items to be taken by index, as many as [`indexes`](Self::indexes) gave.
    ///
    /// # Panics
    ///
    /// If the items must be pulled.
    fn into_indexed(self) -> Self::Indexed;
}

/// Which items of a source workers can take by index.
pub enum Indexes {
    /// None.
    Pulled,
    /// All of them, so many.
    All(usize),
    /// The first ones, so many; others follow.
    First(usize),
}

/// Runs a map on one window of its items after the other.
pub trait WindowVisitor<A> {
    /// The most items in a window, for a source that can be cut into several.
    fn max_window(&self) -> usize {
        usize::MAX
    }
    /// The most items in a window that is pulled from an iterator: a power of two.
    fn max_read_ahead(&self) -> usize {
        LAST_WINDOW
    }
    /// Runs the map on the items of one window.
    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()>;
    /// Runs the map on a window of up to `len` items of an iterator; breaks if it has no more, too.
    fn pull(&mut self, items: &mut impl Iterator<Item = A>, len: usize) -> ControlFlow<()> {
        let window: Vec<_> = items.take(len).collect();
        let is_last = window.len() < len;
        self.window(OwnedItems::new(window))?;
        if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Any iterator.
pub struct IterSource<I>(I);

impl<I: Iterator> Source for IterSource<I> {
    type Item = I::Item;
    type Iter = I;
    type Indexed = Integers<I::Item>;

    fn into_iter(self) -> I {
        self.0
    }

    fn visit(self, visitor: &mut impl WindowVisitor<I::Item>) {
        let Some((mut rest, false)) = integers(&self.0) else { return visit_pulled(self.0, visitor) };
        while !rest.is_empty() {
            if visitor.window(rest.split_off(visitor.max_window())).is_break() {
                return;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }

    fn indexes(&self) -> Indexes {
        match integers(&self.0) {
            Some((integers, true)) => Indexes::First(integers.len()),
            Some((integers, false)) => Indexes::All(integers.len()),
            None => Indexes::Pulled,
        }
    }

    fn into_indexed(self) -> Integers<I::Item> {
        let Some((integers, _)) = integers(&self.0) else { panic!("the items must be pulled") };
        integers
    }
}

/// The first window of an iterator. Each later window is as long as all before it together, up to
/// [`WindowVisitor::max_read_ahead`]: so windows begin at powers of two, and at multiples of the longest window.
const FIRST_WINDOW: usize = 1 << 10;
/// The longest window by default.
pub(super) const LAST_WINDOW: usize = 1 << 16;

/// Passes the items of an iterator to `visitor`, in windows that are read ahead.
pub(super) fn visit_pulled<I: Iterator>(mut items: I, visitor: &mut impl WindowVisitor<I::Item>) {
    let (mut size, mut pulled) = (FIRST_WINDOW, 0);
    loop {
        if visitor.pull(&mut items, size).is_break() {
            return;
        }
        pulled += size;
        size = pulled.min(visitor.max_read_ahead());
    }
}

impl<I: Iterator> Items<I::Item, ByIter> for I {
    type Source = IterSource<I>;

    fn into_source(self) -> IterSource<I> {
        IterSource(self)
    }
}

/// Marks the implementation that never applies.
pub struct ByNothing;

/// No type implements it.
pub trait NoItems {}

// This implementation could apply to every type and never does. Without it rustc assumes that an argument of a wrong
// type is meant to be an iterator, and reports an error about iterators.
#[diagnostic::do_not_recommend]
impl<I: NoItems, A> Items<A, ByNothing> for I {
    type Source = IterSource<std::iter::Empty<A>>;

    fn into_source(self) -> Self::Source {
        IterSource(std::iter::empty())
    }
}

/// A vector, turned into `OwnedItems` only when it is visited: a map that is dropped before drops the items.
pub struct VecSource<T>(Vec<T>);

impl<T> Source for VecSource<T> {
    type Item = T;
    type Iter = std::vec::IntoIter<T>;
    type Indexed = OwnedItems<T>;

    fn into_iter(self) -> Self::Iter {
        self.0.into_iter()
    }

    fn visit(self, visitor: &mut impl WindowVisitor<T>) {
        let _ = visitor.window(self.into_indexed());
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }

    fn indexes(&self) -> Indexes {
        Indexes::All(self.0.len())
    }

    fn into_indexed(self) -> OwnedItems<T> {
        OwnedItems::new(self.0)
    }
}

/// An indexed source that drops nothing, visited as one window.
pub struct IndexedSource<S>(pub(super) S);

impl<S: Indexed + IntoIterator<Item = <S as Indexed>::Item>> Source for IndexedSource<S> {
    type Item = <S as Indexed>::Item;
    type Iter = S::IntoIter;
    type Indexed = S;

    fn into_iter(self) -> Self::Iter {
        self.0.into_iter()
    }

    fn visit(self, visitor: &mut impl WindowVisitor<Self::Item>) {
        let _ = visitor.window(self.0);
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }

    fn indexes(&self) -> Indexes {
        Indexes::All(self.0.len())
    }

    fn into_indexed(self) -> S {
        self.0
    }
}

// The implementations are not recommended: a compile error would list dozens of lines of them.
macro_rules! owned {
    ([$($generics:tt)*] $type:ty) => {
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Items<T, ByIndex> for $type {
            type Source = VecSource<T>;

            fn into_source(self) -> Self::Source {
                VecSource(Vec::from(self))
            }
        }
    };
}
owned!([T] Vec<T>);
owned!([T] Box<[T]>);
owned!([T] VecDeque<T>);
owned!([T, const N: usize] [T; N]);

macro_rules! borrowed {
    ([$($generics:tt)*] $type:ty) => {
        #[diagnostic::do_not_recommend]
        impl<'a, $($generics)*> Items<&'a T, ByIndex> for &'a $type {
            type Source = IndexedSource<BorrowedItems<'a, T>>;

            fn into_source(self) -> Self::Source {
                IndexedSource(BorrowedItems::new(self))
            }
        }

        #[diagnostic::do_not_recommend]
        impl<'a, $($generics)*> Items<T, ByCopy> for &'a $type
        where
            T: Copy,
        {
            type Source = IndexedSource<CopiedItems<'a, T>>;

            fn into_source(self) -> Self::Source {
                IndexedSource(CopiedItems::new(self))
            }
        }
    };
}
borrowed!([T] Vec<T>);
borrowed!([T][T]);
borrowed!([T, const N: usize] [T; N]);

macro_rules! borrowed_mutably {
    ([$($generics:tt)*] $type:ty) => {
        #[diagnostic::do_not_recommend]
        impl<'a, $($generics)*> Items<&'a mut T, ByIndex> for &'a mut $type {
            type Source = IndexedSource<MutItems<'a, T>>;

            fn into_source(self) -> Self::Source {
                IndexedSource(MutItems::new(self))
            }
        }
    };
}
borrowed_mutably!([T] Vec<T>);
borrowed_mutably!([T][T]);
borrowed_mutably!([T, const N: usize] [T; N]);
