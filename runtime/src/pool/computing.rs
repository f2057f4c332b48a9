//! How many threads compute in maps now: a map inside a map wakes no helper while all cores compute.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that compute in maps: inside of a share of a map of the default cpu pool or of frames, and not blocked.
///
/// The caller of a map computes beside its pool's workers, so there is one thread more than there are cores. While all
/// cores compute, a map inside a map must not wake that last thread: it would find no free core.
static COMPUTING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether [`COMPUTING`] counts this thread.
    static IS_COMPUTING: Cell<bool> = const { Cell::new(false) };
}

/// How many other threads compute, if this one does: then its map is inside of another. Otherwise 0.
pub(super) fn other_computing_threads() -> usize {
    if IS_COMPUTING.get() { COMPUTING.load(Ordering::Relaxed).saturating_sub(1) } else { 0 }
}

/// In a forked child: no other thread exists.
#[cfg(all(unix, not(miri)))]
pub(super) fn forget_parent() {
    COMPUTING.store(usize::from(IS_COMPUTING.get()), Ordering::Relaxed);
}

/// Counts this thread as computing until the guard is dropped.
pub(crate) fn mark_computing() -> ComputingGuard {
    ComputingGuard::set(true)
}

/// Does not count this thread as computing until the guard is dropped: it is blocked.
#[inline]
pub(super) fn mark_blocked() -> ComputingGuard {
    ComputingGuard::set(false)
}

/// Restores whether this thread counts as computing when dropped.
pub(crate) struct ComputingGuard {
    before: bool,
}

impl ComputingGuard {
    #[inline]
    fn set(to: bool) -> Self {
        Self { before: set_computing(to) }
    }
}

impl Drop for ComputingGuard {
    #[inline]
    fn drop(&mut self) {
        set_computing(self.before);
    }
}

/// Sets whether this thread counts as computing; returns whether it did.
#[inline]
fn set_computing(to: bool) -> bool {
    let before = IS_COMPUTING.replace(to);
    match (before, to) {
        (false, true) => COMPUTING.fetch_add(1, Ordering::Relaxed),
        (true, false) => COMPUTING.fetch_sub(1, Ordering::Relaxed),
        _ => 0,
    };
    before
}
