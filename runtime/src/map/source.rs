//! [`Items`], the argument of `f::map`, and [`Source`], which gives a map its items.
//!
//! There are two kinds of source. Workers read an [`Indexed`] source (vectors, slices, ranges of integers) at their own
//! offsets, and nothing is buffered. Any other iterator is pulled on the calling thread only, one window at a time, so
//! it need not be `Send` and may be longer than memory.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{ControlFlow, Range};

use super::indexed::{BorrowedItems, CopiedItems, Indexed, Integers, OwnedItems};
use crate::chunks::split::Zip;
use crate::chunks::type_eq::same_type;

/// A value that `map` can take: any iterator, `Vec<T>`, arrays, `&Vec<T>`, `&[T]`, `VecDeque<T>`, ranges, and
/// [`zip`](crate::zip)s of two of them for functions of two arguments.
///
/// `A` is the function's argument. A reference to a sequence works for a function that takes `&T`, and for one that
/// takes a `Copy` `T` by value. `M` only tells the implementations apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not give items of type `{A}`",
    label = "does not give items of type `{A}`",
    note = "`map` takes an iterator, a `Vec`, an array, a slice or a range of what the function takes; functions of several arguments take tuples"
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
    note = "`map` takes an iterator, a `Vec`, an array, a slice, a range, or a `zip` of two of them"
)]
pub trait PoolItems<A, M>: Items<A, M> {}

impl<I: Items<A, ByIter>, A> PoolItems<A, ByIter> for I {}
impl<I: Items<A, ByIndex>, A> PoolItems<A, ByIndex> for I {}
impl<I, J, A, B, M, N> PoolItems<(A, B), ByPair<M, N>> for Zip<I, J>
where
    I: PoolItems<A, M>,
    J: PoolItems<B, N>,
{
}

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
    /// The items in order, for a map that is iterated.
    fn into_iter(self) -> Self::Iter;
    /// Passes all items to `visitor` in order, in one or several windows, until it breaks.
    fn visit(self, visitor: &mut impl WindowVisitor<Self::Item>);
    /// The number of items, if it is known beforehand.
    fn count(&self) -> Option<u64> {
        None
    }
}

/// Runs a map on one window of its items after the other.
pub trait WindowVisitor<A> {
    /// The most items in a window, for a source that can be cut into several.
    fn max_window(&self) -> usize {
        usize::MAX
    }
    /// Runs the map on the items of one window.
    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()>;
}

/// Any iterator.
pub struct IterSource<I>(I);

/// The first window of an iterator. Each window is twice as long as the one before, up to [`LAST_WINDOW`].
const FIRST_WINDOW: usize = 1 << 10;
const LAST_WINDOW: usize = 1 << 16;

impl<I: Iterator> Source for IterSource<I> {
    type Item = I::Item;
    type Iter = I;

    fn into_iter(self) -> I {
        self.0
    }

    fn count(&self) -> Option<u64> {
        let (least, most) = self.0.size_hint();
        Some(least as u64).filter(|_| most == Some(least))
    }

    fn visit(self, visitor: &mut impl WindowVisitor<I::Item>) {
        let mut items = match integers(self.0) {
            Ok(integers) => {
                let mut rest = Some(integers);
                while let Some(window) = rest.as_mut().map(|rest| rest.split_off(visitor.max_window())) {
                    if visitor.window(window).is_break() {
                        return;
                    }
                    rest = rest.filter(|rest| !rest.is_empty());
                }
                return;
            }
            Err(items) => items,
        };
        let mut size = FIRST_WINDOW;
        loop {
            let window: Vec<_> = items.by_ref().take(size).collect();
            let last = window.len() < size;
            if visitor.window(OwnedItems::new(window)).is_break() || last {
                return;
            }
            size = (size * 2).min(LAST_WINDOW);
        }
    }
}

/// The iterator as an indexed source, if it is a range of integers.
fn integers<I: Iterator>(items: I) -> Result<Integers<I::Item>, I> {
    macro_rules! recognise {
        ($($int:ident)*) => {$(
            if same_type::<I, Range<$int>>() {
                let items = ManuallyDrop::new(items);
                // SAFETY: `same_type` found that `I` is `Range<$int>`, so `I::Item` is `$int`; neither has lifetimes or
                // needs a drop, and `items` is not used again.
                let (range, start) = unsafe {
                    let range = std::mem::transmute_copy::<ManuallyDrop<I>, Range<$int>>(&items);
                    let start = std::mem::transmute_copy::<$int, I::Item>(&range.start);
                    (range, start)
                };
                return Ok(Integers::new(start, crate::chunks::split::Split::size(&range)));
            }
        )*};
    }
    recognise!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);
    Err(items)
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

    fn into_iter(self) -> Self::Iter {
        self.0.into_iter()
    }

    fn visit(self, visitor: &mut impl WindowVisitor<T>) {
        let _ = visitor.window(OwnedItems::new(self.0));
    }

    fn count(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
}

/// An indexed source, visited as one window.
pub struct IndexedSource<S>(S);

impl<S: Indexed + IntoIterator<Item = <S as Indexed>::Item>> Source for IndexedSource<S> {
    type Item = <S as Indexed>::Item;
    type Iter = S::IntoIter;

    fn into_iter(self) -> Self::Iter {
        self.0.into_iter()
    }

    fn visit(self, visitor: &mut impl WindowVisitor<Self::Item>) {
        let _ = visitor.window(self.0);
    }

    fn count(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
}

macro_rules! owned {
    ([$($generics:tt)*] $type:ty) => {
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
        impl<'a, $($generics)*> Items<&'a T, ByIndex> for &'a $type {
            type Source = IndexedSource<BorrowedItems<'a, T>>;

            fn into_source(self) -> Self::Source {
                IndexedSource(BorrowedItems::new(self))
            }
        }

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

/// Marks a zip of items of two kinds.
pub struct ByPair<M, N>(PhantomData<(M, N)>);

impl<I, J, A, B, M, N> Items<(A, B), ByPair<M, N>> for Zip<I, J>
where
    I: Items<A, M>,
    J: Items<B, N>,
{
    type Source = IterSource<std::iter::Zip<<I::Source as Source>::Iter, <J::Source as Source>::Iter>>;

    fn into_source(self) -> Self::Source {
        let (first, second) = (self.0.into_source(), self.1.into_source());
        IterSource(first.into_iter().zip(second.into_iter()))
    }
}
