//! [`PulledItems`]: the items that one thread has pulled from an iterator, and from which several threads take.

use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, needs_drop};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::drop_all::DropSequence;

/// The items of one window that were pulled for helpers and not taken yet. Dropping it drops them.
pub(super) struct PulledItems<A> {
    items: Box<[UnsafeCell<MaybeUninit<A>>]>,
    /// The index in the window of the first item.
    first: AtomicUsize,
    /// Items before this index were pulled. Written by one thread.
    pulled: OwnLine<AtomicUsize>,
    /// Items before this index were taken.
    taken: OwnLine<AtomicUsize>,
}

/// A value on a cache line of its own.
#[repr(align(128))]
struct OwnLine<T>(T);

impl<A> PulledItems<A> {
    /// Space for so many items.
    ///
    /// # Safety
    ///
    /// Items may be sent to another thread.
    pub(super) unsafe fn new(len: usize) -> Self {
        let items = (0..len).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
        Self {
            items,
            first: AtomicUsize::new(0),
            pulled: OwnLine(AtomicUsize::new(0)),
            taken: OwnLine(AtomicUsize::new(0)),
        }
    }

    /// Adds an item, while there is space.
    ///
    /// # Safety
    ///
    /// One thread alone calls this.
    #[inline]
    pub(super) unsafe fn push(&self, item: A) {
        let index = self.pulled.0.load(Ordering::Relaxed);
        // SAFETY: items at or above `pulled` are reached by this function alone, which one thread calls.
        unsafe { (*self.items[index].get()).write(item) };
        self.pulled.0.store(index + 1, Ordering::Release);
    }

    /// Sets the index in the window of the first item, before any is added.
    pub(super) fn begin_at(&self, first: usize) {
        self.first.store(first, Ordering::Relaxed);
    }

    /// The number of items that were taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.0.load(Ordering::Relaxed)
    }

    /// Items that no thread has taken.
    pub(super) fn left(&self) -> usize {
        let taken = self.taken();
        self.pulled.0.load(Ordering::Acquire).saturating_sub(taken)
    }

    /// Takes up to `most` items from the front.
    pub(super) fn take(&self, most: usize) -> Option<(Range<usize>, TakenItems<'_, A>)> {
        let mut start = self.taken.0.load(Ordering::Relaxed);
        loop {
            let end = self.pulled.0.load(Ordering::Acquire).min(start.saturating_add(most));
            if start >= end {
                return None;
            }
            match self.taken.0.compare_exchange_weak(start, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let first = self.first.load(Ordering::Relaxed);
                    let items = TakenItems { from: &self.items, left: start..end };
                    return Some((first + start..first + end, items));
                }
                Err(other) => start = other,
            }
        }
    }
}

// SAFETY: the one thread that calls `push` writes an item before it counts it in `pulled` with a release; the thread
// that takes it alone reads it, after an acquire. That items may cross threads is the promise of `new`'s caller.
unsafe impl<A> Sync for PulledItems<A> {}

impl<A> Drop for PulledItems<A> {
    fn drop(&mut self) {
        let left = *self.taken.0.get_mut()..*self.pulled.0.get_mut();
        drop(TakenItems { from: &self.items, left });
    }
}

/// Some items, in order. Dropping it drops those that it has not given.
pub(super) struct TakenItems<'a, A> {
    from: &'a [UnsafeCell<MaybeUninit<A>>],
    left: Range<usize>,
}

impl<A> Iterator for TakenItems<'_, A> {
    type Item = A;

    #[inline]
    fn next(&mut self) -> Option<A> {
        let index = self.left.next()?;
        // SAFETY: the item was pulled before it was taken, so it is initialised and visible, by the acquire load in
        // `take`; `taken` gives each index once, and `left` once to this call.
        Some(unsafe { (*self.from[index].get()).assume_init_read() })
    }
}

impl<A> Drop for TakenItems<'_, A> {
    fn drop(&mut self) {
        if needs_drop::<A>() {
            let mut drops = DropSequence::default();
            for item in self {
                drops.run(|| drop(item));
            }
            drops.finish();
        }
    }
}
