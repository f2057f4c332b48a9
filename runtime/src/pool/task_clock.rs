//! [`TaskClock`]: when a task was queued and started, if times are measured.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::Core;
use crate::sys::clock::Moment;

/// What times are measured for: a set of [`HISTOGRAMS`], [`SPANS`] and [`REPORTS`]. One word, so that a task reads one.
static MEASURED_FOR: AtomicU8 = AtomicU8::new(0);
/// The histograms of all pools.
pub(super) const HISTOGRAMS: u8 = 1;
/// The spans of tasks and chunks.
pub(super) const SPANS: u8 = 2;
/// The reports that are being made.
pub(super) const REPORTS: u8 = 4;

/// Switches measuring for one of these on or off.
pub(super) fn measure_for(what: u8, on: bool) {
    if on {
        MEASURED_FOR.fetch_or(what, Ordering::Relaxed);
    } else {
        MEASURED_FOR.fetch_and(!what, Ordering::Relaxed);
    }
}

/// Whether times are measured for `what`.
#[inline]
pub(super) fn is_measured_for(what: u8) -> bool {
    MEASURED_FOR.load(Ordering::Relaxed) & what != 0
}

/// When a task was queued or, once it has started, when it started. In ticks; 0 if times were not measured when the
/// task was submitted. Only the thread that owns the task's work changes it.
pub(crate) struct TaskClock(AtomicU64);

impl TaskClock {
    /// The clock of a task that is queued now.
    #[inline]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(if is_measured_for(HISTOGRAMS | SPANS | REPORTS) { now() } else { 0 }))
    }

    /// The task starts. Returns how long it was queued, if that was measured.
    #[inline]
    pub(crate) fn start(&self, core: &Core) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            queued_at => Some(self.record_start(core, queued_at)),
        }
    }

    #[cold]
    fn record_start(&self, core: &Core, queued_at: u64) -> Duration {
        self.0.store(now(), Ordering::Relaxed);
        let waited = Moment::now().since(Moment::from_ticks(queued_at));
        if is_measured_for(HISTOGRAMS) {
            core.counts().times().queue_wait.record(waited);
        }
        Duration::from_nanos(waited)
    }

    /// The task, which has started, has ended.
    #[inline]
    pub(crate) fn end(&self, core: &Core) {
        match self.0.load(Ordering::Relaxed) {
            0 => {}
            started_at => record_end(core, started_at),
        }
    }
}

#[cold]
fn record_end(core: &Core, started_at: u64) {
    if is_measured_for(HISTOGRAMS) {
        core.counts().times().run_time.record(Moment::now().since(Moment::from_ticks(started_at)));
    }
}

/// The current time in ticks, which is not 0.
#[cold]
fn now() -> u64 {
    Moment::now().ticks().max(1)
}
