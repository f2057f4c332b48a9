//! The output of a map: one uninitialised element for each item, written by the worker that runs the item.

use std::mem::{forget, needs_drop};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::value_list::ValueList;
use crate::sys::drop_all::DropSequence;
use crate::sys::mutex;
use crate::sys::reserve;

/// A list under construction. Elements that were written and never returned by [`into_list`](Self::into_list) are
/// dropped exactly once: those of a finished block here, those of an unfinished block by its [`WrittenPrefix`].
pub(super) struct MapOutput<L: ValueList> {
    /// Owns the memory; its length stays 0.
    elements: L,
    /// The first element.
    first: L::First,
    len: usize,
    /// The index ranges of finished blocks; recorded only if values need a drop.
    written: Mutex<Vec<Range<usize>>>,
}

impl<L: ValueList> MapOutput<L> {
    pub(super) fn new(len: usize) -> Self {
        let mut elements = L::with_capacity(len);
        let first = elements.first();
        Self { elements, first, len, written: Mutex::new(Vec::new()) }
    }

    /// Writes the elements of a block from as many items; none of them if one result is refused.
    ///
    /// # Safety
    ///
    /// No index of `block` is, or was, in another call's block.
    #[inline]
    pub(super) unsafe fn fill<A, E>(
        &self,
        block: Range<usize>,
        items: impl Iterator<Item = A>,
        result: impl Fn(A) -> Result<L::Value, E>,
    ) -> Result<(), RefusedResult<E>> {
        assert!(block.end <= self.len, "a block lies within the output");
        // SAFETY: the block is within the capacity (asserted), and by this function's contract no other reference to
        // these elements exists.
        let elements = unsafe { L::slots(self.first, block.clone()) };
        let count = fill::<L, _, _>(elements, block.len(), items, result)?;
        assert!(count == block.len(), "one result an item");
        self.mark_written(block);
        Ok(())
    }

    /// As [`fill`](Self::fill), but there may be fewer items. Returns their number.
    ///
    /// # Safety
    ///
    /// As [`fill`](Self::fill).
    #[inline]
    pub(super) unsafe fn fill_front<A, E>(
        &self,
        block: Range<usize>,
        items: impl Iterator<Item = A>,
        result: impl Fn(A) -> Result<L::Value, E>,
    ) -> Result<usize, RefusedResult<E>> {
        assert!(block.end <= self.len, "a block lies within the output");
        // SAFETY: as in `fill`.
        let elements = unsafe { L::slots(self.first, block.clone()) };
        let count = fill::<L, _, _>(elements, block.len(), items, result)?;
        self.mark_written(block.start..block.start + count);
        Ok(count)
    }

    /// Starts a block whose results are pushed one by one.
    ///
    /// # Safety
    ///
    /// As [`fill`](Self::fill).
    #[cfg(feature = "process")]
    pub(super) unsafe fn block(&self, block: Range<usize>) -> OutputBlock<'_, L> {
        assert!(block.end <= self.len, "a block lies within the output");
        // SAFETY: as in `fill`.
        let first = L::first_of(&mut unsafe { L::slots(self.first, block.clone()) });
        OutputBlock { output: self, indexes: block, written: WrittenPrefix { first, count: 0 } }
    }

    /// Records a finished block.
    fn mark_written(&self, block: Range<usize>) {
        if needs_drop::<L::Value>() {
            let mut written = reserve::lock_with_capacity(|| self.written(), |written| written, 1);
            match written.last_mut() {
                Some(last) if last.end == block.start => last.end = block.end,
                _ => written.push(block),
            }
        }
    }

    fn written(&self) -> MutexGuard<'_, Vec<Range<usize>>> {
        mutex::lock(&self.written)
    }

    /// All results.
    ///
    /// # Safety
    ///
    /// Finished blocks cover every index.
    pub(super) unsafe fn into_list(self) -> L {
        let len = self.len;
        // SAFETY: by this function's contract.
        unsafe { self.into_list_of(len) }
    }

    /// The first `len` results.
    ///
    /// # Safety
    ///
    /// Finished blocks cover every index below `len`, and no other.
    pub(super) unsafe fn into_list_of(mut self, len: usize) -> L {
        assert!(len <= self.len, "no more results than elements");
        if needs_drop::<L::Value>() {
            self.written.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let mut elements = std::mem::replace(&mut self.elements, L::with_capacity(0));
        // SAFETY: by this function's contract the first `len` elements are initialised; the length is asserted above.
        unsafe { elements.set_len(len) };
        elements
    }
}

