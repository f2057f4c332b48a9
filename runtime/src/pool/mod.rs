//! The workers of a pool: a [`Core`] is a queue of jobs and the threads that take from it.
//!
//! `cpu.rs` has rayon's work-stealing threads, `crew.rs` plain ones that may block. `books.rs` says who is where,
//! `queue.rs` hands out jobs and permits, `deferred.rs` tries starts of threads again, `extra.rs` starts one more for a
//! job of frames that no worker can begin, `sweep.rs` throws out jobs that nobody will run, `closing.rs` ends a pool.

#[cfg(feature = "tokio")]
pub(crate) mod async_tasks;
mod at_work;
pub(crate) mod block_in_place;
mod blocking;
mod closing;
pub(crate) mod config;
mod core_ref;
mod cpu;
mod current_worker;
mod extra_worker;
mod fit;
#[cfg(all(unix, not(miri)))]
mod fork_handlers;
#[cfg(feature = "polars")]
mod frames;
pub(crate) mod handle;
mod idle;
mod job;
mod joiner;
mod load;
#[cfg(feature = "polars")]
pub(crate) mod polars_threads;
#[cfg(feature = "process")]
mod process_job;
mod queue;
mod registry;
#[cfg(feature = "tokio")]
mod runtime_driver;
pub(crate) mod scoped;
pub(crate) mod shutdown;
pub(crate) mod span;
mod spawn;
mod spawn_retry;
mod spec;
pub(crate) mod timer;
pub(crate) mod worker_state;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};

use crate::error::panics;
#[cfg(feature = "process")]
use crate::process;
use crate::sys::fork;
#[cfg(feature = "polars")]
use crate::sys::try_once::TryOnce;
use crate::sys::unwind;

pub(crate) use at_work::at_work;
pub(crate) use core_ref::CoreRef;
pub(crate) use current_worker::{
    cpu_seat, is_cancelled_here, is_worker, run_claimed, sleep_until, wait_by, wait_until, wait_until_deadline,
    with_permit, work_for,
};
pub(crate) use extra_worker::LOOK;
#[cfg(feature = "process")]
pub(crate) use job::Ship;
pub(crate) use job::{Job, JobEnd};
pub(crate) use load::Demand;
pub(crate) use queue::permit::Permit;
pub(crate) use registry::all;
pub(crate) use spawn_retry::refusals;

pub use handle::{Pending, Pool, Stats};
pub use spec::BuildError;
pub(crate) use spec::{Hooks, Kind, Limits, Spec};

use queue::Queue;
use queue::state::State;
use spawn_retry::Looks;

/// Tasks that have ended, by how.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
}

/// A running pool.
pub(crate) struct Core {
    id: u64,
    kind: Kind,
    name: &'static str,
    default: bool,
    threads: usize,
    hooks: Hooks,
    has_hooks: bool,
    counts: Counts,
    queue: Queue,
    /// Whether what runs is asked to stop: [`closing`] sets it.
    cancelled: AtomicBool,
    /// Its plain threads for DataFrame chunks, once some were asked for.
    #[cfg(feature = "polars")]
    frames: TryOnce<Arc<Core>>,
    /// The forks before its threads started.
    forks: u32,
    demand: Demand,
    /// Tries starts of threads again that were refused.
    looks: Arc<Looks>,
    /// Its worker processes, while nobody uses them.
    #[cfg(feature = "process")]
    idle_slots: process::IdleSlots,
}

