//! How a task is queued: [`Priority`] and [`Deadline`].

use std::sync::Arc;
use std::sync::Weak;
use std::time::{Duration, Instant};

use super::Task;
use super::slot::Slot;
use crate::pool::Core;
use crate::pool::config;
use crate::pool::timer::{self, Expire};

/// Which of the tasks that wait in a pool's queue start first.
///
/// A task starts before all waiting tasks of lower priority, whenever they came, with one exception: of eight starts in
/// a row that go ahead of waiting tasks of lower priority, the eighth is left to those. So however many tasks of high
/// priority come, of 64 starts at least 7 are of normal priority and one is of low priority, if such tasks wait. Tasks
/// of the same priority start in the order in which they came.
///
/// Priorities order what waits in the pool's queue. They do not stop a task that runs, and a task that a worker joins
/// may run at once. What a worker of a cpu pool submits to its own pool without a priority waits apart, and takes turns
/// with the queue.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, Priority};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::io("reports").threads(2).build()?;
/// let nightly = pool.with_priority(Priority::Low).submit(|| "all of them");
/// let asked_for = pool.with_priority(Priority::High).submit(|| "this one");
/// assert_eq!(asked_for.join()?, "this one");
/// assert_eq!(nightly.join()?, "all of them");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Before tasks of normal priority.
    High,
    /// That of tasks that are given none.
    #[default]
    Normal,
    /// After tasks of normal priority.
    Low,
}

/// The time by which a task must have started: a [`Duration`] from now on, or an [`Instant`].
///
/// A task that has not started by then ends with [`TaskError::TimedOut`](crate::TaskError::TimedOut), and its function
/// never runs. One that runs by then is asked to stop: it sees [`cancelled()`](crate::cancelled), and its result is what
/// it returns.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// `None` if it is later than the clock can count.
    at: Option<Instant>,
    after: Duration,
}

impl From<Duration> for Deadline {
    fn from(after: Duration) -> Self {
        Self { at: Instant::now().checked_add(after), after }
    }
}

impl From<Instant> for Deadline {
    fn from(at: Instant) -> Self {
        Self { at: Some(at), after: at.saturating_duration_since(Instant::now()) }
    }
}

/// The options of a submission.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queueing {
    pub(crate) deadline: Option<Deadline>,
    pub(crate) priority: Priority,
}

impl Queueing {
    /// With a deadline in this many nanoseconds, or without one if they are 0.
    #[inline]
    pub(crate) fn within(nanoseconds: u64) -> Self {
        let deadline = (nanoseconds > 0).then(|| Deadline::from(Duration::from_nanos(nanoseconds)));
        Self { deadline, priority: Priority::Normal }
    }

    /// When a wait for a place in the queue must end.
    #[inline]
    pub(crate) fn until(&self) -> Option<Instant> {
        self.deadline.and_then(|deadline| deadline.at)
    }
}

impl<T> Task<T> {
    /// As [`start`](Self::start), with the options of the submission.
    #[inline]
    pub(crate) fn queue<F>(core: &Arc<Core>, slot: Arc<Slot<F, T>>, queueing: Queueing) -> Self
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        match queueing {
            Queueing { deadline: None, priority: Priority::Normal } => Self::start(core, slot),
            _ => Self::queue_with(core, slot, queueing),
        }
    }

    #[cold]
    fn queue_with<F>(core: &Arc<Core>, slot: Arc<Slot<F, T>>, Queueing { deadline, priority }: Queueing) -> Self
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        if let Some(Deadline { at: Some(at), after }) = deadline
            && at <= Instant::now()
        {
            slot.end_late(after);
            return Self::from_handle(slot);
        }
        let task = if priority == Priority::Normal || config::serial() {
            Self::start(core, slot)
        } else {
            core.push_prioritized(slot.clone(), priority);
            Self::from_handle(slot)
        };
        if let Some(Deadline { at: Some(at), after }) = deadline
            && !task.is_finished()
        {
            timer::after_until(after, at, task.abort_handle().into_task() as Weak<dyn Expire>);
        }
        task
    }
}
