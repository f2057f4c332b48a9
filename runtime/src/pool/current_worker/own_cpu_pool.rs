//! Whether the current thread is one of rayon's that works for its own cpu pool. A `join` asks this, so the answer is a
//! plain pointer in a thread-local.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

use super::CORE;
use crate::pool::Core;

thread_local! {
    /// The pool whose worker this thread is, if the thread is one of that pool's rayon threads; else null.
    ///
    /// Invariant: while this is not null, [`CORE`] holds an `Arc` of that pool.
    static OWN_CPU_POOL: Cell<*const Core> = const { Cell::new(ptr::null()) };
    /// The index of this thread among that pool's rayon threads, which is that of its deque.
    static OWN_DEQUE: Cell<usize> = const { Cell::new(0) };
}

/// Marks this thread as one of rayon's, which works for the pool in [`CORE`].
pub(in crate::pool) fn enter_rayon(index: usize) {
    OWN_DEQUE.set(index);
    CORE.with(|core| OWN_CPU_POOL.set(core.borrow().as_ref().map_or(ptr::null(), Arc::as_ptr)));
}

/// This thread does not work for its own cpu pool from here on. Called before [`CORE`] is changed.
pub(super) fn leave() -> *const Core {
    OWN_CPU_POOL.replace(ptr::null())
}

/// Undoes [`leave`], which has returned `before`. Called when [`CORE`] is what it was.
pub(super) fn restore(before: *const Core) {
    OWN_CPU_POOL.set(before);
}

/// Whether the current thread is one of rayon's, and works for the cpu pool that started it.
#[inline]
pub(in crate::pool) fn is_on_own_cpu_pool() -> bool {
    !OWN_CPU_POOL.get().is_null()
}

/// The index of this thread's deque, if the thread is one of rayon's and works for the cpu pool that started it.
#[inline]
pub(in crate::pool) fn own_deque() -> Option<usize> {
    is_on_own_cpu_pool().then(|| OWN_DEQUE.get())
}

/// As [`own_deque`], if that pool is `core`.
#[inline]
pub(in crate::pool) fn own_deque_of(core: &Core) -> Option<usize> {
    ptr::eq(OWN_CPU_POOL.get(), core).then(|| OWN_DEQUE.get())
}

/// Wakes the resident worker of this thread's cpu pool if it is parked: rayon has work that it may steal.
#[inline]
pub(in crate::pool) fn wake_resident_to_steal() {
    // SAFETY: the pointer is null, or that of the pool of which `CORE` holds an `Arc`. `exit` and `BorrowedPermit` call
    // `leave` before they change `CORE`, and this function does not: so the pool exists until it returns.
    if let Some(core) = unsafe { OWN_CPU_POOL.get().as_ref() } {
        core.wake_resident_to_steal();
    }
}
