//! Zips as items: pairs, taken by index where both parts are indexed, and pulled otherwise.

use std::iter;
use std::marker::PhantomData;
use std::ops::{Range, RangeFrom};

use super::indexed::{Indexed, Window};
use super::source::{Indexes, Items, PoolItems, Source, WindowVisitor, visit_pulled};
use crate::chunks::split::{Zip, zip};
use crate::sys::drop_all::DropSequence;

/// Puts the number of each item before it, from 0 on: [`zip`]`(0.., items)`.
///
/// Items that workers take by index stay so, unlike those of `Iterator::enumerate`: see [`Map`](crate::Map).
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, enumerate};
///
/// let mut heights = vec![0; 1_000];
/// Pool::cpu_default().map(enumerate(&mut heights), |(n, height)| *height = n * n).for_each(drop);
/// assert_eq!(heights[12], 144);
/// ```
pub const fn enumerate<I>(items: I) -> Zip<RangeFrom<usize>, I> {
    zip(0.., items)
}

/// Marks a zip of items of two kinds.
pub struct ByPair<M, N>(PhantomData<(M, N)>);

#[diagnostic::do_not_recommend]
impl<I, J, A, B, M, N> Items<(A, B), ByPair<M, N>> for Zip<I, J>
where
    I: Items<A, M>,
    J: Items<B, N>,
{
    type Source = ZipSource<I::Source, J::Source>;

    fn into_source(self) -> Self::Source {
        ZipSource(self.0.into_source(), self.1.into_source())
    }
}

#[diagnostic::do_not_recommend]
impl<I, J, A, B, M, N> PoolItems<(A, B), ByPair<M, N>> for Zip<I, J>
where
    I: PoolItems<A, M>,
    J: PoolItems<B, N>,
{
}

/// Two sources side by side. The shorter one decides on the number of pairs.
pub struct ZipSource<S, T>(pub(super) S, pub(super) T);

impl<S: Source, T: Source> Source for ZipSource<S, T> {
    type Item = (S::Item, T::Item);
    type Iter = iter::Zip<S::Iter, T::Iter>;
    type Indexed = ZippedItems<S::Indexed, T::Indexed>;

    fn into_iter(self) -> Self::Iter {
        self.0.into_iter().zip(self.1.into_iter())
    }

    fn visit(self, visitor: &mut impl WindowVisitor<Self::Item>) {
        match self.indexes() {
            Indexes::All(_) => visit_pairs(self.into_indexed(), visitor),
            Indexes::Pulled | Indexes::First(_) => visit_pulled(self.into_iter(), visitor),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let ((least, most), (other_least, other_most)) = (self.0.size_hint(), self.1.size_hint());
        (least.min(other_least), most.into_iter().chain(other_most).min())
    }

    fn indexes(&self) -> Indexes {
        match (self.0.indexes(), self.1.indexes()) {
            (Indexes::All(one), Indexes::All(other)) => Indexes::All(one.min(other)),
            (Indexes::All(all), Indexes::First(first)) | (Indexes::First(first), Indexes::All(all)) if all <= first => {
                Indexes::All(all)
            }
            (Indexes::First(one), Indexes::First(other)) => Indexes::First(one.min(other)),
            _ => Indexes::Pulled,
        }
    }

    fn into_indexed(self) -> Self::Indexed {
        ZippedItems::new(self.0.into_indexed(), self.1.into_indexed())
    }
}

/// Passes pairs to `visitor`: in one window, except that those of ranges only may be more than fit into memory.
fn visit_pairs<S: Indexed>(pairs: S, visitor: &mut impl WindowVisitor<S::Item>) {
    if S::IN_MEMORY {
        let _ = visitor.window(pairs);
        return;
    }
    let mut start = 0;
    while start < pairs.len() {
        let end = start + visitor.max_window().min(pairs.len() - start);
        if visitor.window(Window::new(&pairs, start..end)).is_break() {
            return;
        }
        start = end;
    }
}

/// Pairs of the items of two indexed sources. Dropping it drops those items of the longer source that are in no pair.
pub struct ZippedItems<A: Indexed, B: Indexed> {
    first: A,
    second: B,
    len: usize,
}

impl<A: Indexed, B: Indexed> ZippedItems<A, B> {
    fn new(first: A, second: B) -> Self {
        let len = first.len().min(second.len());
        Self { first, second, len }
    }

    /// Drops both items of some indexes, even if destructors panic.
    ///
    /// # Safety
    ///
    /// Each part has its range of indexes below its length, and nothing has taken or discarded them.
    unsafe fn discard_both(&self, first: Range<usize>, second: Range<usize>) {
        let mut drops = DropSequence::default();
        // SAFETY: by this function's contract.
        drops.run(|| unsafe { self.first.discard(first) });
        // SAFETY: by this function's contract.
        drops.run(|| unsafe { self.second.discard(second) });
        drops.finish();
    }
}

// SAFETY: disjoint ranges of pairs are disjoint ranges of each part, which is `Indexed` itself; a pair may be sent to
// another thread only if both of its items may.
unsafe impl<A: Indexed, B: Indexed> Indexed for ZippedItems<A, B> {
    type Item = (A::Item, B::Item);
    // For two slices the standard library's zip is a loop with one counter, which the compiler vectorises.
    type Iter<'a>
        = iter::Zip<A::Iter<'a>, B::Iter<'a>>
    where
        A: 'a,
        B: 'a;
    const IN_MEMORY: bool = A::IN_MEMORY || B::IN_MEMORY;

    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    unsafe fn take(&self, indexes: Range<usize>) -> Self::Iter<'_> {
        // SAFETY: by the contract of `take` the indexes are below `len`, the shorter length, and no pair of them was
        // taken or discarded.
        let (first, second) = unsafe { (self.first.take(indexes.clone()), self.second.take(indexes)) };
        first.zip(second)
    }

    unsafe fn discard(&self, indexes: Range<usize>) {
        // SAFETY: this function has the contract of `take`, as above.
        unsafe { self.discard_both(indexes.clone(), indexes) };
    }
}

impl<A: Indexed, B: Indexed> Drop for ZippedItems<A, B> {
    fn drop(&mut self) {
        let (first, second) = (self.len..self.first.len(), self.len..self.second.len());
        if !(first.is_empty() && second.is_empty()) {
            // SAFETY: only indexes below `len` were taken or discarded; nothing uses the parts after this.
            unsafe { self.discard_both(first, second) };
        }
    }
}
