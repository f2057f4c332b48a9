//! [`Pool`]: where functions run.
//!
//! One type for every kind: a const-built `static`, or the owned result of [`Pool::build`]. The threads and their
//! queue are behind it, in `workers/`.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{BuildError, Core, Hooks, Kind, Limits, Spec};
use crate::sys::try_once::TryOnceLock;

/// A pool of worker threads.
///
/// The attribute runs functions on [`Pool::cpu_default`] and [`Pool::io_default`]; a pool of your own bounds one
/// kind of work apart from all other, such as the calls to one database.
///
/// Threads have 2 MiB of stack, as Rust's own; the environment variable `RUST_MIN_STACK`, in bytes, gives them more. A
/// worker process runs functions on its main thread, whose stack is the system's: 8 MiB on most.
///
/// A global allocator may use pools that have started: Fanfold allocates and frees without holding its locks, but for the
/// one that it starts a pool under. If the allocator waits for tasks, they must be of a pool that starts no more threads,
/// such as one of one thread: the standard library allocates while it starts a thread.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, parallel};
///
/// static DATABASE: Pool = Pool::io("db").threads(8); // its threads start when they are needed
///
/// #[parallel(kind = "io", pool = DATABASE)]
/// fn load(id: u32) -> String {
///     format!("row {id} by {}", std::thread::current().name().unwrap_or("?"))
/// }
///
/// assert!(load(7).starts_with("row 7 by fanfold-db-"));
/// ```
pub struct Pool {
    spec: Spec,
    core: TryOnceLock<Arc<Core>>,
}

impl Pool {
    const fn new(kind: Kind, name: &'static str) -> Self {
        Self {
            spec: Spec {
                kind,
                name,
                threads: None,
                default: false,
                hooks: Hooks { start: None, stop: None },
                limits: Limits { memory: None, tasks: None },
            },
            core: TryOnceLock::new(),
        }
    }

    /// A pool for computing: work-stealing threads, as many as the default pool has (one a core, where neither
    /// [`configure`](crate::configure) nor `FANFOLD_CPU_THREADS` says otherwise) unless [`threads`](Self::threads) does.
    #[must_use]
    pub const fn cpu(name: &'static str) -> Self {
        Self::new(Kind::Cpu, name)
    }

    /// A pool for functions that block: threads start as work arrives, up to as many as the default pool has (256,
    /// where neither [`configure`](crate::configure) nor `FANFOLD_IO_THREADS` says otherwise) unless
    /// [`threads`](Self::threads) does, and end after 10 s without work.
    #[must_use]
    pub const fn io(name: &'static str) -> Self {
        Self::new(Kind::Io, name)
    }

    /// A pool of worker processes for functions of `kind = "process"`: as many as the default pool has (one a core,
    /// where neither [`configure`](crate::configure) nor `FANFOLD_PROCESSES` says otherwise) unless
    /// [`threads`](Self::threads) does. Each starts with the first call that needs it, and stays.
    ///
    /// Workers share the machine: unless these variables are set, each sees `POLARS_MAX_THREADS`, `RAYON_NUM_THREADS`
    /// and `FANFOLD_CPU_THREADS` as its share of the cores.
    ///
    /// Direct calls and `submit` use the `static` that `pool = PATH` names, which may be a `LazyLock<Pool>` where its size
    /// is known only at run time; a map also runs on an owned pool: `name::map(items).on(&pool)`.
    ///
    /// # What a worker sees
    ///
    /// - The program from its start: statics are as they were then, and `std::env::args()` is the program's name alone.
    /// - Environment and working directory as they were in the parent when the worker started. What `set_var` and
    ///   `set_current_dir` change later it does not see.
    /// - The signal mask of the thread whose call started the program's first worker.
    /// - None of the signals that go to a whole process group or service: `SIGINT`, `SIGQUIT`, `SIGHUP`, `SIGTERM`, `SIGUSR1`
    ///   and `SIGUSR2` do nothing to a worker. They are the parent's: a program that handles `SIGTERM` may let its workers
    ///   finish, and one that a signal ends takes them along. `SIGKILL` ends a worker.
    /// - No workers of its own: a process function that it calls runs in it. The `timeout` of direct calls and maps is not
    ///   watched there, nor are the limits of the function's pool.
    ///
    /// # What crosses
    ///
    /// Values are written and read by recursion. An argument or a result that is nested too deep for the stack of the
    /// thread that writes or reads it is refused as [`TaskError::Wire`](crate::TaskError::Wire). The pool's threads have
    /// 64 MiB of stack for that; a direct call that finds a worker idle writes its arguments and reads its result on the
    /// caller's own stack. What drops such a value, its own destructor mostly, must not overflow the stack either. A
    /// panic's payload that is not text arrives as a note that says so.
    ///
    /// # When a worker does not start
    ///
    /// A start that fails for want of something that may be had again (processes, files, memory), or whose worker ends
    /// before it begins a call, is tried again after a pause of 20 ms, which doubles each time, up to 1 s, for the whole
    /// pool. After five failures in a row the calls that wait end as [`TaskError::WorkerDied`](crate::TaskError::WorkerDied),
    /// which says what was refused and what to do; a later call tries once more. A worker has 30 s to become ready. For a
    /// call with `timeout` it has that time, but 1 s at least.
    ///
    /// # What is left
    ///
    /// A worker that ends or is killed while it is idle is reaped within about a second: no zombie stays. The next call
    /// that would use it starts another one. A worker that is killed leaves the processes that it has started behind: they go on. A copy of the worker, which a
    /// task has forked and which returns from the task as the worker does, ends there, without exit handlers; it ends
    /// where it would use a [`channel`](crate::channel), too.
    ///
    /// A task that ends its worker's main thread alone (`pthread_exit`, the system call `exit`), while other threads of
    /// the worker live, is lost as one whose worker has ended: the worker notices, and exits with code 1, within about a
    /// second.
    ///
    /// # Examples
    ///
    /// ```standalone_crate
    /// use fanfold::{Pool, TaskError, parallel};
    ///
    /// static PARSERS: Pool = Pool::process("parsers").threads(2).memory_limit(1 << 30);
    ///
    /// #[parallel(kind = "process", pool = PARSERS)]
    /// fn parse(text: String) -> Result<usize, TaskError> {
    ///     if text.is_empty() {
    ///         std::process::abort(); // what a library in C may do
    ///     }
    ///     Ok(text.len())
    /// }
    ///
    /// #[fanfold::main]
    /// fn main() {
    ///     assert!(matches!(parse(String::new()), Err(TaskError::WorkerDied { signal: Some(6), .. })));
    ///     assert_eq!(parse("text".into()).unwrap(), 4);
    /// }
    /// ```
    #[cfg(feature = "process")]
    #[must_use]
    pub const fn process(name: &'static str) -> Self {
        Self::new(Kind::Process, name)
    }

