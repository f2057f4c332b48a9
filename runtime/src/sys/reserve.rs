//! Lists behind a lock, whose memory is allocated and freed while the lock is free: a program's global allocator may call
//! Fanfold, and would wait for the lock that its own thread holds.

use std::collections::{BinaryHeap, VecDeque};
use std::ops::DerefMut;

/// A list with a capacity.
pub(crate) trait List: Sized {
    fn with_capacity(capacity: usize) -> Self;
    fn len(&self) -> usize;
    fn capacity(&self) -> usize;
    /// Moves all entries of `from` behind its own. There is room for them.
    fn append(&mut self, from: &mut Self);
}

/// Locks a list that has room for `more` entries.
#[inline]
pub(crate) fn lock_with_room<G, L>(lock: impl Fn() -> G, list: impl Fn(&mut G::Target) -> &mut L, more: usize) -> G
where
    G: DerefMut,
    L: List,
{
    let mut guard = lock();
    let entries = list(&mut guard);
    if entries.capacity() - entries.len() >= more {
        return guard;
    }
    grow_and_lock(guard, lock, list, more)
}

/// Gives a list room while its lock is free, and locks it again. Other threads may fill that room first.
#[cold]
fn grow_and_lock<G, L>(mut guard: G, lock: impl Fn() -> G, list: impl Fn(&mut G::Target) -> &mut L, more: usize) -> G
where
    G: DerefMut,
    L: List,
{
    loop {
        let full = list(&mut guard);
        let (len, capacity) = (full.len(), full.capacity());
        if capacity - len >= more {
            return guard;
        }
        drop(guard);
        replace(&lock, &list, capacity, 2 * (len + more).max(2));
        guard = lock();
    }
}

/// Gives a list another buffer, unless it has changed its own, of this capacity, meanwhile. The lock is free now.
#[cold]
pub(crate) fn replace<G, L>(
    lock: impl Fn() -> G,
    list: impl Fn(&mut G::Target) -> &mut L,
    before: usize,
    capacity: usize,
) where
    G: DerefMut,
    L: List,
{
    let mut other = L::with_capacity(capacity);
    let mut guard = lock();
    let current = list(&mut guard);
    if current.capacity() == before && current.len() <= other.capacity() {
        other.append(current);
        std::mem::swap(current, &mut other);
    }
    drop(guard);
    // The buffer that is not used any more is freed here.
    drop(other);
}

/// Locks a list of which all entries fit into `copies`.
pub(crate) fn lock_to_copy<G, T>(lock: impl Fn() -> G, len: impl Fn(&G) -> usize, copies: &mut Vec<T>) -> G {
    loop {
        let guard = lock();
        let len = len(&guard);
        if copies.capacity() - copies.len() >= len {
            return guard;
        }
        drop(guard);
        copies.reserve(len + len / 2);
    }
}

impl<T> List for Vec<T> {
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

impl<T> List for VecDeque<T> {
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

impl<T: Ord> List for BinaryHeap<T> {
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
        // `BinaryHeap::append` keeps the buffer of the longer heap.
        self.extend(from.drain());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    #[test]
    fn a_list_grows_and_keeps_its_entries() {
        let list = Mutex::new(VecDeque::new());
        let lock = || list.lock().unwrap_or_else(PoisonError::into_inner);
        for n in 0..1_000 {
            let mut guard = lock_with_room(lock, |list| list, 1 + n % 3);
            let capacity = guard.capacity();
            assert!(capacity - guard.len() > n % 3);
            guard.push_back(n);
            assert_eq!(guard.capacity(), capacity, "pushing allocates nothing");
        }
        assert!(lock().iter().copied().eq(0..1_000));
        let mut copies = vec![7];
        let guard = lock_to_copy(lock, |list| list.len(), &mut copies);
        let capacity = copies.capacity();
        copies.extend(guard.iter().copied());
        assert_eq!((copies.len(), copies.capacity()), (1_001, capacity));
    }

    #[test]
    fn a_heap_gets_the_larger_buffer() {
        let heap = Mutex::new(BinaryHeap::from([3, 1, 2]));
        let guard = lock_with_room(|| heap.lock().unwrap_or_else(PoisonError::into_inner), |heap| heap, 100);
        assert!(guard.capacity() >= 103 && guard.peek() == Some(&3) && guard.len() == 3);
    }
}
