//! [`Pool`]: the public handle of a pool of worker threads or processes.
//!
//! One type serves every kind: a const-built `static`, which starts at first use, or the owned result of
//! [`Pool::build`]. The running pool behind it is a [`Core`].

use std::fmt;
use std::mem::{forget, replace};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::hooks::{Hook, Hooks};
use super::{BuildError, Core, Kind, Limits, ProcessHooks, Spec, current_worker, registry};
use crate::sys::try_once::TryOnceLock;

/// A pool of worker threads or worker processes.
///
/// The attribute runs functions on [`Pool::cpu_default`] and [`Pool::io_default`]. A pool of your own limits one kind
/// of work apart from all other work, such as the calls to one database.
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
///
/// # Methods by use
///
/// - Make a pool: [`cpu`](Self::cpu), [`io`](Self::io), or `process` (feature `process`), as a `static` or followed by
///   [`build`](Self::build). Before that its options: [`threads`](Self::threads), [`stack_size`](Self::stack_size),
///   [`queue_limit`](Self::queue_limit), [`idle_timeout`](Self::idle_timeout), [`on_start`](Self::on_start) and
///   [`on_stop`](Self::on_stop).
/// - Run: annotated functions by `pool = PATH` or `name::on(&pool)`; closures by [`submit`](Self::submit),
///   [`map`](Self::map) and [`install`](Self::install), and by [`broadcast`](Self::broadcast) on each thread.
/// - Where the queue has a limit: [`try_submit`](Self::try_submit) and [`submit_async`](Self::submit_async). Before
///   these and `submit`: [`with_deadline`](Self::with_deadline), [`with_priority`](Self::with_priority).
/// - Look and change: [`stats`](Self::stats), [`name`](Self::name), [`resize`](Self::resize).
/// - End: [`shutdown`](Self::shutdown), [`kill`](Self::kill), or drop the pool, which runs what is queued.
///
/// # Stack, allocators and forks
///
/// Threads have 2 MiB of stack, as Rust's own; [`stack_size`](Self::stack_size), or the environment variable
/// `RUST_MIN_STACK`, both in bytes, give them more. A worker process runs functions on its main thread, whose stack the
/// system sizes: 8 MiB on most.
///
/// A global allocator may use pools that have started: Fanfold allocates and frees memory while it holds none of its
/// locks, except the lock under which it starts a pool. If the allocator waits for tasks, they must be tasks of a pool
/// that starts no more threads, such as a pool of one thread: the standard library allocates while it starts a thread.
///
/// A fork leaves the pools of the parent without threads in the child. There, using one of them panics, and new pools
/// work.
#[doc(alias = "ThreadPool")]
#[doc(alias = "ThreadPoolBuilder")]
#[doc(alias = "ThreadPoolExecutor")]
pub struct Pool {
    pub(super) spec: Spec,
    core: TryOnceLock<Arc<Core>>,
}

impl Pool {
    pub(super) const fn new(kind: Kind, name: &'static str) -> Self {
        Self {
            spec: Spec {
                kind,
                name,
                threads: None,
                default: false,
                hooks: Hooks::none(),
                limits: Limits { memory: None, tasks: None },
                process_hooks: ProcessHooks { start: None, stop: None },
                idle_timeout: None,
                stack: None,
                queue_limit: None,
            },
            core: TryOnceLock::new(),
        }
    }

    /// A pool for functions that compute: work-stealing threads. It has as many as the default cpu pool (one per core,
    /// unless [`configure`](crate::configure) or `FANFOLD_CPU_THREADS` says otherwise), or the number that
    /// [`threads`](Self::threads) sets.
    #[must_use]
    pub const fn cpu(name: &'static str) -> Self {
        Self::new(Kind::Cpu, name)
    }

    /// A pool for functions that block. Threads start as work arrives, up to as many as the default io pool has (256,
    /// unless [`configure`](crate::configure) or `FANFOLD_IO_THREADS` says otherwise), or the number that
    /// [`threads`](Self::threads) sets. They end after 10 s without work.
    #[doc(alias = "spawn_blocking")]
    #[must_use]
    pub const fn io(name: &'static str) -> Self {
        Self::new(Kind::Io, name)
    }

    pub(super) const fn default(mut self) -> Self {
        self.spec.default = true;
        self
    }

