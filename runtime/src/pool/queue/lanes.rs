//! [`Lanes`]: the waiting tasks of high and of low priority, and the order in which tasks of all priorities start.
//!
//! Jobs of normal priority are in `State::jobs`. While both lanes are empty, which is all the time in a pool that is
//! given no priorities, none of this runs.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use super::Queue;
use super::state::State;
use crate::pool::job::Job;
use crate::sys::reserve;
use crate::task::queueing::Priority;

/// Of so many starts that go ahead of waiting tasks of lower priority, the last is left to those. So at least 7 of 8
/// starts keep the order of priorities, and tasks of normal and of low priority have at least 7 and 1 of 64.
const STARTS: u32 = 8;

type List = VecDeque<Arc<dyn Job>>;

#[derive(Default)]
pub(crate) struct Lanes {
    high: List,
    low: List,
    /// Starts from `high` ahead of others, since one was left to those.
    high_starts: u32,
    /// Starts of normal priority ahead of `low`, since one was left to that.
    normal_starts: u32,
}

impl Lanes {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.high.len() + self.low.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn lists(&self) -> [&List; 2] {
        [&self.high, &self.low]
    }

    pub(crate) fn lists_mut(&mut self) -> [&mut List; 2] {
        [&mut self.high, &mut self.low]
    }

    /// Takes the job that starts next of both lanes and of the jobs of normal priority.
    #[cold]
    pub(crate) fn take_next(&mut self, normal: &mut List) -> Option<Arc<dyn Job>> {
        let others_wait = !normal.is_empty() || !self.low.is_empty();
        if !self.high.is_empty() && goes_first(&mut self.high_starts, others_wait) {
            return self.high.pop_front();
        }
        if !normal.is_empty() && goes_first(&mut self.normal_starts, !self.low.is_empty()) {
            return normal.pop_front();
        }
        self.low.pop_front()
    }
}

/// Whether a waiting task of some priority starts before those of lower priority, if any of them wait.
fn goes_first(starts: &mut u32, others_wait: bool) -> bool {
    *starts += u32::from(others_wait);
    let goes_first = *starts < STARTS;
    if !goes_first {
        *starts = 0;
    }
    goes_first
}

impl State {
    fn list_mut(&mut self, priority: Priority) -> &mut List {
        match priority {
            Priority::High => &mut self.lanes.high,
            Priority::Normal => &mut self.jobs,
            Priority::Low => &mut self.lanes.low,
        }
    }
}

impl Queue {
    /// As [`add`](Self::add), for one task of high or low priority.
    pub(crate) fn add_prioritized(
        &self,
        task: Arc<dyn Job>,
        priority: Priority,
    ) -> Result<MutexGuard<'_, State>, Arc<dyn Job>> {
        let mut state = reserve::lock_with_capacity(|| self.lock(), |state| state.list_mut(priority), 1);
        if state.closed {
            return Err(task);
        }
        state.list_mut(priority).push_back(task);
        self.queued.store(state.shared_jobs(), Ordering::Release);
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::JobEnd;

    struct Numbered;

    impl Job for Numbered {
        fn run(self: Arc<Self>) -> JobEnd {
            JobEnd::Ran
        }

        fn is_dead(&self) -> bool {
            false
        }

        fn abandon(&self, _: bool) {}
    }

    #[test]
    fn no_priority_waits_without_end() {
        let job = || Arc::new(Numbered) as Arc<dyn Job>;
        let (mut lanes, mut normal) = (Lanes::default(), List::new());
        let mut starts = [0; 3];
        for _ in 0..64 {
            // All three wait at each start.
            lanes.high.push_back(job());
            normal.push_back(job());
            lanes.low.push_back(job());
            let before = [lanes.high.len(), normal.len(), lanes.low.len()];
            assert!(lanes.take_next(&mut normal).is_some());
            let after = [lanes.high.len(), normal.len(), lanes.low.len()];
            starts
                .iter_mut()
                .zip(before.iter().zip(after))
                .for_each(|(starts, (before, after))| *starts += before - after);
        }
        assert_eq!(starts, [56, 7, 1]);
    }
}
