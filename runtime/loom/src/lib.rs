//! The task cell under loom, which runs each test in every order in which its threads can meet.
//!
//! It is the very file that the library uses, `runtime/src/slot/cell.rs` (with `few.rs`, its list, and `room.rs`), with loom's atomics,
//! locks and cells in the place of the standard library's.
#![cfg(test)]

#[path = "../../src/slot/cell.rs"]
#[allow(dead_code, reason = "the library uses more of it than the races need")]
mod cell;
#[path = "../../src/few.rs"]
#[allow(dead_code, reason = "as above")]
mod few;
mod races;
#[path = "../../src/room.rs"]
#[allow(dead_code, reason = "as above")]
mod room;

/// As in the library.
mod current {
    pub(crate) const STOP: u32 = 8;
}

/// What the library takes from `std::sync`.
mod sync {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}
