//! Whether a map's work is worth calling helpers for: that depends on how awake they are.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::at_work;
use crate::sys::clock::Moment;

/// Worth it when a helper looks for work at this moment.
const HOT_NS: u64 = 3_000;
/// Worth it when one has worked just now, and does not sleep deeply.
const WARM_NS: u64 = 20_000;
/// Worth it in any case: several times what waking a thread takes.
const COLD_NS: u64 = 500_000;
/// So much in maps that each were not worth waking anybody, in close succession, is worth it.
const ALONE_NS: u64 = 250_000;
/// What was seen of the work must be such a part of what makes it worth sharing: its start tells little while caches
/// are cold, and a helper that is woken in vain costs as much as one that is not.
const EVIDENCE: u64 = 32;
/// What counts as just now.
const RECENT_NS: u64 = 1_000_000;
/// Maps in close succession: a helper takes about as long to come.
const SUCCESSION_NS: u64 = 100_000;
/// The least share that is worth a helper of its own, by how awake they are.
const HOT_SHARE_NS: u64 = 1_500;
const COLD_SHARE_NS: u64 = 50_000;

/// What helpers of a pool do, and what they missed.
pub(crate) struct Demand {
    /// Whether its callers work along, beside as many workers as there are cores.
    counts: bool,
    /// Helpers that look for work.
    looking: AtomicUsize,
    /// When a helper last ended its share, in ticks.
    helped_at: AtomicU64,
    /// When a map last ended alone that was worth sharing, in ticks.
    alone_at: AtomicU64,
    /// Nanoseconds of such maps, in close succession.
    alone: AtomicU64,
}

impl Demand {
    pub(super) fn new(counts: bool) -> Self {
        Self {
            counts,
            looking: AtomicUsize::new(0),
            helped_at: AtomicU64::new(0),
            alone_at: AtomicU64::new(0),
            alone: AtomicU64::new(0),
        }
    }

    /// How many of up to `most` helpers to call for so much work, after so much of it; `None` if it is not worth one.
    pub(crate) fn helpers(&self, rest_ns: u64, seen_ns: u64, most: usize, now: Moment) -> Option<usize> {
        let most = self.free(most);
        if most == 0 || rest_ns < HOT_NS {
            return None;
        }
        let worth = |least: u64| rest_ns >= least && seen_ns >= least / EVIDENCE;
        let looking = self.looking.load(Ordering::Relaxed);
        let share = if looking > 0 {
            HOT_SHARE_NS
        } else if worth(COLD_NS)
            || (worth(WARM_NS) && self.recently(&self.helped_at, now))
            || (self.recently(&self.alone_at, now) && self.alone.load(Ordering::Relaxed) >= ALONE_NS)
        {
            self.alone.store(0, Ordering::Relaxed);
            self.alone_at.store(now.ticks(), Ordering::Relaxed);
            if rest_ns >= COLD_NS { COLD_SHARE_NS } else { WARM_NS / 2 }
        } else {
            return None;
        };
        // Those that look come for next to nothing; more of them must be woken.
        let shares = usize::try_from(rest_ns / share).unwrap_or(usize::MAX);
        let woken = usize::try_from(rest_ns / COLD_SHARE_NS).unwrap_or(usize::MAX);
        Some(shares.min(looking.max(woken)).clamp(1, most))
    }

    /// Whether it would be worth sharing with up to `most` helpers if they looked.
    pub(crate) fn is_worth(&self, rest_ns: u64, most: usize) -> bool {
        rest_ns >= HOT_NS && self.has_free(most)
    }

    /// Whether there is a core for one of so many helpers.
    pub(crate) fn has_free(&self, helpers: usize) -> bool {
        self.free(helpers) > 0
    }

    /// Those of so many helpers that there is a core for.
    fn free(&self, helpers: usize) -> usize {
        if self.counts { helpers.saturating_sub(at_work::others()) } else { helpers }
    }

    /// A map that was worth sharing ended without help. Several of them in a row call a helper, who then stays awake.
    pub(crate) fn went_alone(&self, took_ns: u64, now: Moment) {
        let before = if self.recently(&self.alone_at, now) { self.alone.load(Ordering::Relaxed) } else { 0 };
        self.alone.store(before.saturating_add(took_ns), Ordering::Relaxed);
        self.alone_at.store(now.ticks(), Ordering::Relaxed);
    }

    fn recently(&self, when: &AtomicU64, now: Moment) -> bool {
        let _ = self;
        now.since(Moment::from_ticks(when.load(Ordering::Relaxed))) < RECENT_NS
    }

    /// Whether maps that want help come one after the other: a helper who was too late for one looks for the next.
    pub(super) fn expects_more(&self) -> bool {
        Moment::now().since(Moment::from_ticks(self.alone_at.load(Ordering::Relaxed))) < SUCCESSION_NS
    }

    /// A helper has ended its share of a map.
    pub(super) fn helped(&self) {
        self.helped_at.store(Moment::now().ticks(), Ordering::Relaxed);
    }

    /// A helper looks for more, while `look` runs.
    pub(super) fn while_looking<T>(&self, look: impl FnOnce() -> T) -> T {
        self.looking.fetch_add(1, Ordering::Relaxed);
        let found = look();
        self.looking.fetch_sub(1, Ordering::Relaxed);
        found
    }
}