    /// Limits the number of tasks that run at once, and so the number of threads. A number beyond 65,535 counts as
    /// 65,535. A cpu pool has at most 1,024 threads, or four for each core where that is more: see
    /// [`BuildError::TooManyThreads`](crate::BuildError::TooManyThreads).
    ///
    /// A worker that waits for another task lets a spare thread run in its place. There are up to as many spare threads
    /// as this limit, and up to 4 where the limit is lower, so the pool has at most twice the threads of its limit
    /// while its tasks make progress. Beyond that one more starts after each 100 ms in which none of the pool's tasks
    /// has ended; if no other pool runs a task either, their number doubles every 10 ms. So waits may nest to any
    /// depth, and thousands of tasks that wait for a busy pool share a few threads.
    ///
    /// While the operating system refuses a thread, the pool goes on with the threads that it has, and tries again
    /// until it gets one. A worker that waits for a task which no other thread can run then runs it itself. A pool
    /// whose *first* thread is refused does not start: [`build`](Self::build) returns the error, and a static pool
    /// panics at its first use.
    #[doc(alias = "Semaphore")]
    #[doc(alias = "max_workers")]
    #[doc(alias = "num_threads")]
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.spec.threads = Some(threads);
        self
    }

    /// Ends threads that have had no work for this time, and worker processes. Unless set, threads end after 10 s, and
    /// worker processes stay: they may hold state that was expensive to make.
    ///
    /// Each pool keeps one thread, a cpu pool all of those that it was built with, and a pool of processes its threads,
    /// which then take no memory but their stacks. A worker process that ends so drops its state and runs its hook
    /// (`on_process_stop`). Less than 1 ms counts as 1 ms.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use fanfold::Pool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::io("bursts").threads(8).idle_timeout(Duration::from_millis(20)).build()?;
    /// fanfold::join_all((0..100).map(|n| pool.submit(move || n)).collect::<Vec<_>>())?;
    /// let since = Instant::now();
    /// while pool.stats().threads > 1 && since.elapsed() < Duration::from_secs(20) {
    ///     std::thread::yield_now();
    /// }
    /// assert_eq!(pool.stats().threads, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "thread_keep_alive")]
    #[must_use]
    pub const fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.spec.idle_timeout = Some(timeout);
        self
    }

    /// Gives each thread of the pool a stack of this many bytes, for deep recursion or for many threads. Memory of a
    /// stack counts from its first use on.
    ///
    /// It holds for the pool's frames of `par_chunks` and the like, too, but not for what the calling thread runs: a
    /// map on the default cpu pool computes along.
    /// [`build`](Self::build) refuses less than 64 KiB, and a pool of processes.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// fn depth(list: u32) -> u32 {
    ///     let frame = std::hint::black_box([0_u8; 1 << 10]); // a frame of 1 KiB
    ///     if list == 0 { u32::from(frame[0]) } else { depth(list - 1) + 1 }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let deep = Pool::cpu("deep").threads(1).stack_size(256 << 20).build()?;
    /// assert_eq!(deep.submit(|| depth(50_000)).join()?, 50_000);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn stack_size(mut self, bytes: usize) -> Self {
        self.spec.stack = Some(bytes);
        self
    }

    /// Limits the tasks that wait in the pool's queue: those that were submitted and have not started. Without it there
    /// is no limit.
    ///
    /// While the queue is full, `submit` of closures and of functions blocks the calling thread until a task has
    /// started or was cancelled; the submission that has waited longest is the next. In async code use
    /// [`submit_async`](Self::submit_async), which waits without blocking a thread, and `try_submit` to refuse work
    /// instead: it gives the closure or the arguments back. Functions whose attribute names a pool have these two as
    /// well, and `name::on(&pool)` has them for each function.
    ///
    /// On a worker, of this pool or of another, `submit` never waits, so that tasks which submit tasks cannot deadlock:
    /// their tasks may be more than the limit. Direct calls and maps do not count, as their callers wait for them.
    ///
    /// [`build`](Self::build) refuses a limit of 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::{Pool, parallel};
    ///
    /// static RESIZER: Pool = Pool::cpu("resizer").queue_limit(100);
    ///
    /// #[parallel(kind = "cpu", pool = RESIZER)]
    /// fn resize(image: Vec<u8>) -> usize {
    ///     image.len() / 2
    /// }
    ///
    /// match resize::try_submit(vec![0; 10]) {
    ///     Ok(task) => assert_eq!(task.join().unwrap(), 5),
    ///     Err(full) => {
    ///         let (image,) = full.into_inner(); // tell the client to come back later
    ///         drop(image);
    ///     }
    /// }
    /// ```
    #[doc(alias = "backpressure")]
    #[doc(alias = "bounded")]
    #[must_use]
    pub const fn queue_limit(mut self, tasks: usize) -> Self {
        self.spec.queue_limit = Some(tasks);
        self
    }

    /// Runs `hook` first on each new thread of the pool. Only these threads then run the pool's tasks: a worker of
    /// another pool that joins one does not run it on the spot. (With `FANFOLD_SERIAL=1` all tasks run on the caller's
    /// thread, where no hook has run.) In a pool of processes these are the parent's threads that wait for workers;
    /// `on_process_start` is for the worker processes.
    ///
    /// A thread takes its first task when the hook has ended. A hook must not wait for tasks of its own pool, other
    /// than by [`Task::join`](crate::Task::join), which runs them on the spot: the next thread would wait in the same
    /// hook. Nor may the hooks of two pools wait for tasks of one another.
    ///
    /// A panic in the hook is reported by the panic hook, and the thread takes tasks all the same: where the tasks need
    /// what the hook sets up, let them check it, or use the option `init` of the attribute, whose failure is an error
    /// of each task.
    ///
    /// The closure may capture four words, such as four `Arc`s: more does not compile, so put it into an `Arc`. Setting
    /// another hook replaces the first, whose captures are leaked.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use fanfold::Pool;
    ///
    /// # fn main() -> Result<(), fanfold::BuildError> {
    /// let threads = Arc::new(AtomicUsize::new(0));
    /// let (begun, ended) = (threads.clone(), threads.clone());
    /// let pool = Pool::cpu("counted").threads(2)
    ///     .on_start(move || { begun.fetch_add(1, Ordering::Relaxed); })
    ///     .on_stop(move || { ended.fetch_sub(1, Ordering::Relaxed); })
    ///     .build()?;
    /// pool.install(|| assert!(threads.load(Ordering::Relaxed) > 0));
    /// drop(pool);
    /// assert_eq!(threads.load(Ordering::Relaxed), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "initializer")]
    #[doc(alias = "start_handler")]
    #[doc(alias = "on_thread_start")]
    #[must_use]
    pub const fn on_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        // A `const fn` cannot drop the hook that is replaced, if one was set before.
        forget(replace(&mut self.spec.hooks.start, Hook::new(hook)));
        self
    }

    /// Runs `hook` last on each thread of the pool that ends. Only these threads run the pool's tasks, as with
    /// [`on_start`](Self::on_start). Threads of a static pool end with the process, without running it.
    #[doc(alias = "exit_handler")]
    #[doc(alias = "on_thread_stop")]
    #[must_use]
    pub const fn on_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        forget(replace(&mut self.spec.hooks.stop, Hook::new(hook)));
        self
    }

    /// Starts an owned pool. Dropping it runs its queued tasks and joins its threads.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if an option is wrong, such as `threads(0)`, or if the operating system refuses the first thread.
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
        let core = Core::start(&self.spec)?;
        self.core = TryOnceLock::with_value(core);
        Ok(self)
    }

    /// The pool of `kind = "cpu"`: one thread per core, unless [`configure`](crate::configure) or `FANFOLD_CPU_THREADS`
    /// says otherwise.
    #[must_use]
    pub fn cpu_default() -> &'static Self {
        static CPU: Pool = Pool::cpu("cpu").default();
        &CPU
    }

    /// The pool of `kind = "io"`: up to 256 threads, as many as the work needs, unless [`configure`](crate::configure)
    /// or `FANFOLD_IO_THREADS` says otherwise.
    #[must_use]
    pub fn io_default() -> &'static Self {
        static IO: Pool = Pool::io("io").default();
        &IO
    }

    /// The default pool of DataFrame chunks.
    #[cfg(feature = "polars")]
    pub(crate) fn frames() -> &'static Self {
        static FRAMES: Pool = Pool::new(Kind::Frame, "frame").default();
        &FRAMES
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

    /// Whether this thread is a worker of this pool, on a permit of its own or a borrowed one.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        self.core.get().is_some_and(|core| current_worker::is_worker_of(core))
    }

    #[track_caller]
    #[cold]
    fn start(&self) -> &Arc<Core> {
        // `track_caller` does not reach into closures, so the message names the caller itself.
        let place = Location::caller();
        super::core::watch_forks();
        let started = self.core.get_or_try_init(|| Core::start(&self.spec));
        started.unwrap_or_else(|error| panic!("cannot start the pool `{}`, at {place}: {error}", self.spec.name))
    }
}

// Panics of tasks and hooks are caught, and no state is left half changed under a lock.
impl UnwindSafe for Pool {}
impl RefUnwindSafe for Pool {}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(core) = self.core.get() {
            core.close_and_join(false);
            #[cfg(feature = "polars")]
            core.frame_pool.get().into_iter().for_each(registry::remove);
            registry::remove(core);
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
