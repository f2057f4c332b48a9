//! Waking and spawning worker threads: [`WakePlan`].
//!
//! Which threads are woken or spawned is decided and counted under the queue's lock, so that no two threads are woken
//! for one job. Notifying and spawning them takes microseconds, and happens without the lock.

use std::ops::Range;
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;

use super::{Core, spawn_retry};
use crate::pool::queue::sleepers::PendingWakes;
use crate::pool::queue::state::State;
use crate::sys::{reserve, thread};

/// The main function of a thread, which is given its number in the pool.
pub(super) type ThreadMain = fn(&Arc<Core>, usize);

/// Workers that are counted as woken or starting, and neither notified nor spawned yet.
#[must_use = "the threads are counted, and must be woken and spawned"]
pub(super) struct WakePlan {
    woken: PendingWakes,
    new: NewThreads,
}

impl WakePlan {
    /// Plans up to `count` workers, as far as jobs need more. Parked ones come first.
    #[inline]
    pub(super) fn new(core: &Core, state: &mut State, count: usize) -> Self {
        let missing = core.queue.missing_workers(state);
        let woken = state.begin_wake(missing.min(count));
        // Threads in their start hook will serve the queue, and sooner than a new thread.
        let missing = (missing - woken.len()).saturating_sub(state.in_start_hook);
        let new = NewThreads::reserve(core, state, missing.min(count - woken.len()));
        Self { woken, new }
    }

    /// Notifies the parked workers and spawns the new ones with that main function.
    #[inline]
    pub(super) fn execute(self, core: &Arc<Core>, main: ThreadMain) {
        self.woken.notify();
        if self.new.is_capped || !self.new.indices.is_empty() {
            // A refused thread is left to the timer thread: see `spawn_retry.rs`.
            let _ = self.new.spawn(core, main);
        }
    }
}

/// Threads that are counted and not spawned yet.
struct NewThreads {
    indices: Range<usize>,
    /// Whether the limit of spare threads allowed fewer than wanted, and the timer thread must be asked to check the
    /// pool.
    is_capped: bool,
}

impl NewThreads {
    /// Counts up to `count` threads, as far as the limit allows. Blocked workers do not count towards the limit, as far
    /// as spare threads may run in their place.
    #[inline]
    fn reserve(core: &Core, state: &mut State, count: usize) -> Self {
        let wanted = count;
        let count = wanted.min(state.max_threads().saturating_sub(state.threads));
        let is_capped = count < wanted && state.blocked > state.max_spares && {
            let jobs_finished = core.queue.jobs_finished(state);
            state.defer_spawn(false, jobs_finished)
        };
        let first = state.next_thread_index;
        state.threads += count;
        state.starting += count;
        state.next_thread_index += count;
        Self { indices: first..first + count, is_capped }
    }

    fn spawn(self, core: &Arc<Core>, main: ThreadMain) -> std::io::Result<()> {
        let Self { indices, is_capped } = self;
        if is_capped {
            core.retry_spawns_after(spawn_retry::CAPPED_PAUSE);
        }
        for index in indices.clone() {
            let pool = Arc::clone(core);
            match thread::spawn(core.thread_name(index), core.stack, move || main(&pool, index)) {
                Ok(handle) => core.keep_join_handle(handle),
                Err(error) => {
                    let mut state = core.queue.lock();
                    let refused = indices.end - index;
                    state.threads -= refused;
                    state.starting -= refused;
                    core.queue.drain_progress.notify_all();
                    let jobs_finished = core.queue.jobs_finished(&state);
                    let is_first = state.defer_spawn(true, jobs_finished);
                    drop(state);
                    if is_first {
                        core.retry_spawns_after(spawn_retry::FIRST_PAUSE);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Core {
    /// Keeps a thread's handle, if it has one, until the pool is shut down.
    pub(super) fn keep_join_handle(&self, handle: Option<JoinHandle<()>>) {
        let Some(handle) = handle else { return };
        let mut ended = Vec::new();
        let mut state = reserve::lock_with_capacity(|| self.queue.lock(), |state| &mut state.handles, 1);
        state.handles.push(handle);
        if state.handles.len() > 2 * state.threads {
            drop(state);
            let mut state = reserve::lock_with_buffer(|| self.queue.lock(), |state| state.handles.len(), &mut ended);
            ended.extend(state.handles.extract_if(.., |old| old.is_finished()));
        }
        // Handles of threads that have ended are freed here, while the lock is free.
        drop(ended);
    }
}

/// Spawns up to `count` threads, as far as the limit allows.
///
/// # Errors
///
/// If the operating system refuses one. It is then left to the timer thread: see `spawn_retry.rs`.
pub(super) fn spawn_threads(
    core: &Arc<Core>,
    mut state: MutexGuard<'_, State>,
    count: usize,
    main: ThreadMain,
) -> std::io::Result<()> {
    let new = NewThreads::reserve(core, &mut state, count);
    drop(state);
    new.spawn(core, main)
}
