//! Calling workers of a pool: those that sleep, else new ones.
//!
//! Who is called is settled under the queue's lock, so that nobody is called twice. Ringing bells and starting threads
//! takes microseconds, and happens without it.

use std::ops::Range;
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;

use super::{Core, Kind, spawn_retry};
use crate::pool::queue::sleepers::PendingWakes;
use crate::pool::queue::state::State;
use crate::sys::reserve;

/// Bytes of stack of a thread that reads what a worker process has made, which may be nested as deep as that process'
/// own stack allows. Reading takes more of it than writing. What is not used costs no memory.
const DECODE_STACK: usize = 64 << 20;

/// What a thread does from its start to its end; it is told what the queue's count was when it was called.
pub(super) type ThreadMain = fn(&Arc<Core>, u64);

/// Workers that are called and do not know it yet.
#[must_use = "they must be sent for"]
pub(super) struct WakePlan {
    sleeping: PendingWakes,
    new: NewThreads,
}

impl WakePlan {
    /// Up to `count` workers, as far as there are jobs that nobody else is on the way for.
    #[inline]
    pub(super) fn new(core: &Core, state: &mut State, count: usize) -> Self {
        let wanted = core.queue.missing_workers(state);
        let sleeping = state.begin_wake(wanted.min(count));
        state.jobs_finished_at_wake = state.jobs_finished;
        // Those in their start hook will come, and sooner than another new one.
        let missing = (wanted - sleeping.len()).saturating_sub(state.in_start_hook);
        let new = NewThreads::reserve(core, state, missing.min(count - sleeping.len()));
        Self { sleeping, new }
    }

    /// Has them come; new ones begin this main.
    #[inline]
    pub(super) fn execute(self, core: &Arc<Core>, main: ThreadMain) {
        self.sleeping.notify();
        if self.new.is_capped || !self.new.indices.is_empty() {
            // One that is refused is deferred.
            let _ = self.new.start(core, main);
        }
    }
}

/// Threads that are counted and not started yet.
struct NewThreads {
    indices: Range<usize>,
    /// What the queue's count was when they were called.
    jobs_finished: u64,
    /// Whether more are held back, and somebody must look after that.
    is_capped: bool,
}

impl NewThreads {
    /// Up to `count`, as far as the limit allows; those that step aside do not count.
    #[inline]
    fn reserve(core: &Core, state: &mut State, count: usize) -> Self {
        let wanted = count;
        let count = wanted.min(state.max_threads(core.threads).saturating_sub(state.threads));
        let is_capped = count < wanted && state.blocked > state.max_spares && state.defer_spawn(false);
        let first = state.next_thread_index;
        state.threads += count;
        state.starting += count;
        state.next_thread_index += count;
        Self { indices: first..first + count, jobs_finished: state.jobs_finished, is_capped }
    }

    fn start(self, core: &Arc<Core>, main: ThreadMain) -> std::io::Result<()> {
        let Self { indices, jobs_finished, is_capped } = self;
        if is_capped {
            core.retry_spawns_after(spawn_retry::CAPPED_PAUSE);
        }
        for index in indices.clone() {
            let pool = Arc::clone(core);
            let mut thread = std::thread::Builder::new().name(core.thread_name(index));
            if core.kind == Kind::Process {
                thread = thread.stack_size(DECODE_STACK);
            }
            let spawned = thread.spawn(move || main(&pool, jobs_finished));
            match spawned {
                Ok(handle) => core.keep_join_handle(handle),
                Err(error) => {
                    let mut state = core.queue.lock();
                    let refused = indices.end - index;
                    state.threads -= refused;
                    state.starting -= refused;
                    core.queue.drain_progress.notify_all();
                    let is_first = state.defer_spawn(true);
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
    /// Keeps a thread's handle until the pool ends.
    pub(super) fn keep_join_handle(&self, handle: JoinHandle<()>) {
        let mut ended = Vec::new();
        let mut state = reserve::lock_with_room(|| self.queue.lock(), |state| &mut state.handles, 1);
        state.handles.push(handle);
        if state.handles.len() > 2 * state.threads {
            drop(state);
            let mut state = reserve::lock_to_copy(|| self.queue.lock(), |state| state.handles.len(), &mut ended);
            ended.extend(state.handles.extract_if(.., |old| old.is_finished()));
        }
        // Handles of threads that have ended are freed here, while the lock is free.
        drop(ended);
    }
}

/// Starts up to `count` threads, as far as the limit allows.
pub(super) fn spawn_threads(
    core: &Arc<Core>,
    mut state: MutexGuard<'_, State>,
    count: usize,
    main: ThreadMain,
) -> std::io::Result<()> {
    let new = NewThreads::reserve(core, &mut state, count);
    drop(state);
    new.start(core, main)
}
