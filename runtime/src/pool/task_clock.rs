//! [`TaskClock`]: when a task was queued and started, if times are measured.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Core;
use super::span;
use crate::sys::clock::Moment;

static MEASURES_TIMES: AtomicBool = AtomicBool::new(false);

/// Switches the histograms of all pools on or off.
pub(super) fn measure_times(on: bool) {
    MEASURES_TIMES.store(on, Ordering::Relaxed);
}

/// When a task was queued or, once it has started, when it started. In ticks; 0 if times were not measured when the
/// task was submitted. Only the thread that owns the task's work changes it.
pub(crate) struct TaskClock(AtomicU64);

impl TaskClock {
    /// The clock of a task that is queued now.
    #[inline]
    pub(crate) fn new() -> Self {
        let is_measured = MEASURES_TIMES.load(Ordering::Relaxed) || span::wants_task_spans();
        Self(AtomicU64::new(if is_measured { now() } else { 0 }))
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
        if MEASURES_TIMES.load(Ordering::Relaxed) {
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
    if MEASURES_TIMES.load(Ordering::Relaxed) {
        core.counts().times().run_time.record(Moment::now().since(Moment::from_ticks(started_at)));
    }
}

/// The current time in ticks, which is not 0.
fn now() -> u64 {
    Moment::now().ticks().max(1)
}
