//! [`Core`]: a running pool, which is a queue of jobs and the worker threads that take from it.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::counts::{Counts, ShardedCounts};
use super::hooks::SharedHooks;
use super::load::Load;
use super::queue::Queue;
use super::queue::state::State;
use super::queue_limit::QueueLimit;
use super::spawn_retry::RetryTimer;
use super::{BuildError, Job, JobEnd, Kind, Permit, Spec};
use super::{blocking, cpu, current_worker, registry, timer};
use crate::error::panics;
#[cfg(feature = "process")]
use crate::process;
use crate::sys::fork;
#[cfg(feature = "polars")]
use crate::sys::try_once::TryOnceLock;
use crate::task::queueing::Priority;

/// A running pool.
pub(crate) struct Core {
    /// Unique in this process, and not 0.
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    /// Whether this is the pool that the attribute uses where none is named.
    pub(super) default: bool,
    /// The number of worker threads: jobs that run at once. It changes with `State::limit`.
    pub(super) threads: AtomicUsize,
    /// The threads of a cpu pool's rayon pool, which stay; 0 for other kinds.
    pub(super) rayon_threads: usize,
    /// How long threads and worker processes stay without work, if set.
    pub(super) idle_timeout: Option<Duration>,
    /// Bytes of stack of each thread, if set.
    pub(super) stack: Option<usize>,
    pub(super) hooks: SharedHooks,
    pub(super) has_hooks: bool,
    counts: ShardedCounts,
    pub(super) queue: Queue,
    pub(super) queue_limit: Option<Arc<QueueLimit>>,
    /// Whether running jobs are asked to stop. [`close_and_join`](Self::close_and_join) sets it.
    pub(super) cancelled: AtomicBool,
    /// The frame pool beside this pool, once frames were run on it.
    #[cfg(feature = "polars")]
    pub(super) frame_pool: TryOnceLock<Arc<Core>>,
    /// [`fork::count`] when the threads were started.
    pub(super) forks: u32,
    pub(super) load: Load,
    /// Whether the resident worker of a cpu pool is parked, and was not woken. Read at every `join`, so it is apart
    /// from what pushes write.
    pub(super) resident_parked: AtomicBool,
    /// Called by the timer thread to spawn threads again that could not be spawned.
    pub(super) retry_timer: Arc<RetryTimer>,
    /// The idle worker processes.
    #[cfg(feature = "process")]
    pub(super) process_slots: process::IdleSlots,
}

/// How long a thread stays without a job, unless the pool has another time.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of stack of a thread that decodes a worker process' results. They may be nested as deep as that process' own
/// stack allows, and decoding takes more stack than encoding. Stack that is not used takes no memory.
const DECODE_STACK: usize = 64 << 20;

/// The most threads of a cpu pool, where four for each core are fewer. All of them start with the pool, and rayon's look
/// for work among each other meanwhile: 1,000 take 0.7 s, and 4,000 take 7 s.
const CPU_THREADS: usize = 1_024;

/// The most threads of a cpu pool on this machine.
pub(super) fn max_cpu_threads() -> usize {
    CPU_THREADS.max(4 * crate::sys::cpu::cores())
}

/// Checks the number of threads of a pool, and bounds it.
pub(super) fn check_threads(kind: Kind, threads: usize) -> Result<usize, BuildError> {
    if threads == 0 {
        return Err(BuildError::NoThreads);
    }
    let most = max_cpu_threads();
    if kind == Kind::Cpu && threads > most {
        return Err(BuildError::TooManyThreads { threads, most });
    }
    // Rayon's limit, 65,535 on 64-bit targets. It also keeps sums of thread counts from overflowing.
    Ok(threads.min(rayon::max_num_threads()))
}

