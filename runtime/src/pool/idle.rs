//! [`IdlePolicy`]: how long a worker without a job spins before it parks.
//!
//! A caller that waits for each task before it submits the next one comes back when it has been woken. That takes a few
//! microseconds on some machines and 30 on others. A worker that has parked by then must be woken too, round after
//! round. So a worker that was parked only for a short time spins longer the next time: about as long as waking it
//! takes. (This is the ski-rental rule: spin for as long as a park would cost. See Karlin et al., "Competitive
//! randomized algorithms for nonuniform problems", 1990.) With spins of 2 us alone such a round takes 30 to 40 times as
//! long (benchmark `tasks`).

use std::time::Duration;

use super::queue::Queue;
use crate::sys::clock::Moment;
use crate::sys::park;

/// A worker that was parked for less than this is woken again and again.
const SHORT_SLEEP_NS: u64 = 150_000;
/// The longest spin.
const MAX_SPIN: Duration = Duration::from_micros(60);
/// A worker that was busy for longer than this before it became idle does not spin: no caller was kept waiting that
/// will be back soon.
const LONG_JOB_NS: u64 = 1_000_000;

/// How long one worker spins, from what its last sleeps were like.
pub(super) struct IdlePolicy {
    spin_time: Duration,
    /// When the worker last became idle.
    last_idle: Moment,
}

impl IdlePolicy {
    pub(super) fn new() -> Self {
        Self { spin_time: park::SPIN, last_idle: Moment::from_ticks(0) }
    }

    /// Whether the worker, which has become idle, spins at all.
    #[inline]
    pub(super) fn should_spin(&mut self) -> bool {
        let now = Moment::now();
        let before = std::mem::replace(&mut self.last_idle, now);
        park::count_other_waits();
        now.since(before) <= LONG_JOB_NS
    }

    /// Spins until there is a job, for a limited time.
    pub(super) fn spin(&self, queue: &Queue) {
        park::spin_up_to(self.spin_time, || queue.has_queued_jobs());
    }

    /// Records a sleep that began at `since` and was ended by a wake at `woken`.
    #[inline]
    pub(super) fn record_sleep(&mut self, since: Moment, woken: Moment) {
        let wake_latency = Duration::from_nanos(Moment::now().since(woken));
        let is_short = woken.since(since) < SHORT_SLEEP_NS;
        self.spin_time = if is_short { (2 * wake_latency).clamp(park::SPIN, MAX_SPIN) } else { park::SPIN };
    }
}
