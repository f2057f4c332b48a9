//! The task cell under loom, which runs each model in every order in which its threads can interleave.
//!
//! The models run the library's own source, `runtime/src/task/slot/cell.rs` and the modules of `sys` that it uses. Only
//! the atomics, locks and cells are loom's in place of the standard library's.
#![cfg(test)]

#[path = "."]
mod task {
    #[path = "../../src/task/slot/cell.rs"]
    #[allow(dead_code, reason = "the models do not use all of it")]
    mod cell;
    mod races;

    /// The part of the library's `task::cancel` that the cell uses.
    pub(crate) mod cancel {
        pub(crate) const STOP_REQUESTED: u32 = 8;
        pub(crate) const STOP_SEEN: u32 = 16;
    }

    /// Loom's types in place of the library's `task::sync`.
    pub(crate) mod sync {
        pub(crate) use loom::cell::UnsafeCell;
        pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
        pub(crate) use loom::sync::{Mutex, MutexGuard};

        pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
            mutex.lock().expect("no thread panics with the lock")
        }
    }
}

#[path = "."]
mod sys {
    #[path = "../../src/sys/reserve.rs"]
    #[allow(dead_code, reason = "the models do not use all of it")]
    pub(crate) mod reserve;
    #[path = "../../src/sys/small_vec.rs"]
    #[allow(dead_code, reason = "the models do not use all of it")]
    pub(crate) mod small_vec;
}
