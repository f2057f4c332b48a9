//! Calling workers of a crew: those that sleep, else new ones.
//!
//! Who is called is settled under the queue's lock, so that nobody is called twice. Ringing bells and starting threads
//! takes microseconds, and happens without it.

use std::ops::Range;
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;

use super::{Core, Kind, spawn_retry};
use crate::pool::queue::sleepers::Called;
use crate::pool::queue::state::State;
use crate::sys::reserve;

/// Bytes of stack of a thread that reads what a worker process has made, which may be nested as deep as that process'
/// own stack allows. Reading takes more of it than writing. What is not used costs no memory.
const READING_STACK: usize = 64 << 20;

/// What a thread does from its start to its end; it is told what the queue's count was when it was called.
pub(super) type Life = fn(&Arc<Core>, u64);

/// Workers that are called and do not know it yet.
#[must_use = "they must be sent for"]
pub(super) struct Summons {
    sleeping: Called,
    new: Recruits,
}

impl Summons {
    /// Up to `count` workers, as far as there are jobs that nobody else is on the way for.
    #[inline]
    pub(super) fn of(core: &Core, state: &mut State, count: usize) -> Self {
        let wanted = core.queue.wanted(state);
        let sleeping = state.call(wanted.min(count));
        state.called_at = state.retakes;
        // Those in their start hook will come, and sooner than another new one.
        let missing = (wanted - sleeping.len()).saturating_sub(state.hooked);
        let new = Recruits::of(core, state, missing.min(count - sleeping.len()));
        Self { sleeping, new }
    }

    /// Has them come; new ones begin this life.
    #[inline]
    pub(super) fn send(self, core: &Arc<Core>, life: Life) {
        self.sleeping.ring();
        if self.new.held_back || !self.new.indices.is_empty() {
            // One that is refused is deferred.
            let _ = self.new.start(core, life);
        }
    }
}

/// Threads that are counted and not started yet.
struct Recruits {
    indices: Range<usize>,
    /// What the queue's count was when they were called.
    retakes: u64,
    /// Whether more are held back, and somebody must look after that.
    held_back: bool,
}

impl Recruits {
    /// Up to `count`, as far as the limit allows; those that step aside do not count.
    #[inline]
    fn of(core: &Core, state: &mut State, count: usize) -> Self {
        let wanted = count;
        let count = wanted.min(state.most_threads(core.spare_limit()).saturating_sub(state.threads));
        let held_back = count < wanted && state.aside > state.spares && state.defer(false);
        let first = state.next_index;
        state.threads += count;
        state.coming += count;
        state.next_index += count;
        Self { indices: first..first + count, retakes: state.retakes, held_back }
    }

    fn start(self, core: &Arc<Core>, life: Life) -> std::io::Result<()> {
        let Self { indices, retakes, held_back } = self;
        if held_back {
            core.look_later(spawn_retry::STANDSTILL);
        }
        for index in indices.clone() {
            let crew = Arc::clone(core);
            let mut thread = std::thread::Builder::new().name(core.thread_name(index));
            if core.kind == Kind::Process {
                thread = thread.stack_size(READING_STACK);
            }
            let spawned = thread.spawn(move || life(&crew, retakes));
            match spawned {
                Ok(handle) => core.keep_handle(handle),
                Err(error) => {
                    let mut state = core.queue.lock();
                    let refused = indices.end - index;
                    state.threads -= refused;
                    state.coming -= refused;
                    core.queue.gone.notify_all();
                    let is_first = state.defer(true);
                    drop(state);
                    if is_first {
                        core.look_later(spawn_retry::SHORTEST);
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
    pub(super) fn keep_handle(&self, handle: JoinHandle<()>) {
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

/// Starts up to `count` threads, as far as the limit allows.
pub(super) fn start_threads(
    core: &Arc<Core>,
    mut state: MutexGuard<'_, State>,
    count: usize,
    life: Life,
) -> std::io::Result<()> {
    let new = Recruits::of(core, &mut state, count);
    drop(state);
    new.start(core, life)
}
