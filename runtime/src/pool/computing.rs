//! How many threads compute in the maps of a pool now: a map inside a map wakes no helper while all cores compute.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The threads that compute in maps of the default cpu pool or of frames.
///
/// The caller of a map computes beside its pool's workers, so there is one thread more than there are cores. While all
/// cores compute, a map inside a map must not wake that last thread: it would find no free core.
static DEFAULT: ComputingThreads = ComputingThreads::new();

thread_local! {
    /// The count in which this thread is; null if in none.
    static COUNTED_IN: Cell<*const ComputingThreads> = const { Cell::new(ptr::null()) };
}

/// A number of threads that compute in maps: inside of a share of a map, and not blocked.
pub(super) struct ComputingThreads(AtomicUsize);

impl ComputingThreads {
    pub(super) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// How many other threads compute, if this one is counted here: then its map is inside of another. Otherwise 0.
    #[inline]
    pub(super) fn others(&self) -> usize {
        let is_counted = ptr::eq(COUNTED_IN.get(), self);
        if is_counted { self.0.load(Ordering::Relaxed).saturating_sub(1) } else { 0 }
    }

    /// Counts this thread here, and not where it was counted before, until the guard is dropped.
    pub(super) fn count_this_thread(&self) -> ComputingGuard<'_> {
        ComputingGuard::set(Some(self))
    }
}

/// The count of the default cpu pool and of frames.
pub(super) fn default_count() -> &'static ComputingThreads {
    &DEFAULT
}

/// Does not count this thread as computing until the guard is dropped: it is blocked.
#[inline]
pub(super) fn mark_blocked() -> ComputingGuard<'static> {
    ComputingGuard::set(None)
}

/// Whether this thread computes in a map.
#[inline]
pub(super) fn is_computing() -> bool {
    !COUNTED_IN.get().is_null()
}

/// In a forked child: no other thread exists.
#[cfg(all(unix, not(miri)))]
pub(super) fn forget_parent() {
    let counted_in = COUNTED_IN.get();
    DEFAULT.0.store(usize::from(ptr::eq(counted_in, &raw const DEFAULT)), Ordering::Relaxed);
}

/// Restores where this thread was counted when dropped.
pub(crate) struct ComputingGuard<'a> {
    before: *const ComputingThreads,
    _count: PhantomData<&'a ComputingThreads>,
}

impl<'a> ComputingGuard<'a> {
    #[inline]
    fn set(to: Option<&'a ComputingThreads>) -> Self {
        Self { before: move_this_thread(to.map_or(ptr::null(), ptr::from_ref)), _count: PhantomData }
    }
}

impl Drop for ComputingGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        move_this_thread(self.before);
    }
}

/// Counts this thread in `to`, or nowhere if that is null; returns where it was counted before.
#[inline]
fn move_this_thread(to: *const ComputingThreads) -> *const ComputingThreads {
    let from = COUNTED_IN.replace(to);
    if from != to {
        // SAFETY: each pointer is null or belongs to a `ComputingGuard` of this thread that borrows the count: `to` to
        // the guard that is being made, or, when a guard is dropped, `from` to that guard and `to` to the one before
        // it. Guards are local variables, which are dropped in reverse order.
        let (from, to) = unsafe { (from.as_ref(), to.as_ref()) };
        if let Some(count) = from {
            count.0.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(count) = to {
            count.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    from
}
