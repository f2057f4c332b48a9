//! A [`Map`] as the items of another map: its function runs on the worker that takes the item, or on the calling thread
//! if the outer map is iterated or zips items that are pulled.

use std::ops::{ControlFlow, Range};

use super::indexed::Indexed;
use super::source::{Indexes, WindowVisitor};
use super::{Items, Map, MapFn, PoolItems, Source};

/// Marks the results of another map as items.
pub struct ByMap;

#[diagnostic::do_not_recommend]
impl<S: Source<Item = A>, F: MapFn<A>, A> Items<F::Out, ByMap> for Map<S, F, A> {
    type Source = MapSource<S, F>;

    /// # Panics
    ///
    /// If only workers of the function's own pool can run it.
    #[track_caller]
    fn into_source(self) -> MapSource<S, F> {
        assert!(
            !self.options.own_worker,
            "`{}` has state of its workers or runs in processes, so its map cannot be the items of another one: run the \
             other function by `.then(..)`",
            self.name
        );
        MapSource { source: self.source, function: self.function }
    }
}

#[diagnostic::do_not_recommend]
impl<S: Source<Item = A>, F: MapFn<A>, A> PoolItems<F::Out, ByMap> for Map<S, F, A> {}

/// The results of a map, as a source. Its options and its pool are those of the outer map.
pub struct MapSource<S, F> {
    source: S,
    function: F,
}

impl<S: Source, F: MapFn<S::Item>> Source for MapSource<S, F> {
    type Item = F::Out;
    type Iter = MappedIter<S::Iter, F>;
    type Indexed = MappedItems<S::Indexed, F>;

    fn into_iter(self) -> Self::Iter {
        MappedIter { items: self.source.into_iter(), function: self.function }
    }

    fn visit(self, visitor: &mut impl WindowVisitor<F::Out>) {
        self.source.visit(&mut MappedVisitor { visitor, function: &self.function });
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.source.size_hint()
    }

    fn indexes(&self) -> Indexes {
        self.source.indexes()
    }

    fn into_indexed(self) -> Self::Indexed {
        MappedItems { items: self.source.into_indexed(), function: self.function }
    }
}

/// Passes windows of a map's items on as windows of its results. Items of an iterator are read ahead.
struct MappedVisitor<'a, V, F> {
    visitor: &'a mut V,
    function: &'a F,
}

impl<A, F: MapFn<A>, V: WindowVisitor<F::Out>> WindowVisitor<A> for MappedVisitor<'_, V, F> {
    fn max_window(&self) -> usize {
        self.visitor.max_window()
    }

    fn max_read_ahead(&self) -> usize {
        self.visitor.max_read_ahead()
    }

    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()> {
        self.visitor.window(MappedItems { items, function: self.function })
    }
}

/// Results of a map, made when they are taken.
pub struct MappedItems<S, F> {
    items: S,
    function: F,
}

// SAFETY: disjoint ranges of results are those of the items, which are `Indexed`; the function is `Sync`, as every
// `MapFn`. A result that may cross threads is made of an item that may: the map of these items has the proof.
unsafe impl<S: Indexed, F: MapFn<S::Item>> Indexed for MappedItems<S, F> {
    type Item = F::Out;
    type Iter<'a>
        = MappedIter<S::Iter<'a>, &'a F>
    where
        S: 'a,
        F: 'a;
    const IN_MEMORY: bool = S::IN_MEMORY;

    fn len(&self) -> usize {
        self.items.len()
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> Self::Iter<'_> {
        // SAFETY: this function has the same contract.
        MappedIter { items: unsafe { self.items.take(indexes) }, function: &self.function }
    }

    unsafe fn discard(&self, indexes: Range<usize>) {
        // SAFETY: this function has the same contract.
        unsafe { self.items.discard(indexes) };
    }
}

/// Some results of a map.
pub struct MappedIter<I, F> {
    items: I,
    function: F,
}

impl<I: Iterator, F: MapFn<I::Item>> Iterator for MappedIter<I, F> {
    type Item = F::Out;

    #[inline]
    fn next(&mut self) -> Option<F::Out> {
        self.items.next().map(|item| self.function.call(item))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }

    #[inline]
    fn fold<B, G: FnMut(B, F::Out) -> B>(self, init: B, mut fold: G) -> B {
        let Self { items, function } = self;
        items.fold(init, |folded, item| fold(folded, function.call(item)))
    }
}
