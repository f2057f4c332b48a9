//! The window of a map whose results are taken one by one: how many items a task holds, and how many are in flight.

use std::time::{Duration, Instant};

use super::Grain;
use crate::pool::{Core, Kind};
use crate::task::slot::TaskOptions;

/// The target of a task of several items.
const TASK_TARGET: Duration = Duration::from_micros(100);
/// The most items in a task.
const MAX_BATCH: usize = 4_096;

/// Limits the items in flight: those that were pulled and whose results were not yet taken.
pub(super) struct TaskWindow {
    in_flight: usize,
    /// The limit of `in_flight`; `None` is as many as keep the workers busy.
    buffer: Option<usize>,
    workers: usize,
    /// The items of the next task.
    batch_len: usize,
    /// Whether `batch_len` does not follow the measured time.
    has_fixed_batch: bool,
    /// How long the items of the last task took to be pulled.
    pulled_in: Duration,
    /// How long the last task took whose results were taken.
    ran_in: Option<Duration>,
}

impl TaskWindow {
    pub(super) fn new(core: &Core, grain: Grain, options: TaskOptions, buffer: Option<usize>) -> Self {
        Self {
            in_flight: 0,
            buffer,
            workers: core.threads(),
            batch_len: match grain {
                // With a time limit each item is a task, so that the limit is its own.
                Grain::Size(size) if options.timeout.is_none() => size,
                _ => 1,
            },
            // An item on an io pool may wait for long, so none waits behind another.
            has_fixed_batch: core.kind() == Kind::Io || options.timeout.is_some() || matches!(grain, Grain::Size(_)),
            pulled_in: Duration::ZERO,
            ran_in: None,
        }
    }

    /// The number of items in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Pulls the items of the next task; none if the window is full while so many `tasks` are in flight.
    ///
    /// The second value tells whether the source may have more.
    pub(super) fn pull<A>(&mut self, tasks: usize, source: &mut impl Iterator<Item = A>) -> (Vec<A>, bool) {
        let size = self.next_len(tasks);
        let mut items = Vec::with_capacity(size.min(source.size_hint().0));
        let begun = Instant::now();
        let mut has_more = true;
        while items.len() < size {
            let Some(item) = source.next() else {
                has_more = false;
                break;
            };
            items.push(item);
            // A slow source: its items are not held back until there are more of them.
            if items.len().is_power_of_two() && !self.has_fixed_batch && begun.elapsed() > TASK_TARGET {
                break;
            }
        }
        if !items.is_empty() {
            self.pulled_in = begun.elapsed();
        }
        self.in_flight += items.len();
        (items, has_more)
    }

    /// Whether a task ends before the source has given the items of another one: there is nothing to read ahead.
    pub(super) fn is_source_slower(&self) -> bool {
        self.ran_in.is_some_and(|ran_in| self.pulled_in > ran_in)
    }

    fn next_len(&self, tasks: usize) -> usize {
        match self.buffer {
            // Small enough that each worker has some of the items in flight.
            Some(buffer) => {
                let room = buffer.saturating_sub(self.in_flight);
                self.batch_len.min((buffer / (2 * self.workers)).max(1)).min(room)
            }
            // Two tasks a worker: one that runs, and one to take next.
            None if tasks < 2 * self.workers => self.batch_len,
            None => 0,
        }
    }

    /// A result was taken.
    pub(super) fn took_one(&mut self) {
        self.in_flight -= 1;
    }

    /// Adjusts the length of the next tasks after one of `items` items that took `took`.
    pub(super) fn adjust(&mut self, items: usize, took: Duration) {
        self.ran_in = Some(took);
        if self.has_fixed_batch {
            return;
        }
        let per_item = took.as_nanos() / (items.max(1) as u128);
        let fitting = TASK_TARGET.as_nanos().checked_div(per_item).unwrap_or(u128::MAX);
        // At most twice the last length: a single measurement may be far off.
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX).min(self.batch_len * 2);
        self.batch_len = fitting.clamp(1, MAX_BATCH);
    }
}
