//! How long a thread spins before it parks: [`IdlePolicy`] for a worker without a job, [`Core::spin_until`] for a
//! thread that joins a task.
//!
//! A caller that waits for each task before it submits the next one comes back when it has been woken. That takes a few
//! microseconds on some machines and 30 on others. A worker that has parked by then must be woken too, round after
//! round. So a worker that was parked only for a short time spins longer the next time: about as long as waking it
//! takes. (This is the ski-rental rule: spin for as long as a park would cost. See Karlin et al., "Competitive
//! randomized algorithms for nonuniform problems", 1990.)
//!
//! A worker that runs on the cpu of the thread that woke it does not spin at all: the next thread to submit a job may
//! need that cpu. If this goes on although no other thread waits, the two take turns on one cpu while another may be
//! idle. The worker then migrates to another cpu.

use std::time::Duration;

use super::Core;
use super::queue::Queue;
use super::queue::state::LastWake;
use crate::sys::clock::Moment;
use crate::sys::{cpu, park};

/// A worker that was parked for less than this is woken again and again.
const SHORT_SLEEP_NS: u64 = 150_000;
/// The longest spin.
const MAX_SPIN: Duration = Duration::from_micros(60);

/// After this many short sleeps in a row, each ended by a thread on its own cpu, a worker migrates to another cpu.
const MIGRATE_AFTER: u32 = 8;
/// The number doubles, up to this one, each time that migrating has not helped.
const MAX_MIGRATE_AFTER: u32 = 1024;

/// The longest time that a migration and the first job after it take. A thread that waits for this job spins for that
/// long: if it parked, it would be woken on the very cpu that the worker has migrated to.
const MIGRATION_TIME: Duration = Duration::from_micros(100);

/// How long one worker spins, from what its last sleeps were like.
pub(super) struct IdlePolicy {
    spin_time: Duration,
    /// When the worker last became idle.
    last_idle: Moment,
    /// Short sleeps in a row that were ended from its cpu.
    same_cpu_wakes: u32,
    /// How many of them make it migrate.
    migrate_after: u32,
}

impl IdlePolicy {
    pub(super) fn new() -> Self {
        Self {
            spin_time: park::SPIN,
            last_idle: Moment::from_ticks(0),
            same_cpu_wakes: 0,
            migrate_after: MIGRATE_AFTER,
        }
    }

    /// Whether the worker spins at all. After a long job it does not: no caller was kept waiting that will be back
    /// soon.
    #[inline]
    pub(super) fn should_spin(&mut self, last_wake: LastWake) -> bool {
        let now = Moment::now();
        let before = std::mem::replace(&mut self.last_idle, now);
        park::count_other_waits();
        now.since(before) <= park::COLD_NS
            && (!is_on_waker_cpu(last_wake)
                || (self.same_cpu_wakes >= self.migrate_after && !park::is_oversubscribed()))
    }

    /// Spins until there is a job, for a limited time. Migrates before if the worker is on its waker's cpu.
    pub(super) fn spin(&mut self, queue: &Queue, last_wake: LastWake) {
        if let Some(shared) = last_wake.from_cpu
            && is_on_waker_cpu(last_wake)
        {
            queue.announce_migration(MIGRATION_TIME);
            cpu::leave_core(shared);
            self.same_cpu_wakes = 0;
            self.migrate_after = (2 * self.migrate_after).min(MAX_MIGRATE_AFTER);
        }
        park::spin_up_to(self.spin_time, || queue.has_queued_jobs());
    }

    /// Records a sleep that began at `since` and that a wake has ended.
    #[inline]
    pub(super) fn record_sleep(&mut self, since: Moment, last_wake: LastWake) {
        let is_short = last_wake.at.since(since) < SHORT_SLEEP_NS;
        let wake_latency = Duration::from_nanos(Moment::now().since(last_wake.at));
        self.spin_time = if is_short { (2 * wake_latency).clamp(park::SPIN, MAX_SPIN) } else { park::SPIN };
        if is_short && is_on_waker_cpu(last_wake) {
            self.same_cpu_wakes += 1;
        } else {
            (self.same_cpu_wakes, self.migrate_after) = (0, MIGRATE_AFTER);
        }
    }
}

/// Whether this thread is on the cpu of the thread that woke it.
fn is_on_waker_cpu(last_wake: LastWake) -> bool {
    last_wake.from_cpu.is_some() && last_wake.from_cpu == cpu::current_core()
}

impl Core {
    /// Spins until `done` holds, which a worker of this pool will make true; `false` when it is time to park.
    #[inline]
    pub(crate) fn spin_until(&self, done: impl Fn() -> bool) -> bool {
        // If this thread last waited more than 1 ms ago, the worker is parked most likely, so spinning gains nothing. A
        // thread among many that wait yields instead.
        done() || if park::begin_wait() { self.spin_warm(done) } else { park::yield_once(done) }
    }

    /// As [`spin_until`](Self::spin_until), for a thread that has waited just before.
    fn spin_warm(&self, done: impl Fn() -> bool) -> bool {
        if let Some(time) = self.queue.migration_time_left()
            && park::spin_up_to(time, &done)
        {
            return true;
        }
        // Where more threads wait than there are cores, and as many jobs are queued, spinning only keeps a worker from
        // its cpu.
        let is_far_back = park::is_oversubscribed() && self.queue.queued() > cpu::cores();
        (!is_far_back && park::spin_up_to(park::SPIN, &done)) || park::yield_once(done)
    }
}
