//! The task cell under loom, which runs each test in every order in which its threads can meet.
//!
//! It is the very file that the library uses, `runtime/src/task/slot/cell.rs` (with the modules of `sys` that it uses),
//! with loom's atomics, locks and cells in the place of the standard library's.
#![cfg(test)]

#[path = "."]
mod task {
    #[path = "../../src/task/slot/cell.rs"]
    #[allow(dead_code, reason = "the library uses more of it than the races need")]
    mod cell;
    mod races;

    /// As in the library.
    pub(crate) mod cancel {
        pub(crate) const STOP: u32 = 8;
    }

    /// What the library takes from `std::sync`.
    pub(crate) mod sync {
        pub(crate) use loom::cell::UnsafeCell;
        pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
        pub(crate) use loom::sync::{Mutex, MutexGuard};
    }
}

#[path = "."]
mod sys {
    #[path = "../../src/sys/reserve.rs"]
    #[allow(dead_code, reason = "the library uses more of it than the races need")]
    pub(crate) mod reserve;
    #[path = "../../src/sys/small_vec.rs"]
    #[allow(dead_code, reason = "the library uses more of it than the races need")]
    pub(crate) mod small_vec;
}
