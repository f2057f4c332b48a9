//! [`Load`]: whether a map wakes helpers. Waking a spinning helper costs least, and one that has been parked for long
//! most.
//!
//! A *helper* is a worker that computes a share of a map beside the map's caller.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::computing::{self, ComputingGuard, ComputingThreads};
use crate::sys::clock::Moment;

/// The least work that is worth sharing while a helper spins.
const HOT_NS: u64 = 3_000;
/// The least work that is worth sharing if a helper has worked in the last [`RECENT_NS`]: its core is not in a deep
/// idle state yet.
const WARM_NS: u64 = 20_000;
/// The least work that is worth sharing in any case: several times what waking a thread takes.
const COLD_NS: u64 = 500_000;
/// Maps that are each too short to wake a helper wake one if they follow one another closely and have run for this long
/// in all.
const UNSHARED_NS: u64 = 250_000;
/// How long ago a recent event may be.
const RECENT_NS: u64 = 1_000_000;

/// What the helpers of one pool do, and how much work maps have done without them.
pub(crate) struct Load {
    /// The threads that compute in this pool's maps; `None` if the process-wide number counts them.
    own_computing: Option<ComputingThreads>,
    /// Helpers that spin for the next map.
    spinning: AtomicUsize,
    /// When a helper last finished its share, in ticks.
    helped_at: AtomicU64,
    /// When a map that was worth sharing last ended without help, in ticks.
    unshared_at: AtomicU64,
    /// Nanoseconds that such maps took, in close succession.
    unshared_ns: AtomicU64,
}

impl Load {
    pub(super) fn new(is_process_wide: bool) -> Self {
        Self {
            own_computing: (!is_process_wide).then(ComputingThreads::new),
            spinning: AtomicUsize::new(0),
            helped_at: AtomicU64::new(0),
            unshared_at: AtomicU64::new(0),
            unshared_ns: AtomicU64::new(0),
        }
    }

    /// How many helpers to wake, `most` at most, for an estimated rest of `rest_ns`. `None` if the rest is not worth
    /// sharing.
    pub(crate) fn helpers(&self, rest_ns: u64, most: usize, now: Moment) -> Option<usize> {
        let most = self.with_free_core(most);
        if most == 0 || rest_ns < HOT_NS {
            return None;
        }
        let spinning = self.spinning.load(Ordering::Relaxed);
        if spinning == 0 {
            let follows_others =
                is_recent(&self.unshared_at, now) && self.unshared_ns.load(Ordering::Relaxed) >= UNSHARED_NS;
            let is_warm = rest_ns >= WARM_NS && is_recent(&self.helped_at, now);
            if rest_ns < COLD_NS && !is_warm && !follows_others {
                return None;
            }
            self.unshared_ns.store(0, Ordering::Relaxed);
            self.unshared_at.store(now.ticks(), Ordering::Relaxed);
        }
        // A spinning helper joins at next to no cost. One that must be woken needs a larger share.
        let shares = |share: u64| usize::try_from(rest_ns / share).unwrap_or(usize::MAX);
        Some(spinning.min(shares(HOT_NS / 2)).max(shares(COLD_NS / 10)).clamp(1, most))
    }

    /// Whether the rest would be worth sharing with up to `most` helpers if one of them were spinning.
    pub(crate) fn is_worth_sharing(&self, rest_ns: u64, most: usize) -> bool {
        rest_ns >= HOT_NS && self.has_free_core(most)
    }

    /// Whether at least one of `helpers` helpers would find a free core.
    pub(crate) fn has_free_core(&self, helpers: usize) -> bool {
        self.with_free_core(helpers) > 0
    }

    /// How many of `helpers` helpers would find a free core.
    fn with_free_core(&self, helpers: usize) -> usize {
        helpers.saturating_sub(self.computing().others())
    }

    fn computing(&self) -> &ComputingThreads {
        self.own_computing.as_ref().unwrap_or_else(|| computing::default_count())
    }

    /// Counts this thread as computing in a map of the pool until the guard is dropped.
    pub(crate) fn mark_computing(&self) -> ComputingGuard<'_> {
        self.computing().count_this_thread()
    }

    /// A map that was worth sharing ended without help. After several of them in a row [`helpers`](Self::helpers) wakes
    /// a helper, which then spins for the next map.
    pub(crate) fn ran_unshared(&self, took_ns: u64, now: Moment) {
        let before = if is_recent(&self.unshared_at, now) { self.unshared_ns.load(Ordering::Relaxed) } else { 0 };
        self.unshared_ns.store(before.saturating_add(took_ns), Ordering::Relaxed);
        self.unshared_at.store(now.ticks(), Ordering::Relaxed);
    }

    /// Whether maps that want help follow one another: a helper that was too late for one then spins for the next.
    pub(super) fn expects_more_maps(&self) -> bool {
        is_recent(&self.unshared_at, Moment::now())
    }

    /// A helper has finished its share of a map.
    pub(super) fn helper_finished(&self) {
        self.helped_at.store(Moment::now().ticks(), Ordering::Relaxed);
    }

    /// Counts a helper as spinning while `spin` runs.
    pub(super) fn while_spinning<T>(&self, spin: impl FnOnce() -> T) -> T {
        self.spinning.fetch_add(1, Ordering::Relaxed);
        let found = spin();
        self.spinning.fetch_sub(1, Ordering::Relaxed);
        found
    }
}

/// Whether a time, in ticks, is at most [`RECENT_NS`] before `now`.
fn is_recent(when: &AtomicU64, now: Moment) -> bool {
    now.since(Moment::from_ticks(when.load(Ordering::Relaxed))) < RECENT_NS
}