impl Core {
    /// Starts a pool.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if the options are wrong, or if a thread is refused that the pool cannot do without: the timer
    /// thread, all threads of a cpu pool, the first thread of others.
    pub(crate) fn start(spec: &Spec) -> Result<Arc<Self>, BuildError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        watch_forks();
        spec.check()?;
        let threads = match spec.threads {
            Some(threads) => threads,
            None => spec.kind.default_threads(spec.default).map_err(BuildError::Environment)?,
        };
        let threads = check_threads(spec.kind, threads)?;
        #[cfg(feature = "process")]
        let process_hooks = {
            let offset = |hook| process::offset_of(hook).map_err(BuildError::BadProcessHook);
            let hooks = spec.process_hooks;
            process::WorkerHooks { start: offset(hooks.start)?, stop: offset(hooks.stop)? }
        };
        // The timer thread ends tasks at their deadlines and retries refused thread starts. Without it both could hang.
        if !cfg!(fanfold_serial) {
            timer::start().map_err(BuildError::Spawn)?;
        }
        let hooks = spec.hooks.share();
        let core = Arc::new_cyclic(|core| Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            kind: spec.kind,
            name: spec.name,
            default: spec.default,
            threads: AtomicUsize::new(threads),
            rayon_threads: if spec.kind == Kind::Cpu { threads } else { 0 },
            idle_timeout: spec.idle_timeout,
            stack: if spec.kind == Kind::Process { Some(DECODE_STACK) } else { spec.stack },
            has_hooks: !hooks.is_empty(),
            hooks,
            counts: ShardedCounts::new(),
            queue_limit: spec.queue_limit.map(QueueLimit::new),
            queue: Queue::new(threads, if spec.kind == Kind::Cpu { threads } else { 0 }),
            cancelled: AtomicBool::new(false),
            #[cfg(feature = "polars")]
            frame_pool: TryOnceLock::new(),
            forks: fork::generation(),
            load: Load::new(spec.kind == Kind::Frame || (spec.default && spec.kind == Kind::Cpu)),
            resident_parked: AtomicBool::new(false),
            retry_timer: RetryTimer::new(core),
            #[cfg(feature = "process")]
            process_slots: process::IdleSlots::new(process::WorkerLimits {
                memory_limit: spec.limits.memory,
                max_tasks: spec.limits.tasks,
                workers: threads,
                idle_timeout: spec.idle_timeout,
                hooks: process_hooks,
            }),
        });
        match spec.kind {
            // The caller runs everything.
            _ if cfg!(fanfold_serial) => {}
            Kind::Cpu => cpu::start(&core)?,
            Kind::Io | Kind::Frame | Kind::Process => blocking::start(&core)?,
        }
        registry::add(&core);
        Ok(core)
    }

    /// Queues a task, and wakes or spawns a worker for it if none is on its way to the queue.
    #[inline]
    pub(crate) fn push(self: &Arc<Self>, task: Arc<dyn Job>) {
        fork::check(self.forks);
        panics::before_handing_over();
        match self.kind {
            Kind::Cpu => cpu::push_task(self, task),
            Kind::Io | Kind::Frame | Kind::Process => blocking::push(self, task, 1),
        }
    }

    /// As [`push`](Self::push), for a task of high or low priority. It goes to the pool's queue also on a worker that has
    /// a deque.
    pub(crate) fn push_prioritized(self: &Arc<Self>, task: Arc<dyn Job>, priority: Priority) {
        fork::check(self.forks);
        panics::before_handing_over();
        match self.queue.add_prioritized(task, priority) {
            Ok(state) => self.wake_workers(state),
            Err(task) => task.abandon(false),
        }
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

    /// Panics in a forked child, where the pool's threads do not exist.
    #[track_caller]
    #[inline]
    pub(crate) fn check_fork(&self) {
        fork::check(self.forks);
    }

    /// Whether this process is a forked child, and the pool's threads are its parent's.
    #[inline]
    pub(crate) fn is_from_parent(&self) -> bool {
        fork::is_child(self.forks)
    }

    /// Wakes or spawns workers for queued jobs that have a free permit.
    pub(super) fn wake_workers(self: &Arc<Self>, state: MutexGuard<'_, State>) {
        match self.kind {
            Kind::Cpu => cpu::inject::wake_workers(self, state),
            Kind::Io | Kind::Frame | Kind::Process => blocking::wake_workers(self, state),
        }
    }

    /// Runs a job whose permit is taken.
    #[inline]
    pub(super) fn run_job(self: &Arc<Self>, job: Arc<dyn Job>) -> JobEnd {
        let context = current_worker::enter_job();
        // The job is passed by value: this thread must not keep its captures alive while it is parked.
        #[cfg(feature = "process")]
        let ran = if self.kind == Kind::Process {
            self.process_slots.run_on_slot(|| super::process_job::run(self, job))
        } else {
            job.run()
        };
        #[cfg(not(feature = "process"))]
        let ran = job.run();
        // In a forked copy of a worker process this thread would wait for jobs, and keep the copy alive.
        #[cfg(feature = "process")]
        crate::sys::owner::exit_if_forked_worker();
        drop(context);
        if ran == JobEnd::RanMapShare {
            self.load.helper_finished();
        }
        ran
    }

    /// Gives the permit of a job back that has run.
    #[inline]
    pub(super) fn end_job(&self, ran: JobEnd) -> MutexGuard<'_, State> {
        if ran == JobEnd::Dead {
            self.removed_dead_task();
        }
        let mut state = self.queue.lock();
        match ran {
            JobEnd::Ran | JobEnd::RanMapShare | JobEnd::Dead => self.queue.release_permit(&mut state),
            JobEnd::WrittenOff => {
                state.written_off -= 1;
                current_worker::is_back();
            }
        }
        state.jobs_finished += 1;
        state
    }

    /// Takes the copies of a job back that are last in the queue.
    pub(crate) fn retract_copies(&self, job: &Arc<dyn Job>) {
        self.queue.retract_copies(job);
    }

    /// Decides whether a map wakes helpers.
    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// Writes a worker off whose job has run out of time: its permit goes to another worker. `is_late` is asked under
    /// the queue's lock; `false` from it changes nothing. Returns its answer.
    pub(crate) fn write_off(self: &Arc<Self>, permit: &Permit, is_late: impl FnOnce() -> bool) -> bool {
        let Some(state) = self.queue.write_off(permit, is_late) else { return false };
        self.wake_workers(state);
        true
    }

    /// Whether another thread of the pool can begin a job now: a permit is free, and a thread exists or can be spawned.
    pub(crate) fn has_thread_for_more(&self) -> bool {
        let state = self.queue.lock();
        if !state.has_permit() || state.spawn_retry.is_some() {
            return false;
        }
        let idle = state.sleepers.len() + state.spinning + state.rayon_spinning + state.woken + state.starting;
        let rayon = state.rayon.is_some() && state.rayon_serving + state.injected < self.rayon_threads;
        // The calling worker counts as blocked: it is about to wait.
        let blocks = usize::from(current_worker::is_worker_of(self));
        let spares = (state.blocked + blocks).min(state.max_spares);
        idle > 0 || rayon || state.threads < state.unblocked_threads() + spares + state.written_off
    }

    /// Whether a job could begin now.
    pub(super) fn has_free_permit(&self) -> bool {
        self.queue.lock().has_permit()
    }

    /// Whether idle workers hold resources that are released after a while: worker processes.
    pub(super) fn cleans_up_when_idle(&self) -> bool {
        self.kind == Kind::Process
    }

    /// Releases those resources. Returns whether it is to be called again after a while.
    #[cfg_attr(not(feature = "process"), allow(clippy::unused_self, reason = "only process pools clean up"))]
    pub(super) fn clean_up_idle(&self) -> bool {
        #[cfg(feature = "process")]
        {
            self.process_slots.release_memory();
            self.process_slots.end_idle()
        }
        #[cfg(not(feature = "process"))]
        false
    }

    /// How long threads and worker processes stay without work.
    pub(super) fn idle_limit(&self) -> Duration {
        // A thread that wakes again and again must not keep a core busy.
        self.idle_timeout.map_or(IDLE_LIMIT, |timeout| timeout.max(Duration::from_millis(1)))
    }

    /// Threads that stay however long they are idle.
    pub(super) fn min_idle_threads(&self) -> usize {
        match self.kind {
            Kind::Cpu => self.rayon_threads,
            Kind::Io | Kind::Frame => 1,
            // All of them: a worker process may hold state that was expensive to make.
            Kind::Process => usize::MAX,
        }
    }

    /// Whether the current thread is a worker of this pool, or does the default cpu pool's work and this is that pool.
    pub(crate) fn is_current(&self) -> bool {
        current_worker::is_worker_of(self) || (current_worker::does_cpu_work() && self.is_default_cpu())
    }

    /// Whether the current thread is one of this pool's own threads, which may use its worker state and has run its
    /// hooks. A thread of another pool that runs a job of this one on a borrowed permit is not.
    pub(crate) fn is_own_worker(&self) -> bool {
        current_worker::is_own_worker_of(self)
    }

    /// Where the current thread counts tasks and maps of this pool.
    #[inline]
    pub(crate) fn counts(&self) -> &Counts {
        self.counts.here()
    }

    /// The counts of all threads.
    pub(super) fn all_counts(&self) -> impl Iterator<Item = &Counts> {
        self.counts.iter()
    }

    /// Whether this is the pool of `kind = "cpu"`, whose callers compute along with its workers.
    pub(crate) fn is_default_cpu(&self) -> bool {
        self.default && self.kind == Kind::Cpu
    }

    /// Whether this is a pool of worker processes.
    #[cfg(feature = "polars")]
    pub(crate) fn is_process(&self) -> bool {
        self.kind == Kind::Process
    }

    /// Whether this is a pool of threads for DataFrame chunks.
    pub(crate) fn is_frames(&self) -> bool {
        self.kind == Kind::Frame
    }

    /// Whether this is the pool of DataFrame chunks that are given no pool.
    #[cfg(feature = "polars")]
    pub(crate) fn is_default_frames(&self) -> bool {
        self.default && self.is_frames()
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Jobs that run at once.
    #[inline]
    pub(crate) fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }

    /// Such as `fanfold-io-3`, with the pool's name in the middle.
    pub(super) fn thread_name(&self, index: usize) -> String {
        format!("fanfold-{}-{index}", self.name)
    }
}

/// Registers the fork handlers, before the first lock of a pool is used.
pub(super) fn watch_forks() {
    // Miri has no `pthread_atfork`.
    #[cfg(all(unix, not(miri)))]
    super::fork_handlers::register();
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pool `{}`", self.kind.label(), self.name)
    }
}

/// A map's reference to its pool. A static pool is borrowed, not counted: with maps inside maps, all threads would
/// write to its one reference count.
pub(crate) enum CoreRef {
    Static(&'static Arc<Core>),
    Owned(Arc<Core>),
}

impl Deref for CoreRef {
    type Target = Arc<Core>;

    #[inline]
    fn deref(&self) -> &Arc<Core> {
        match self {
            Self::Static(core) => core,
            Self::Owned(core) => core,
        }
    }
}

impl From<&'static Arc<Core>> for CoreRef {
    fn from(core: &'static Arc<Core>) -> Self {
        Self::Static(core)
    }
}

impl From<Arc<Core>> for CoreRef {
    fn from(core: Arc<Core>) -> Self {
        Self::Owned(core)
    }
}
