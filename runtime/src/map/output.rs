//! The output of a map: one place an item, written by whoever has the item.

use std::mem::{MaybeUninit, forget, needs_drop};
use std::ops::Range;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::drop_all::DropSequence;
use crate::sys::reserve;

/// Places for results. What was written and never made into a vector is dropped exactly once.
pub(super) struct Slots<R> {
    places: Vec<R>,
    /// The first of them.
    first: *mut MaybeUninit<R>,
    len: usize,
    /// The blocks that were written whole; kept only where a result has something to drop.
    written: Mutex<Vec<Range<usize>>>,
}

impl<R> Slots<R> {
    pub(super) fn new(len: usize) -> Self {
        let mut places = Vec::with_capacity(len);
        let first = places.spare_capacity_mut().as_mut_ptr();
        Self { places, first, len, written: Mutex::new(Vec::new()) }
    }

    /// Fills a block's places with the results of as many items; if one is refused, with none.
    ///
    /// # Safety
    ///
    /// Nobody else has the block, or ever had it.
    #[inline]
    pub(super) unsafe fn fill<A, E>(
        &self,
        block: Range<usize>,
        items: impl Iterator<Item = A>,
        result: impl Fn(A) -> Result<R, E>,
    ) -> Result<(), Refused<E>> {
        assert!(block.end <= self.len, "a block lies within the output");
        // SAFETY: within the capacity, and nobody else's, says the caller.
        let places = unsafe { slice::from_raw_parts_mut(self.first.add(block.start), block.len()) };
        fill(places, items, result)?;
        self.filled(block);
        Ok(())
    }

    /// Starts on a block whose results are pushed.
    ///
    /// # Safety
    ///
    /// As [`fill`](Self::fill).
    #[cfg(feature = "process")]
    pub(super) unsafe fn block(&self, block: Range<usize>) -> Block<'_, R> {
        assert!(block.end <= self.len, "a block lies within the output");
        // SAFETY: within the capacity.
        let first = unsafe { self.first.add(block.start) };
        Block { slots: self, places: block, written: Written { first, count: 0 } }
    }

    /// A block is whole.
    fn filled(&self, block: Range<usize>) {
        if needs_drop::<R>() {
            let mut written = reserve::lock_with_capacity(|| self.written(), |written| written, 1);
            match written.last_mut() {
                Some(last) if last.end == block.start => last.end = block.end,
                _ => written.push(block),
            }
        }
    }

    fn written(&self) -> MutexGuard<'_, Vec<Range<usize>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All results.
    ///
    /// # Safety
    ///
    /// Every place was filled.
    pub(super) unsafe fn into_vec(mut self) -> Vec<R> {
        if needs_drop::<R>() {
            self.written.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let mut places = std::mem::take(&mut self.places);
        // SAFETY: the caller says so.
        unsafe { places.set_len(self.len) };
        places
    }
}

impl<R> Drop for Slots<R> {
    fn drop(&mut self) {
        if needs_drop::<R>() {
            let written = std::mem::take(self.written.get_mut().unwrap_or_else(PoisonError::into_inner));
            let mut drops = DropSequence::default();
            for index in written.into_iter().flatten() {
                // SAFETY: the block that holds this place was written whole.
                drops.run(|| unsafe { (*self.first.add(index)).assume_init_drop() });
            }
            drops.finish();
        }
    }
}

/// A result that was refused.
pub(super) struct Refused<E> {
    /// Its place in the block.
    pub(super) index: usize,
    pub(super) reason: E,
}

/// Fills places from the front. Those of a block that is refused, or panics, are dropped.
///
/// A function of its own for its argument's sake: as nothing else can reach the places, the compiler need not read
/// anew what the user's closure captured after each result. That holds as long as it is not inlined, and only a guard
/// that is needed keeps their address.
#[inline(never)]
fn fill<A, R, E>(
    places: &mut [MaybeUninit<R>],
    items: impl Iterator<Item = A>,
    result: impl Fn(A) -> Result<R, E>,
) -> Result<(), Refused<E>> {
    // The one pointer for all: what the guard drops must not have been written by way of another.
    let (first, len) = (places.as_mut_ptr(), places.len());
    let mut written = needs_drop::<R>().then(|| Written { first, count: 0 });
    let mut count = 0;
    let mut refused = None;
    let mut items = (0..len).zip(items);
    for (place, item) in items.by_ref() {
        match result(item) {
            Ok(result) => {
                // SAFETY: within the slice, which this function has alone.
                unsafe { (*first.add(place)).write(result) };
                count += 1;
                if let Some(written) = &mut written {
                    written.count = count;
                }
            }
            Err(reason) => {
                refused = Some(Refused { index: count, reason });
                break;
            }
        }
    }
    if let Some(refused) = refused {
        // Before it is returned: a value that is on its way out is leaked where a destructor panics.
        drop(items);
        drop(written);
        return Err(refused);
    }
    assert!(count == len, "one result an item");
    forget(written);
    Ok(())
}

/// A block whose results come one by one. Dropped before [`finish`](Self::finish), it drops them.
#[cfg(feature = "process")]
pub(super) struct Block<'a, R> {
    slots: &'a Slots<R>,
    places: Range<usize>,
    written: Written<R>,
}

#[cfg(feature = "process")]
impl<R> Block<'_, R> {
    /// Writes the next place.
    pub(super) fn push(&mut self, result: R) {
        assert!(self.written.count < self.places.len(), "one result an item");
        // SAFETY: within the block, which is this one's alone.
        unsafe { (*self.written.first.add(self.written.count)).write(result) };
        self.written.count += 1;
    }

    /// Leaves the results to the output.
    pub(super) fn finish(self) {
        let Self { slots, places, written } = self;
        assert!(written.count == places.len(), "one result an item");
        forget(written);
        slots.filled(places);
    }
}

/// Places that were written, dropped with it.
struct Written<R> {
    first: *mut MaybeUninit<R>,
    count: usize,
}

impl<R> Drop for Written<R> {
    #[inline]
    fn drop(&mut self) {
        let mut drops = DropSequence::default();
        for place in 0..self.count {
            // SAFETY: it was written, and is not again.
            drops.run(|| unsafe { (*self.first.add(place)).assume_init_drop() });
        }
        drops.finish();
    }
}
