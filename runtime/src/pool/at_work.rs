//! How many threads compute in maps at this moment: those inside shares of the default cpu pool's maps, and of frames.
//!
//! A caller works along beside its pool's workers, so the pool has a thread more than there are cores. Maps inside maps
//! must not call that one while all cores compute: it would look for work on a core that has enough.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread is one of them.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// How many others there are, for a map inside a map; 0 for others, which nothing is known about.
pub(super) fn others() -> usize {
    if COUNTED.get() { THREADS.load(Ordering::Relaxed).saturating_sub(1) } else { 0 }
}

/// In a forked child: the other threads are the parent's.
#[cfg(all(unix, not(miri)))]
pub(super) fn forget_parent() {
    THREADS.store(usize::from(COUNTED.get()), Ordering::Relaxed);
}

/// Counts this thread until the guard is dropped.
pub(crate) fn at_work() -> AtWork {
    AtWork::change(true)
}

/// Does not count this thread until the guard is dropped: it waits.
#[inline]
pub(super) fn waiting() -> AtWork {
    AtWork::change(false)
}

/// Counts or does not count a thread until it is dropped.
pub(crate) struct AtWork {
    before: bool,
}

impl AtWork {
    #[inline]
    fn change(to: bool) -> Self {
        Self { before: set(to) }
    }
}

impl Drop for AtWork {
    #[inline]
    fn drop(&mut self) {
        set(self.before);
    }
}

/// Gives what was before.
#[inline]
fn set(to: bool) -> bool {
    let before = COUNTED.replace(to);
    match (before, to) {
        (false, true) => THREADS.fetch_add(1, Ordering::Relaxed),
        (true, false) => THREADS.fetch_sub(1, Ordering::Relaxed),
        _ => 0,
    };
    before
}
