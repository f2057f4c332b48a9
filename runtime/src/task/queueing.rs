//! How a task is queued: [`Priority`] and [`Deadline`].

use std::sync::Arc;
use std::sync::Weak;
use std::time::{Duration, Instant};

use super::Task;
use super::slot::Slot;
#[cfg(feature = "process")]
use super::slot::TaskWork;
use crate::error::TaskError;
use crate::pool::Core;
#[cfg(feature = "process")]
use crate::pool::Job;
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
/// it returns. If it waits for a map or the chunks of a call, of which no more start, it ends with that error as well.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// `None` if it is later than the clock can count.
    at: Option<Instant>,
    after: Duration,
}

impl Deadline {
    /// How long the task had, if the deadline is over.
    pub(crate) fn missed(self) -> Option<Duration> {
        self.at.filter(|at| *at <= Instant::now()).map(|_| self.after)
    }

    /// When it is over, and how long the task had; `None` if it is later than the clock can count.
    #[cfg(feature = "process")]
    pub(crate) fn end(self) -> Option<(Instant, Duration)> {
        self.at.map(|at| (at, self.after))
    }
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

    /// The error of a direct call that this error ended. Nobody else can cancel it, so it was its deadline.
    pub(crate) fn late_or(&self, error: TaskError) -> TaskError {
        match (&error, self.deadline.and_then(Deadline::missed)) {
            (TaskError::Cancelled, Some(after)) => TaskError::TimedOut { after },
            _ => error,
        }
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
        if let Some(after) = deadline.and_then(Deadline::missed) {
            slot.end_late(after);
            return Self::from_handle(slot);
        }
        let task = if priority == Priority::Normal || config::serial() {
            Self::start(core, slot)
        } else {
            core.push_prioritized(slot.clone(), priority);
            Self::from_handle(slot)
        };
        task.start_by(deadline);
        task
    }

    /// Queues a task that only the pool's own threads run, as they send it to a worker process.
    #[cfg(feature = "process")]
    pub(crate) fn queue_job<F>(
        core: &Arc<Core>,
        slot: Arc<Slot<F, T>>,
        Queueing { deadline, priority }: Queueing,
    ) -> Self
    where
        F: TaskWork<T> + 'static,
        T: 'static,
        Slot<F, T>: Job,
    {
        if let Some(after) = deadline.and_then(Deadline::missed) {
            slot.end_late(after);
            return Self::from_handle(slot);
        }
        match priority {
            Priority::Normal => core.push(slot.clone()),
            _ => core.push_prioritized(slot.clone(), priority),
        }
        let task = Self::from_handle(slot);
        task.start_by(deadline);
        task
    }

    /// Ends the task at its deadline if it has not started by then.
    pub(crate) fn start_by(&self, deadline: Option<Deadline>) {
        if let Some(Deadline { at: Some(at), after }) = deadline
            && !self.is_finished()
        {
            timer::after_until(after, at, self.abort_handle().into_task() as Weak<dyn Expire>);
        }
    }
}