impl Core {
    pub(crate) fn start(spec: Spec) -> Result<Arc<Self>, BuildError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        watch_forks();
        spec.check()?;
        let threads = match spec.threads {
            Some(threads) => threads,
            None => spec.kind.default_threads(spec.default).map_err(BuildError::Environment)?,
        };
        if threads == 0 {
            return Err(BuildError::NoThreads);
        }
        // As good as without a limit, and a number to calculate with.
        let threads = threads.min(rayon::max_num_threads());
        // It ends tasks whose time is up, and looks after the pool's threads: without it both could hang.
        timer::start().map_err(BuildError::Spawn)?;
        let core = Arc::new_cyclic(|core| Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            kind: spec.kind,
            name: spec.name,
            default: spec.default,
            threads,
            hooks: spec.hooks,
            has_hooks: spec.hooks.start.is_some() || spec.hooks.stop.is_some(),
            counts: Counts::default(),
            queue: Queue::new(threads),
            cancelled: AtomicBool::new(false),
            #[cfg(feature = "polars")]
            frames: TryOnce::new(),
            forks: fork::count(),
            demand: Demand::new(spec.default && spec.kind == Kind::Cpu),
            looks: Looks::new(core),
            #[cfg(feature = "process")]
            idle_slots: process::IdleSlots::new(process::WorkerLimits {
                memory_limit: spec.limits.memory,
                max_tasks: spec.limits.tasks,
                workers: threads,
            }),
        });
        match spec.kind {
            Kind::Cpu => cpu::start(&core)?,
            Kind::Io | Kind::Frame | Kind::Process => blocking::start(&core)?,
        }
        registry::add(&core);
        Ok(core)
    }

    /// Queues a job, and sees to it that a worker comes for it.
    #[inline]
    pub(crate) fn push(self: &Arc<Self>, job: Arc<dyn Job>) {
        self.push_copies(job, 1);
    }

    /// Queues one job several times, for as many workers.
    #[inline]
    pub(crate) fn push_copies(self: &Arc<Self>, job: Arc<dyn Job>, copies: usize) {
        fork::check(self.forks);
        panics::before_handing_over();
        match self.kind {
            Kind::Cpu => cpu::push(self, job, copies),
            Kind::Io | Kind::Frame | Kind::Process => blocking::push(self, job, copies),
        }
    }

    /// Panics in a forked process, which has none of the threads.
    #[track_caller]
    #[inline]
    pub(crate) fn check_fork(&self) {
        fork::check(self.forks);
    }

    /// Whether its threads are those of the process that this one was forked from.
    #[inline]
    pub(crate) fn is_of_parent(&self) -> bool {
        fork::is_child(self.forks)
    }

    /// Calls workers for jobs that could run.
    fn rouse(self: &Arc<Self>, state: MutexGuard<'_, State>) {
        match self.kind {
            Kind::Cpu => cpu::inject::rouse(self, state),
            Kind::Io | Kind::Frame | Kind::Process => blocking::rouse(self, state),
        }
    }

    /// Runs a job whose permit is taken, and gives the permit back.
    #[inline]
    fn run_job(self: &Arc<Self>, job: Arc<dyn Job>) -> (MutexGuard<'_, State>, JobEnd) {
        let holding = current_worker::hold();
        // By value: its captures may be the last of something large, not to be held while this thread sleeps.
        #[cfg(feature = "process")]
        let ran = if self.kind == Kind::Process {
            self.idle_slots.run_on_slot(|| process_job::run(self, job))
        } else {
            job.run()
        };
        #[cfg(not(feature = "process"))]
        let ran = job.run();
        // A worker's thread that waited for jobs here would keep a copy of the worker alive.
        #[cfg(feature = "process")]
        crate::sys::owner::end_copy_of_worker();
        drop(holding);
        if ran == JobEnd::Helped {
            self.demand.helped();
        }
        let mut state = self.queue.lock();
        current_worker::is_here(self);
        match ran {
            JobEnd::Here | JobEnd::Helped => self.queue.release(&mut state),
            JobEnd::Dead => {
                self.queue.exhume();
                self.queue.release(&mut state);
            }
            JobEnd::WrittenOff => state.lost -= 1,
        }
        state.retakes += 1;
        (state, ran)
    }

    /// Takes copies of a job back that no worker has come for, as far as nothing was queued after them.
    pub(crate) fn retract(&self, job: &Arc<dyn Job>) {
        self.queue.retract(job);
    }

    /// What calling helpers for a map is worth.
    pub(crate) fn demand(&self) -> &Demand {
        &self.demand
    }

    /// Gives up a worker whose job has run out of time, if `is_late` says so still; whether it does. The permit goes to
    /// another.
    pub(crate) fn write_off(self: &Arc<Self>, permit: &Permit, is_late: impl FnOnce() -> bool) -> bool {
        let Some(state) = self.queue.write_off(permit, is_late) else { return false };
        self.rouse(state);
        true
    }

    /// Runs `work` on this thread with a worker process of the pool's, if one is idle and nothing is queued.
    #[cfg(feature = "process")]
    pub(crate) fn try_directly<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> Option<T> {
        fork::check(self.forks);
        if self.has_hooks() || self.queue.waiting() > 0 || current_worker::is_worker_of(self) || self.is_closed() {
            return None;
        }
        let (result, untidy) = current_worker::work_for(self, || self.idle_slots.try_run_on_idle(work))??;
        if untidy {
            self.queue.ask_to_tidy();
        }
        Some(result)
    }

    /// Whether only the pool's own threads may run its jobs: other threads have not run its hooks.
    #[inline]
    pub(crate) fn has_hooks(&self) -> bool {
        self.has_hooks
    }

    /// Whether another thread of the pool can begin with a job now: there is a permit for it, and it exists or can start.
    pub(crate) fn has_thread_for_more(&self) -> bool {
        let state = self.queue.lock();
        if !state.has_permit() || state.deferred.is_some() {
            return false;
        }
        let idle = state.sleeping.len() + state.looking + state.lingering + state.rung + state.coming;
        let rayon = state.rayon.is_some() && state.inside + state.tickets < self.threads;
        // This worker counts as one that waits.
        let waits = usize::from(current_worker::is_worker_of(self));
        let stand_in = (state.aside + waits).min(state.spares);
        idle > 0 || rayon || state.threads < self.spare_limit() + stand_in + state.lost
    }

    fn has_start_hook(&self) -> bool {
        self.hooks.start.is_some()
    }

    /// What a thread does first.
    fn on_start(&self) {
        run_hook(self.hooks.start);
    }

    /// Whether its threads hold what they give back when they have had nothing to do for a while.
    fn has_to_tidy(&self) -> bool {
        self.kind == Kind::Process
    }

    /// Gives that back.
    #[cfg_attr(not(feature = "process"), allow(clippy::unused_self, reason = "for processes alone"))]
    fn tidy(&self) {
        #[cfg(feature = "process")]
        self.idle_slots.release_memory();
    }

    /// What a thread does last.
    fn on_stop(&self) {
        worker_state::end();
        run_hook(self.hooks.stop);
        #[cfg(feature = "process")]
        self.idle_slots.close();
        current_worker::leave();
    }

    /// Plain threads at most, those that step aside apart: the cpu pool's only stand in.
    fn spare_limit(&self) -> usize {
        self.threads
    }

    /// Threads that do not end for want of work.
    fn threads_that_stay(&self) -> usize {
        match self.kind {
            Kind::Cpu => self.threads,
            Kind::Io | Kind::Frame => 1,
            // A worker process may hold what took long to make.
            Kind::Process => usize::MAX,
        }
    }

    /// Whether the current thread is one of this pool's workers, or does this pool's work.
    pub(crate) fn is_current(&self) -> bool {
        current_worker::is_worker_of(self) || (current_worker::does_cpu_work() && self.is_default_cpu())
    }

    /// Whether the current thread is one of this pool's own, which may have its worker's state: not one that another pool
    /// lends to it.
    pub(crate) fn is_own_worker(&self) -> bool {
        current_worker::is_own_worker_of(self)
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Threads that exist, jobs that run, and jobs that wait.
    pub(crate) fn load(&self) -> (usize, usize, usize) {
        if self.is_of_parent() {
            return (0, 0, 0);
        }
        let state = self.queue.lock();
        (state.threads, state.busy(), state.jobs.len().saturating_sub(self.queue.dead()))
    }

    /// Whether this is the pool of `kind = "cpu"`, whose callers work along.
    pub(crate) fn is_default_cpu(&self) -> bool {
        self.default && self.kind == Kind::Cpu
    }

    /// Whether this is a pool of worker processes.
    #[cfg(feature = "polars")]
    pub(crate) fn is_process(&self) -> bool {
        self.kind == Kind::Process
    }

    /// Whether this is the crew of DataFrame chunks.
    pub(crate) fn is_frames(&self) -> bool {
        self.kind == Kind::Frame
    }

    /// Whether this is the crew of DataFrame chunks that are given no pool.
    #[cfg(feature = "polars")]
    pub(crate) fn is_default_frames(&self) -> bool {
        self.default && self.is_frames()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// `fanfold-io-3`; a pool's own name stands in the middle.
    fn thread_name(&self, index: usize) -> String {
        format!("fanfold-{}-{index}", self.name)
    }
}

/// Has the locks of the pools survive a fork. Called before the first of them is used.
fn watch_forks() {
    // Miri forks nothing.
    #[cfg(all(unix, not(miri)))]
    fork_handlers::watch();
}

/// Runs a user's hook. A panic in it is reported by the panic hook, and costs no worker.
fn run_hook(hook: Option<fn()>) {
    if let Some(hook) = hook {
        unwind::contain(hook);
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pool `{}`", self.kind.label(), self.name)
    }
}
