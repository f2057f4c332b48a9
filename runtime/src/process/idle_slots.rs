//! [`IdleSlots`]: the worker slots of a pool that run no call.
//!
//! A thread of the pool takes a slot for each job. A direct call does not need such a thread: if a worker is idle and
//! no job is queued, the caller takes the slot itself, and the call costs two thread wake-ups instead of four.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::child::{self, Child};
use super::current_slot;
use super::limits::WorkerLimits;
use super::start_limit::StartLimiter;
use super::worker_slot::WorkerSlot;
use crate::sys::mutex;
use crate::sys::owner::Owner;
use crate::sys::reserve;

pub(crate) struct IdleSlots {
    owner: Owner,
    limits: WorkerLimits,
    /// The number of workers. [`resize`](Self::resize) changes it.
    workers: AtomicUsize,
    limiter: Arc<StartLimiter>,
    idle: Mutex<IdleState>,
}

#[derive(Default)]
#[allow(clippy::vec_box, reason = "they are moved often")]
struct IdleState {
    /// The slot that was used last is at the end and is taken first, because its worker ran most recently.
    slots: Vec<Box<WorkerSlot>>,
    /// Whether the pool is closed, so that workers that come back are ended.
    closed: bool,
    /// Slots that run a call.
    in_use: usize,
}

impl IdleSlots {
    pub(crate) fn new(limits: WorkerLimits) -> Self {
        Self {
            owner: Owner::this_process(),
            limits,
            workers: AtomicUsize::new(limits.workers),
            limiter: Arc::default(),
            idle: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, IdleState> {
        mutex::lock(&self.idle)
    }

    /// Runs `work` on a slot: on one with a worker, else on one without, else on a new one.
    pub(crate) fn run_on_slot<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut idle = self.lock();
        let ready = idle.slots.iter().rposition(|slot| slot.child.is_some());
        let slot = ready.map(|place| idle.slots.remove(place)).or_else(|| idle.slots.pop());
        idle.in_use += 1;
        drop(idle);
        self.run_on(
            slot.unwrap_or_else(|| Box::new(WorkerSlot::new(self.limits, self.owner, Arc::clone(&self.limiter)))),
            work,
        )
    }

    /// Runs `work` on a slot whose worker is ready, if there is one. Also returns whether a slot holds shared memory to
    /// release later.
    pub(crate) fn try_run_on_idle<T>(&self, work: impl FnOnce() -> T) -> Option<(T, bool)> {
        let mut idle = self.lock();
        let ready = idle.slots.iter().rposition(|slot| slot.is_ready())?;
        let slot = idle.slots.remove(ready);
        idle.in_use += 1;
        drop(idle);
        let result = self.run_on(slot, work);
        Some((result, self.lock().slots.last().is_some_and(|slot| slot.holds_memory())))
    }

    fn run_on<T>(&self, slot: Box<WorkerSlot>, work: impl FnOnce() -> T) -> T {
        let _guard = SlotGuard(self, current_slot::replace_current(Some(slot)));
        work()
    }

    /// Puts a slot back.
    fn put_back(&self, mut slot: Box<WorkerSlot>) {
        if self.limits.idle_timeout.is_some() {
            slot.idle_since = Some(Instant::now());
        }
        let mut idle = reserve::lock_with_capacity(|| self.lock(), |idle| &mut idle.slots, 1);
        idle.in_use -= 1;
        // A thread that waits in the middle of a call is replaced by another, so there may be one worker too many.
        let spare = slot.child.is_some()
            && idle.slots.iter().filter(|slot| slot.child.is_some()).count() >= self.workers.load(Ordering::Relaxed);
        if idle.closed || spare {
            drop(idle);
            slot.close();
        } else {
            idle.slots.push(slot);
        }
    }

    /// Releases shared memory of idle workers that is not in use.
    pub(crate) fn release_memory(&self) {
        self.lock().slots.iter_mut().for_each(|slot| slot.release_memory());
    }

    /// Ends the workers that have been idle for the pool's idle timeout. Returns whether there are others, which may be
    /// so later.
    pub(crate) fn end_idle(&self) -> bool {
        let Some(limit) = self.limits.idle_timeout else { return false };
        let mut ended = Vec::new();
        let mut idle = reserve::lock_with_buffer(|| self.lock(), |idle| idle.slots.len(), &mut ended);
        let is_due = |slot: &WorkerSlot| slot.idle_since.is_some_and(|since| since.elapsed() >= limit);
        ended.extend(idle.slots.extract_if(.., |slot| is_due(slot)));
        let has_others = idle.in_use > 0 || idle.slots.iter().any(|slot| slot.child.is_some());
        drop(idle);
        Self::end(ended);
        has_others
    }

    /// Changes the number of workers, and ends idle ones beyond it: those first that were idle for longest.
    pub(crate) fn resize(&self, workers: usize) {
        self.workers.store(workers, Ordering::Relaxed);
        let mut ended = Vec::new();
        let mut idle = reserve::lock_with_buffer(|| self.lock(), |idle| idle.slots.len(), &mut ended);
        let mut excess = idle.slots.iter().filter(|slot| slot.child.is_some()).count().saturating_sub(workers);
        ended.extend(idle.slots.extract_if(.., |slot| {
            let ends = excess > 0 && slot.child.is_some();
            excess -= usize::from(ends);
            ends
        }));
        drop(idle);
        Self::end(ended);
    }

    /// Ends all idle workers now, and the others when they come back.
    pub(crate) fn close(&self) {
        Self::end(self.take_all());
    }

    /// Kills the workers that run calls or start, and ends the idle ones.
    pub(crate) fn cancel(&self) {
        let idle = self.take_all();
        // The id of a worker that has exited may belong to a worker that has started since.
        let idle_processes = idle.iter().filter_map(|slot| slot.child.as_ref()).map(Child::process);
        let pids: Vec<u32> =
            idle_processes.filter(|process| process.exit().is_none()).map(|process| process.id()).collect();
        self.limiter.cancel(&pids);
        Self::end(idle);
    }

    /// Takes all idle slots, and closes the pool.
    #[allow(clippy::vec_box, reason = "as in `IdleState`")]
    fn take_all(&self) -> Vec<Box<WorkerSlot>> {
        let mut idle = self.lock();
        idle.closed = true;
        std::mem::take(&mut idle.slots)
    }

    /// Ends workers, all at the same time. Those that have not exited at the deadline are killed.
    #[allow(clippy::vec_box, reason = "as in `IdleState`")]
    fn end(slots: Vec<Box<WorkerSlot>>) {
        slots.iter().for_each(|slot| slot.ask_to_close());
        let deadline = child::close_deadline();
        slots.into_iter().for_each(|slot| slot.close_by(deadline));
    }
}

/// Puts the current slot back when it is dropped, and restores the one before.
struct SlotGuard<'a>(&'a IdleSlots, Option<Box<WorkerSlot>>);

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        // The slot before is that of a call around this one.
        if let Some(slot) = current_slot::replace_current(self.1.take()) {
            self.0.put_back(slot);
        }
    }
}
