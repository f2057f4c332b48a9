//! The output of a map: one place an item, written by whoever has the item.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Places for results. What was written and never made into a vector is dropped exactly once.
pub(super) struct Slots<R> {
    places: Vec<R>,
    len: usize,
    /// The blocks that were written whole; kept only where a result has something to drop.
    written: Mutex<Vec<Range<usize>>>,
}

impl<R> Slots<R> {
    pub(super) fn new(len: usize) -> Self {
        Self { places: Vec::with_capacity(len), len, written: Mutex::new(Vec::new()) }
    }

    /// Starts on a block that nobody else has.
    pub(super) fn block(&self, indexes: Range<usize>) -> Block<'_, R> {
        assert!(indexes.end <= self.len, "a block lies within the output");
        // SAFETY: within the capacity.
        let first = unsafe { self.places.as_ptr().cast_mut().add(indexes.start) };
        Block { slots: self, start: indexes.start, first, written: 0 }
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Vec<Range<usize>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All results.
    ///
    /// # Safety
    ///
    /// Every place was written, by blocks that were finished.
    pub(super) unsafe fn into_vec(self) -> Vec<R> {
        let mut slots = std::mem::ManuallyDrop::new(self);
        drop(std::mem::take(&mut *slots.written()));
        let mut places = std::mem::take(&mut slots.places);
        // SAFETY: the caller says so.
        unsafe { places.set_len(slots.len) };
        places
    }
}

impl<R> Drop for Slots<R> {
    fn drop(&mut self) {
        let written = std::mem::take(&mut *self.written());
        for index in written.into_iter().flatten() {
            // SAFETY: the block that holds this place was written whole.
            unsafe { drop(self.places.as_ptr().add(index).read()) };
        }
    }
}

/// A block of places, written from the front. Dropped before [`finish`](Self::finish), it drops what it wrote.
pub(super) struct Block<'a, R> {
    slots: &'a Slots<R>,
    start: usize,
    /// The first place: a loop that writes through it need not ask the slots each time.
    first: *mut R,
    written: usize,
}

impl<R> Block<'_, R> {
    /// Writes the next place.
    ///
    /// # Safety
    ///
    /// Called at most as often as the block is long, and by no other thread's block for the same place.
    #[inline]
    pub(super) unsafe fn write(&mut self, result: R) {
        // SAFETY: within the capacity, and only this block has the place.
        unsafe { self.first.add(self.written).write(result) };
        self.written += 1;
    }

    /// How many places were written.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Leaves what was written to the output.
    pub(super) fn finish(self) {
        let block = std::mem::ManuallyDrop::new(self);
        if std::mem::needs_drop::<R>() {
            let mut written = block.slots.written();
            let end = block.start + block.written;
            match written.last_mut() {
                Some(last) if last.end == block.start => last.end = end,
                _ => written.push(block.start..end),
            }
        }
    }
}

impl<R> Drop for Block<'_, R> {
    fn drop(&mut self) {
        for place in 0..self.written {
            // SAFETY: this block wrote the place, and will not again.
            unsafe { drop(self.first.add(place).read()) };
        }
    }
}
