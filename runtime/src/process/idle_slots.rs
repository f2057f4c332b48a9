//! The seats of a pool that nobody is on: workers that wait for work.
//!
//! A thread of the pool takes one for each job. A direct call need not wait for such a thread: where a worker is idle and
//! nothing is queued, the caller takes the seat itself, and the call costs two wake-ups instead of four.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::child::{self, Host, Terms};
use super::start_limit::Starts;
use super::worker_slot::{self, Seat};
use crate::sys::owner::Owner;
use crate::sys::reserve;

pub(crate) struct Stable {
    owner: Owner,
    terms: Terms,
    starts: Arc<Starts>,
    free: Mutex<Free>,
}

#[derive(Default)]
#[allow(clippy::vec_box, reason = "they are moved often")]
struct Free {
    /// The one that was used last comes last, and is taken first: its worker is the most awake.
    seats: Vec<Box<Seat>>,
    /// Whether the pool is at its end, and workers that come back are to end.
    closed: bool,
}

impl Stable {
    pub(crate) fn new(terms: Terms) -> Self {
        Self { owner: Owner::this_process(), terms, starts: Arc::default(), free: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a seat, if need be on a new one, whose worker starts with its first call.
    pub(crate) fn seated<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut free = self.lock();
        let ready = free.seats.iter().rposition(|seat| seat.host.is_some());
        let seat = ready.map(|place| free.seats.remove(place)).or_else(|| free.seats.pop());
        drop(free);
        self.sit(seat.unwrap_or_else(|| Box::new(Seat::new(self.terms, self.owner, Arc::clone(&self.starts)))), work)
    }

    /// Runs `work` on a seat whose worker waits for it, if there is one; gives whether there is shared memory to give
    /// back later, too.
    pub(crate) fn try_seated<T>(&self, work: impl FnOnce() -> T) -> Option<(T, bool)> {
        let mut free = self.lock();
        let ready = free.seats.iter().rposition(|seat| seat.is_ready())?;
        let seat = free.seats.remove(ready);
        drop(free);
        let result = self.sit(seat, work);
        Some((result, self.lock().seats.last().is_some_and(|seat| seat.holds_memory())))
    }

    fn sit<T>(&self, seat: Box<Seat>, work: impl FnOnce() -> T) -> T {
        let _up = Up(self, worker_slot::sit(Some(seat)));
        work()
    }

    /// Takes a seat back.
    fn put(&self, seat: Box<Seat>) {
        let mut free = reserve::lock_with_capacity(|| self.lock(), |free| &mut free.seats, 1);
        // Workers that waited for others in the midst of a call may have made one too many.
        let spare =
            seat.host.is_some() && free.seats.iter().filter(|seat| seat.host.is_some()).count() >= self.terms.workers;
        if free.closed || spare {
            drop(free);
            seat.close();
        } else {
            free.seats.push(seat);
        }
    }

    /// Gives memory back that workers who wait do not need.
    pub(crate) fn tidy(&self) {
        self.lock().seats.iter_mut().for_each(|seat| seat.tidy());
    }

    /// Ends all workers; those that come back later, then.
    pub(crate) fn close(&self) {
        Self::end(self.take_all());
    }

    /// Kills the workers that run something or start, and ends the others.
    pub(crate) fn cancel(&self) {
        let idle = self.take_all();
        // The number of one that has ended may be that of a worker that has started since.
        let idle_processes = idle.iter().filter_map(|seat| seat.host.as_ref()).map(Host::process);
        let pids: Vec<u32> =
            idle_processes.filter(|process| process.exit().is_none()).map(|process| process.id()).collect();
        self.starts.cancel(&pids);
        Self::end(idle);
    }

    /// Takes all workers that wait, for good.
    #[allow(clippy::vec_box, reason = "as in `Free`")]
    fn take_all(&self) -> Vec<Box<Seat>> {
        let mut free = self.lock();
        free.closed = true;
        std::mem::take(&mut free.seats)
    }

    /// Ends workers, all at once and in one time: those that do not answer are killed when it is over.
    #[allow(clippy::vec_box, reason = "as in `Free`")]
    fn end(seats: Vec<Box<Seat>>) {
        seats.iter().for_each(|seat| seat.ask_to_close());
        let deadline = child::farewell();
        seats.into_iter().for_each(|seat| seat.close_by(deadline));
    }
}

/// Leaves the seat when dropped.
struct Up<'a>(&'a Stable, Option<Box<Seat>>);

impl Drop for Up<'_> {
    fn drop(&mut self) {
        // The one before is that of a call around this one.
        if let Some(seat) = worker_slot::sit(self.1.take()) {
            self.0.put(seat);
        }
    }
}