    /// Limits the private memory of each worker process, in bytes: heap, stacks, and what is mapped for writing, but not
    /// the program itself nor what it shares with its parent. What is beyond it cannot be had, which ends most
    /// programs: the task is lost as [`TaskError::WorkerDied`](crate::TaskError::WorkerDied), and the parent lives on.
    /// Bytes or text that a worker has no room for are refused as [`TaskError::Wire`](crate::TaskError::Wire). Both errors
    /// name the limit. A [`Bytes`](crate::Bytes) argument stays in the memory that is shared with the parent, and does not
    /// count.
    #[cfg(feature = "process")]
    #[must_use]
    pub const fn memory_limit(mut self, bytes: u64) -> Self {
        self.spec.limits.memory = Some(bytes);
        self
    }

    /// Replaces each worker process after so many tasks, for libraries that leak.
    #[cfg(feature = "process")]
    #[must_use]
    pub const fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.spec.limits.tasks = Some(tasks);
        self
    }

    const fn default(mut self) -> Self {
        self.spec.default = true;
        self
    }

    /// The limit of the number of threads. More than 65,535 are as many as that.
    ///
    /// It is the number of tasks that run at once. A worker that waits for another task gives its place to another thread,
    /// which comes in addition: there are as many of them as the limit says, and 64 at least. Beyond that they start one
    /// by one, after 100 ms in which none of the pool's tasks has ended, or 10 ms if no other pool runs a task either. So
    /// waits may nest as deep as they like, and thousands of tasks that wait for a busy pool take turns.
    ///
    /// While the operating system refuses a thread, the pool does with those that it has, and tries again until it gets
    /// one. A worker that waits for a task which nobody else can run runs it then.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.spec.threads = Some(threads);
        self
    }

    /// Runs `hook` first on each new thread of the pool, and has these threads alone run its tasks: a worker of another pool
    /// that joins one does not run it on the spot. (`FANFOLD_SERIAL=1` runs all of them on the caller's thread, where no
    /// hook has run.) Of a pool of processes these are the parent's threads that wait
    /// for workers; nothing is run in the workers.
    ///
    /// A thread takes its first task when the hook has ended. A hook must not wait for tasks of its own pool, other than
    /// by [`Task::join`], which runs them on the spot: the next thread would wait in the same hook. Nor may the hooks of two
    /// pools wait for tasks of one another.
    #[must_use]
    pub const fn on_start(mut self, hook: fn()) -> Self {
        self.spec.hooks.start = Some(hook);
        self
    }

    /// Runs `hook` last on each thread of the pool that ends. These threads alone run the pool's tasks, as with
    /// [`on_start`](Self::on_start). Threads of a static pool end with the process, which
    /// runs nothing.
    #[must_use]
    pub const fn on_stop(mut self, hook: fn()) -> Self {
        self.spec.hooks.stop = Some(hook);
        self
    }

    /// Makes an owned pool: dropping it finishes its work and joins its threads.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if it may have no threads at all, or if the first thread cannot be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::io("scratch").threads(3).build()?;
    /// let task = pool.submit(|| 6 * 7);
    /// assert_eq!(task.join()?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn build(mut self) -> Result<Self, BuildError> {
        let core = Core::start(self.spec)?;
        self.core = TryOnceLock::with_value(core);
        Ok(self)
    }

    /// The pool of `kind = "cpu"`: one thread a core.
    #[must_use]
    pub fn cpu_default() -> &'static Self {
        static CPU: Pool = Pool::cpu("cpu").default();
        &CPU
    }

    /// The pool of `kind = "io"`: up to 256 threads, as many as the work asks for.
    #[must_use]
    pub fn io_default() -> &'static Self {
        static IO: Pool = Pool::io("io").default();
        &IO
    }

    /// The pool of `kind = "process"`: one worker process a core.
    #[cfg(feature = "process")]
    #[must_use]
    pub fn process_default() -> &'static Self {
        static PROCESSES: Pool = Pool::process("process").default();
        &PROCESSES
    }

    /// The pool of DataFrame chunks.
    #[cfg(feature = "polars")]
    pub(crate) fn frames() -> &'static Self {
        static FRAMES: Pool = Pool::new(Kind::Frame, "frame").default();
        &FRAMES
    }

    /// What the pool has done, and does now. Asking starts the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::io("counted").threads(4).build()?;
    /// pool.submit(|| ()).join()?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.limit, stats.done, stats.failed, stats.queued), (4, 1, 0, 0));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[track_caller]
    pub fn stats(&self) -> Stats {
        let core = self.core();
        let (threads, busy, queued) = core.load();
        let counts = core.counts();
        Stats {
            limit: core.threads(),
            threads,
            busy,
            queued,
            done: counts.done.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            cancelled: counts.cancelled.load(Ordering::Relaxed),
        }
    }

    /// Closes the pool, and waits until what runs has ended. What is submitted later ends as
    /// [`TaskError::PoolClosed`](crate::TaskError::PoolClosed).
    ///
    /// With [`Pending::Cancel`] what runs is asked to stop: [`cancelled()`](crate::cancelled) becomes `true` for it, and
    /// worker processes that run something are killed, so that their calls end as
    /// [`TaskError::Cancelled`](crate::TaskError::Cancelled). Worker processes that run nothing drop what they have and exit;
    /// those that have not done so after 5 s, all together, are killed.
    ///
    /// Direct calls and maps panic then, but a direct call with `timeout` or of a process function gives the error as its
    /// own where that has a place for it. Callers of the default cpu pool work along: a map that is collected or folded,
    /// and a chunked call, still run, on the calling thread alone.
    ///
    /// Called on one of the pool's own workers it closes the pool and does not wait. In a forked child, which has none of
    /// the pool's threads, this and dropping the pool do nothing.
    ///
    /// In a Ctrl-C handler, `shutdown(Pending::Cancel)` ends every wait for what is queued at once, and for worker processes. Without a handler
    /// nothing holds the program back: threads of `static` pools end with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::{Pending, Pool, TaskError};
    ///
    /// static UPLOADS: Pool = Pool::io("uploads").threads(2);
    ///
    /// let last = UPLOADS.submit(|| 7);
    /// UPLOADS.shutdown(Pending::Run); // what was queued has run
    /// assert!(last.is_finished());
    /// assert!(matches!(UPLOADS.submit(|| 8).join(), Err(TaskError::PoolClosed)));
    /// ```
    pub fn shutdown(&self, pending: Pending) {
        self.core().finish(matches!(pending, Pending::Cancel));
    }

    /// The running pool; starts it at first use.
    #[track_caller]
    #[inline]
    pub(crate) fn core(&self) -> &Arc<Core> {
        match self.core.get() {
            Some(core) => core,
            None => self.start(),
        }
    }

    #[track_caller]
    #[cold]
    fn start(&self) -> &Arc<Core> {
        // A panic in a closure does not say who called: the message does.
        let place = Location::caller();
        super::watch_forks();
        let started = self.core.get_or_try_init(|| Core::start(self.spec));
        started.unwrap_or_else(|error| panic!("cannot start the pool `{}`, at {place}: {error}", self.spec.name))
    }
}

/// What becomes of tasks that are queued when a pool is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// They run.
    Run,
    /// They end as [`TaskError::Cancelled`](crate::TaskError::Cancelled), and those that run are asked to stop.
    Cancel,
}

/// What a pool has done, and does now.
///
/// A task is told of before its worker has gone on: right after a `join`, the worker may count as busy still.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Threads that may run tasks at once.
    pub limit: usize,
    /// Threads that exist.
    pub threads: usize,
    /// Workers that run a task or work on a map, and do not wait for another.
    pub busy: usize,
    /// Tasks, and calls for help with a map, that wait for a worker.
    pub queued: usize,
    /// Tasks whose function has returned. The items of a map that is collected are no tasks.
    pub done: u64,
    /// Tasks whose function has panicked or timed out.
    pub failed: u64,
    /// Tasks that were cancelled, or came when the pool was closed.
    pub cancelled: u64,
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(core) = self.core.get() {
            core.finish(false);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("kind", &self.spec.kind)
            .field("name", &self.spec.name)
            .field("started", &self.core.get().is_some())
            .finish_non_exhaustive()
    }
}
