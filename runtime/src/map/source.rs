//! [`Items`]: what `f::map` takes, and how its items reach the workers.
//!
//! Two shapes hide behind it. An [`Indexed`] source is read by the workers at their own offsets, and nothing is
//! buffered; any other iterator is pulled on the calling thread alone, a window at a time, so it need not be
//! `Send` and may be longer than memory.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{ControlFlow, Range};

use super::indexed::{Borrowed, Copied, Indexed, Numbers, Owned};
use crate::chunks::split::Zip;
use crate::chunks::type_eq::same_type;

/// Something `map` can take: any iterator, `Vec<T>`, arrays, `&Vec<T>`, `&[T]`, `VecDeque<T>`, ranges, and
/// [`zip`](crate::zip)s of two of them for functions of two arguments.
///
/// `A` is what the function takes. References to sequences feed functions that take `&T`, and functions that
/// take a `Copy` `T` by value alike. `M` only tells the implementations apart.
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

/// What [`Pool::map`](crate::Pool::map) takes: [`Items`] that say by themselves what they are items of.
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

/// Where a map gets its items.
pub trait Source {
    /// One item.
    type Item;
    /// The items one after the other.
    type Iter: Iterator<Item = Self::Item>;
    /// The items one after the other.
    fn into_iter(self) -> Self::Iter;
    /// Shows all items to `visitor`, in order and in one or several windows, until it breaks.
    fn visit(self, visitor: &mut impl Visitor<Self::Item>);
    /// How many items there are, if that is known beforehand.
    fn count(&self) -> Option<u64> {
        None
    }
}

/// What is done with a window of items.
pub trait Visitor<A> {
    /// Items in a window at most, where a source can be cut into several.
    fn largest(&self) -> usize {
        usize::MAX
    }
    /// Deals with one window.
    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()>;
}

/// Any iterator.
pub struct Pulled<I>(I);

/// The first window of an iterator of unknown length; each window is twice the one before.
const FIRST_WINDOW: usize = 1 << 10;
const LAST_WINDOW: usize = 1 << 16;

impl<I: Iterator> Source for Pulled<I> {
    type Item = I::Item;
    type Iter = I;

    fn into_iter(self) -> I {
        self.0
    }

    fn count(&self) -> Option<u64> {
        let (least, most) = self.0.size_hint();
        Some(least as u64).filter(|_| most == Some(least))
    }

    fn visit(self, visitor: &mut impl Visitor<I::Item>) {
        let mut items = match numbers(self.0) {
            Ok(numbers) => {
                let mut rest = Some(numbers);
                while let Some(window) = rest.as_mut().map(|rest| rest.split_off(visitor.largest())) {
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
            if visitor.window(Owned::new(window)).is_break() || last {
                return;
            }
            size = (size * 2).min(LAST_WINDOW);
        }
    }
}

/// The iterator as numbers, if it is a range of integers.
fn numbers<I: Iterator>(items: I) -> Result<Numbers<I::Item>, I> {
    macro_rules! recognise {
        ($($int:ident)*) => {$(
            if same_type::<I, Range<$int>>() {
                let items = ManuallyDrop::new(items);
                // SAFETY: the types are the same, have no lifetimes, and need no drop.
                let (range, start) = unsafe {
                    let range = std::mem::transmute_copy::<ManuallyDrop<I>, Range<$int>>(&items);
                    let start = std::mem::transmute_copy::<$int, I::Item>(&range.start);
                    (range, start)
                };
                return Ok(Numbers::new(start, crate::chunks::split::Split::size(&range)));
            }
        )*};
    }
    recognise!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);
    Err(items)
}

impl<I: Iterator> Items<I::Item, ByIter> for I {
    type Source = Pulled<I>;

    fn into_source(self) -> Pulled<I> {
        Pulled(self)
    }
}

/// Marks what has no items.
pub struct ByNothing;

/// What has no items: nothing implements it.
pub trait NoItems {}

// A second implementation that could apply to everything, and never does: with one alone the compiler takes it for
// granted that items of a wrong type are meant to be an iterator, and goes on from there, in words about iterators.
#[diagnostic::do_not_recommend]
impl<I: NoItems, A> Items<A, ByNothing> for I {
    type Source = Pulled<std::iter::Empty<A>>;

    fn into_source(self) -> Self::Source {
        Pulled(std::iter::empty())
    }
}

/// A vector's items, taken apart only when they are visited: a map that is dropped unused drops them.
pub struct Given<T>(Vec<T>);

impl<T> Source for Given<T> {
    type Item = T;
    type Iter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::Iter {
        self.0.into_iter()
    }

    fn visit(self, visitor: &mut impl Visitor<T>) {
        let _ = visitor.window(Owned::new(self.0));
    }

    fn count(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
}

/// A source that is one window.
pub struct Whole<S>(S);

impl<S: Indexed + IntoIterator<Item = <S as Indexed>::Item>> Source for Whole<S> {
    type Item = <S as Indexed>::Item;
    type Iter = S::IntoIter;

    fn into_iter(self) -> Self::Iter {
        self.0.into_iter()
    }

    fn visit(self, visitor: &mut impl Visitor<Self::Item>) {
        let _ = visitor.window(self.0);
    }

    fn count(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
}

macro_rules! owned {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> Items<T, ByIndex> for $type {
            type Source = Given<T>;

            fn into_source(self) -> Self::Source {
                Given(Vec::from(self))
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
            type Source = Whole<Borrowed<'a, T>>;

            fn into_source(self) -> Self::Source {
                Whole(Borrowed::new(self))
            }
        }

        impl<'a, $($generics)*> Items<T, ByCopy> for &'a $type
        where
            T: Copy,
        {
            type Source = Whole<Copied<'a, T>>;

            fn into_source(self) -> Self::Source {
                Whole(Copied::new(self))
            }
        }
    };
}
borrowed!([T] Vec<T>);
borrowed!([T][T]);
borrowed!([T, const N: usize] [T; N]);

/// Marks a zip of two kinds of items.
pub struct ByPair<M, N>(PhantomData<(M, N)>);

impl<I, J, A, B, M, N> Items<(A, B), ByPair<M, N>> for Zip<I, J>
where
    I: Items<A, M>,
    J: Items<B, N>,
{
    type Source = Pulled<std::iter::Zip<<I::Source as Source>::Iter, <J::Source as Source>::Iter>>;

    fn into_source(self) -> Self::Source {
        let (first, second) = (self.0.into_source(), self.1.into_source());
        Pulled(first.into_iter().zip(second.into_iter()))
    }
}
