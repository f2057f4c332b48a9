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
}

/// Marks this thread as one of rayon's, which works for the pool in [`CORE`].
pub(in crate::pool) fn enter_rayon() {
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

/// Wakes the resident worker of this thread's cpu pool if it is parked: rayon has work that it may steal.
#[inline]
pub(in crate::pool) fn wake_resident_to_steal() {
    // SAFETY: the pointer is null, or that of the pool of which `CORE` holds an `Arc`. `exit` and `BorrowedPermit` call
    // `leave` before they change `CORE`, and this function does not: so the pool exists until it returns.
    if let Some(core) = unsafe { OWN_CPU_POOL.get().as_ref() } {
        core.wake_resident_to_steal();
    }
}