impl<L: ValueList> Drop for MapOutput<L> {
    fn drop(&mut self) {
        if needs_drop::<L::Value>() {
            let written = std::mem::take(self.written.get_mut().unwrap_or_else(PoisonError::into_inner));
            let mut drops = DropSequence::default();
            for index in written.into_iter().flatten() {
                // SAFETY: `written` holds indexes of finished blocks only, each once, so the element is initialised.
                unsafe { L::drop_at(self.first, index, &mut drops) };
            }
            drops.finish();
        }
    }
}

/// A refused result of a block.
pub(super) struct RefusedResult<E> {
    /// Its index in the block.
    pub(super) index: usize,
    pub(super) reason: E,
}

/// Writes elements from the front. If a result is refused or `result` panics, those that were written are dropped.
///
/// A function of its own so that `elements` is an argument: nothing else can reach those elements, so the compiler need
/// not reload what the user's closure captured after each write. That holds as long as this is not inlined, and as long
/// as the elements' address is stored elsewhere only where a drop guard is needed.
#[inline(never)]
fn fill<L: ValueList, A, E>(
    mut elements: L::Slots<'_>,
    len: usize,
    items: impl Iterator<Item = A>,
    result: impl Fn(A) -> Result<L::Value, E>,
) -> Result<usize, RefusedResult<E>> {
    // One pointer for the writes and the guard: under Rust's aliasing rules the guard may not drop what was written
    // through another pointer after its own was made.
    let first = L::first_of(&mut elements);
    let mut written = needs_drop::<L::Value>().then(|| WrittenPrefix::<L> { first, count: 0 });
    let mut count = 0;
    let mut refused = None;
    let mut items = (0..len).zip(items);
    for (index, item) in items.by_ref() {
        match result(item) {
            Ok(result) => {
                // SAFETY: `index` is below the number of the elements, which are borrowed mutably.
                unsafe { L::write(first, index, result) };
                count += 1;
                if let Some(written) = &mut written {
                    written.count = count;
                }
            }
            Err(reason) => {
                refused = Some(RefusedResult { index: count, reason });
                break;
            }
        }
    }
    if let Some(refused) = refused {
        // Dropped before the return: a value that is being returned leaks if a destructor panics.
        drop(items);
        drop(written);
        return Err(refused);
    }
    forget(written);
    Ok(count)
}

/// A block whose results are pushed one by one. Dropped before [`finish`](Self::finish), it drops them.
#[cfg(feature = "process")]
pub(super) struct OutputBlock<'a, L: ValueList> {
    output: &'a MapOutput<L>,
    indexes: Range<usize>,
    written: WrittenPrefix<L>,
}

#[cfg(feature = "process")]
impl<L: ValueList> OutputBlock<'_, L> {
    /// Writes the next element.
    pub(super) fn push(&mut self, result: L::Value) {
        assert!(self.written.count < self.indexes.len(), "one result an item");
        // SAFETY: the element is within the block (asserted), and by the contract of `MapOutput::block` no other block
        // has it.
        unsafe { L::write(self.written.first, self.written.count, result) };
        self.written.count += 1;
    }

    /// Hands the results over to the output.
    pub(super) fn finish(self) {
        let Self { output, indexes, written } = self;
        assert!(written.count == indexes.len(), "one result an item");
        forget(written);
        output.mark_written(indexes);
    }
}

/// The elements of an unfinished block that were written, from its front. Dropping this drops them.
struct WrittenPrefix<L: ValueList> {
    first: L::First,
    count: usize,
}

impl<L: ValueList> Drop for WrittenPrefix<L> {
    #[inline]
    fn drop(&mut self) {
        let mut drops = DropSequence::default();
        for index in 0..self.count {
            // SAFETY: the first `count` elements were written, and nothing reads them after this guard.
            unsafe { L::drop_at(self.first, index, &mut drops) };
        }
        drops.finish();
    }
}
