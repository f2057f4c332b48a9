//! [`QueueLimit`]: how many tasks may wait in a pool's queue, and who waits to submit one more.
//!
//! A task that is submitted to a pool with a limit holds a [`QueuePlace`] until it starts, or ends without having
//! started: the place is among what the task's closure has captured. A place that is given back goes to the submission
//! that has waited longest, without being free in between. So nothing waits while a place is free.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Instant;

use super::runtime_warning::warn_if_waiting;
use super::{Core, current_worker};
use crate::sys::{mutex, park, reserve, unwind};
use crate::task::alarm::Alarm;

/// The limit of a pool, and the places in use.
pub(crate) struct QueueLimit {
    limit: usize,
    places: Mutex<Places>,
}

struct Places {
    /// Places in use: equal to the limit while anything waits.
    taken: usize,
    /// The submissions that wait, by their numbers, which rise.
    waiting: VecDeque<(u64, Waker)>,
    next_number: u64,
}

/// A task's place in the queue. Dropping it gives the place back.
pub(crate) struct QueuePlace(Arc<QueueLimit>);

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl QueueLimit {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let places = Places { taken: 0, waiting: VecDeque::new(), next_number: 0 };
        Arc::new(Self { limit, places: Mutex::new(places) })
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        mutex::lock(&self.places)
    }

    fn try_take(self: &Arc<Self>) -> Option<QueuePlace> {
        let mut places = self.lock();
        let is_free = places.taken < self.limit;
        places.taken += usize::from(is_free);
        drop(places);
        is_free.then(|| QueuePlace(Arc::clone(self)))
    }

    fn give_back(&self) {
        let mut places = self.lock();
        let next = places.waiting.pop_front();
        places.taken -= usize::from(next.is_none());
        drop(places);
        if let Some((_, waker)) = next {
            // A place is given back where a task starts, which a waker that panics must not fail.
            unwind::contain(|| waker.wake());
        }
    }
}

/// A submission that waits for a place. Dropped, it does not wait any more.
struct PlaceWait {
    limit: Arc<QueueLimit>,
    /// Its number among those that wait, once it does.
    number: Option<u64>,
}

impl PlaceWait {
    fn new(limit: &Arc<QueueLimit>) -> Self {
        Self { limit: Arc::clone(limit), number: None }
    }

    /// The place, if it has one now. Else `waker` is woken once it has.
    fn poll(&mut self, waker: &Waker) -> Option<QueuePlace> {
        let waker = waker.clone();
        let mut places = reserve::lock_with_capacity(|| self.limit.lock(), |places| &mut places.waiting, 1);
        let before = match self.number {
            Some(number) => match places.waiting.binary_search_by_key(&number, |(number, _)| *number) {
                Ok(index) => Some(std::mem::replace(&mut places.waiting[index].1, waker)),
                // The place was passed on to it.
                Err(_) => {
                    self.number = None;
                    drop(places);
                    return Some(QueuePlace(Arc::clone(&self.limit)));
                }
            },
            None if places.taken < self.limit.limit => {
                places.taken += 1;
                drop(places);
                return Some(QueuePlace(Arc::clone(&self.limit)));
            }
            None => {
                let number = places.next_number;
                places.next_number += 1;
                places.waiting.push_back((number, waker));
                self.number = Some(number);
                None
            }
        };
        // Dropping a waker runs user code, so the lock is released first.
        drop(places);
        drop(before);
        None
    }

    /// Whether a place was passed on to it.
    fn has_place(&self) -> bool {
        let number = self.number.unwrap_or(u64::MAX);
        self.limit.lock().waiting.binary_search_by_key(&number, |(number, _)| *number).is_err()
    }
}

impl Drop for PlaceWait {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut places = self.limit.lock();
        let found = places.waiting.binary_search_by_key(&number, |(number, _)| *number);
        let removed = found.ok().and_then(|index| places.waiting.remove(index));
        drop(places);
        if removed.is_none() {
            // It had a place already, which goes on to the next one.
            self.limit.give_back();
        }
        drop(removed);
    }
}

impl Core {
    /// The most tasks that may wait in the queue; `None` if there is no limit.
    pub(crate) fn queue_limit(&self) -> Option<usize> {
        self.queue_limit.as_ref().map(|limit| limit.limit)
    }

    /// A place in the queue, for which this thread waits until `deadline` at most; `None` if the queue has no limit, if
    /// none was given back in time, and on a worker of any pool while none is free. What the tasks in the queue need
    /// may be the end of the worker's own job, so a worker never waits.
    #[cfg_attr(debug_assertions, track_caller)]
    #[inline]
    pub(crate) fn wait_for_place(&self, deadline: Option<Instant>) -> Option<QueuePlace> {
        match &self.queue_limit {
            None => None,
            Some(limit) => self.wait_for_place_of(limit, deadline),
        }
    }

    #[cold]
    #[cfg_attr(debug_assertions, track_caller)]
    fn wait_for_place_of(&self, limit: &Arc<QueueLimit>, deadline: Option<Instant>) -> Option<QueuePlace> {
        // Before the lock, which a thread of the parent may have held at the fork.
        self.check_fork();
        if let Some(place) = limit.try_take() {
            return Some(place);
        }
        if current_worker::is_worker() {
            return None;
        }
        warn_if_waiting("submit", "await `submit_async`, or use `try_submit`, while the queue may be full");
        let (mut wait, waker) = (PlaceWait::new(limit), park::waker());
        wait.poll(&waker).or_else(|| {
            match deadline {
                None => park::wait_until(|| wait.has_place()),
                Some(deadline) if !park::wait_until_deadline(|| wait.has_place(), deadline) => return None,
                Some(_) => {}
            }
            wait.poll(&waker)
        })
    }

    /// A place in the queue, `None` if the queue has no limit.
    ///
    /// # Errors
    ///
    /// If the queue is full.
    pub(crate) fn try_place(&self) -> Result<Option<QueuePlace>, IsFull> {
        match &self.queue_limit {
            None => Ok(None),
            Some(limit) => {
                self.check_fork();
                limit.try_take().map(Some).ok_or(IsFull)
            }
        }
    }

    /// As [`wait_for_place`](Self::wait_for_place), without blocking the thread, and so also on a worker.
    pub(crate) async fn place(&self, deadline: Option<Instant>) -> Option<QueuePlace> {
        let mut wait = PlaceWait::new(self.queue_limit.as_ref()?);
        let mut alarm = None;
        poll_fn(|context| {
            self.check_fork();
            if let Some(place) = wait.poll(context.waker()) {
                return Poll::Ready(Some(place));
            }
            let Some(deadline) = deadline else { return Poll::Pending };
            // An alarm that goes off before it has the waker is seen by the look at the clock.
            alarm.get_or_insert_with(|| Alarm::at(deadline)).set(context.waker().clone());
            if Instant::now() < deadline { Poll::Pending } else { Poll::Ready(None) }
        })
        .await
    }
}

/// The queue has as many tasks as it may.
#[derive(Debug)]
pub(crate) struct IsFull;
