//! Collections behind a lock that allocate and free memory only while the lock is released.
//!
//! The program's global allocator may itself call Fanfold. If it did while its thread held the lock, it would deadlock.

use std::collections::{BinaryHeap, VecDeque};
use std::ops::DerefMut;

/// A collection with a capacity, such as `Vec`.
pub(crate) trait Growable: Sized {
    fn with_capacity(capacity: usize) -> Self;
    fn len(&self) -> usize;
    fn capacity(&self) -> usize;
    /// Moves all entries of `from` to the end. The capacity suffices.
    fn append(&mut self, from: &mut Self);
}

/// Locks a collection and ensures that it can take `more` entries without allocating.
#[inline]
pub(crate) fn lock_with_capacity<G, L>(lock: impl Fn() -> G, list: impl Fn(&mut G::Target) -> &mut L, more: usize) -> G
where
    G: DerefMut,
    L: Growable,
{
    let mut guard = lock();
    let entries = list(&mut guard);
    if entries.capacity() - entries.len() >= more {
        return guard;
    }
    grow_and_lock(guard, lock, list, more)
}

/// Grows the collection while it is unlocked, and locks it again; repeats if other threads have used the capacity up.
#[cold]
fn grow_and_lock<G, L>(mut guard: G, lock: impl Fn() -> G, list: impl Fn(&mut G::Target) -> &mut L, more: usize) -> G
where
    G: DerefMut,
    L: Growable,
{
    loop {
        let full = list(&mut guard);
        let (len, capacity) = (full.len(), full.capacity());
        if capacity - len >= more {
            return guard;
        }
        drop(guard);
        replace_buffer(&lock, &list, capacity, 2 * (len + more).max(2));
        guard = lock();
    }
}

/// Replaces the buffer of a collection that is not locked, unless its capacity is no longer `before`.
#[cold]
pub(crate) fn replace_buffer<G, L>(
    lock: impl Fn() -> G,
    list: impl Fn(&mut G::Target) -> &mut L,
    before: usize,
    capacity: usize,
) where
    G: DerefMut,
    L: Growable,
{
    let mut other = L::with_capacity(capacity);
    let mut guard = lock();
    let current = list(&mut guard);
    if current.capacity() == before && current.len() <= other.capacity() {
        other.append(current);
        std::mem::swap(current, &mut other);
    }
    drop(guard);
    // The unused buffer is freed here, after the unlock.
    drop(other);
}

/// Locks a collection, with a `buffer` that has capacity for copies of all its entries.
pub(crate) fn lock_with_buffer<G, T>(lock: impl Fn() -> G, len: impl Fn(&G) -> usize, buffer: &mut Vec<T>) -> G {
    loop {
        let guard = lock();
        let len = len(&guard);
        if buffer.capacity() - buffer.len() >= len {
            return guard;
        }
        drop(guard);
        buffer.reserve(len + len / 2);
    }
}

impl<T> Growable for Vec<T> {
    fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity(capacity)
    }

    #[inline]
    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn append(&mut self, from: &mut Self) {
        self.append(from);
    }
}

impl<T> Growable for VecDeque<T> {
    fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity(capacity)
    }

    #[inline]
    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn append(&mut self, from: &mut Self) {
        self.append(from);
    }
}

impl<T: Ord> Growable for BinaryHeap<T> {
    fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity(capacity)
    }

    #[inline]
    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn append(&mut self, from: &mut Self) {
        // Not `BinaryHeap::append`, which keeps the buffer of the longer heap.
        self.extend(from.drain());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    #[test]
    fn lock_with_capacity_grows_and_keeps_the_entries() {
        let list = Mutex::new(VecDeque::new());
        let lock = || list.lock().unwrap_or_else(PoisonError::into_inner);
        for n in 0..1_000 {
            let mut guard = lock_with_capacity(lock, |list| list, 1 + n % 3);
            let capacity = guard.capacity();
            assert!(capacity - guard.len() > n % 3);
            guard.push_back(n);
            assert_eq!(guard.capacity(), capacity, "pushing allocates nothing");
        }
        assert!(lock().iter().copied().eq(0..1_000));
        let mut buffer = vec![7];
        let guard = lock_with_buffer(lock, |list| list.len(), &mut buffer);
        let capacity = buffer.capacity();
        buffer.extend(guard.iter().copied());
        assert_eq!((buffer.len(), buffer.capacity()), (1_001, capacity));
    }

    #[test]
    fn a_heap_grows_into_the_larger_buffer() {
        let heap = Mutex::new(BinaryHeap::from([3, 1, 2]));
        let guard = lock_with_capacity(|| heap.lock().unwrap_or_else(PoisonError::into_inner), |heap| heap, 100);
        assert!(guard.capacity() >= 103 && guard.peek() == Some(&3) && guard.len() == 3);
    }
}
