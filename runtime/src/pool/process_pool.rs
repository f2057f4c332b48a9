//! [`Pool::process`] and the limits of worker processes.

use super::{Kind, Pool};

impl Pool {
    /// A pool of worker processes for functions of `kind = "process"`. It has as many as the default process pool (one
    /// per core, unless [`configure`](crate::configure) or `FANFOLD_PROCESSES` says otherwise), or the number that
    /// [`threads`](Self::threads) sets. Each worker starts with the first call that needs it, and stays.
    ///
    /// Workers share the machine: each sees `POLARS_MAX_THREADS`, `RAYON_NUM_THREADS` and `FANFOLD_CPU_THREADS` as its
    /// share of the cores, where these variables are not set.
    ///
    /// Direct calls and `submit` use the `static` that `pool = PATH` names. It may be a `LazyLock<Pool>`, where the
    /// size is known at run time only. A map also runs on an owned pool: `name::map(items).on(&pool)`.
    ///
    /// # What a worker sees
    ///
    /// - The program from its start: statics have their initial values, and `std::env::args()` is the program's name
    ///   alone.
    /// - The environment and the working directory that the parent had when the worker started. The worker does not see
    ///   later calls of `set_var` and `set_current_dir` in the parent.
    /// - The signal mask of the thread whose call started the program's first worker.
    /// - None of the signals that are sent to a whole process group or service: a worker ignores `SIGINT`, `SIGQUIT`,
    ///   `SIGHUP`, `SIGTERM`, `SIGUSR1` and `SIGUSR2`. The parent decides: a program that handles `SIGTERM` may let its
    ///   workers finish, and the workers of one that a signal ends are ended too. `SIGKILL` ends a worker.
    /// - No workers of its own: a process function that a worker calls runs in that worker. The `timeout` of direct
    ///   calls and maps is not enforced there, nor are the limits of the called function's pool.
    ///
    /// # Depth of values, and panics
    ///
    /// Values are encoded and decoded by recursion. An argument or a result that is nested too deep for the stack of
    /// the thread that encodes or decodes it is refused as [`TaskError::Wire`](crate::TaskError::Wire). The pool's
    /// threads have 64 MiB of stack for that; a direct call that finds an idle worker encodes its arguments and decodes
    /// its result on the caller's own stack. The destructor of such a value must not overflow the stack either. A
    /// panic's payload that is not text arrives as a text that says so.
    ///
    /// # When a worker does not start
    ///
    /// A start is tried again if it fails for want of processes, files or memory, or if the worker ends before it
    /// begins a call. The pause before is 20 ms at first and doubles each time, up to 1 s, for the whole pool. After
    /// five failures in a row the waiting calls end as [`TaskError::WorkerDied`](crate::TaskError::WorkerDied), which
    /// says what was refused and what to do; a later call tries once more. A worker has 30 s to become ready. For a
    /// call with `timeout` it has that time, but at least 1 s.
    ///
    /// # When a worker ends
    ///
    /// A worker that ends or is killed while it is idle is reaped within about a second, so no zombie stays. The next
    /// call that would use it starts another one. A task may end its worker's main thread alone (by the system call
    /// `exit`) while other threads of the worker live: the worker then exits with code 1 within about a second, and the
    /// task ends as [`TaskError::WorkerDied`](crate::TaskError::WorkerDied).
    ///
    /// The child processes of a worker go on when the worker is killed. A task may fork: a copy of the worker that
    /// returns from the task ends there, without exit handlers. It also ends, with
    /// code 1 and a line on stderr, where it would use a [`channel`](fn@crate::channel) or a value of
    /// [`shared`](crate::shared): these belong to the worker. A copy that has work to do ends by `exec` or `_exit`.
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
    #[doc(alias = "ProcessPoolExecutor")]
    #[doc(alias = "multiprocessing")]
    #[must_use]
    pub const fn process(name: &'static str) -> Self {
        Self::new(Kind::Process, name)
    }

    /// Limits the private memory of each worker process, in bytes: heap, stacks and writable mappings, but not the
    /// program itself nor memory that it shares with its parent. An allocation beyond the limit fails, which ends most
    /// programs: the task then ends as [`TaskError::WorkerDied`](crate::TaskError::WorkerDied), and the parent goes on.
    /// Bytes or text that a worker has no memory for are refused as [`TaskError::Wire`](crate::TaskError::Wire). Both
    /// errors name the limit. A [`Bytes`](crate::Bytes) argument stays in the memory that is shared with the parent,
    /// and does not count. macOS has no such limit: there, calls of a pool with one fail with an error that says so.
    #[doc(alias = "rlimit")]
    #[must_use]
    pub const fn memory_limit(mut self, bytes: u64) -> Self {
        self.spec.limits.memory = Some(bytes);
        self
    }

    /// Runs `hook` first in each worker process of the pool, before its first call: for loggers, limits and caches that
    /// live as long as the process. State that the calls of one function use is better made by the option `init` of the
    /// attribute, whose failure is an error of each call.
    ///
    /// The hook is a function or a closure that captures nothing, because a worker process has its own memory. A panic
    /// in it is reported on stderr, and the worker runs calls all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use fanfold::{Pool, parallel};
    ///
    /// static LEVEL: AtomicU32 = AtomicU32::new(0); // each process has its own
    /// static PARSERS: Pool = Pool::process("parsers")
    ///     .threads(1)
    ///     .on_process_start(|| LEVEL.store(3, Ordering::Relaxed))
    ///     .on_process_stop(|| println!("a parser ends"));
    ///
    /// #[parallel(kind = "process", pool = PARSERS)]
    /// fn level() -> u32 {
    ///     LEVEL.load(Ordering::Relaxed)
    /// }
    ///
    /// # #[fanfold::main]
    /// fn main() {
    ///     assert_eq!((level(), LEVEL.load(Ordering::Relaxed)), (3, 0));
    /// }
    /// ```
    #[doc(alias = "initializer")]
    #[must_use]
    pub const fn on_process_start(mut self, hook: fn()) -> Self {
        self.spec.process_hooks.start = Some(hook);
        self
    }

    /// Runs `hook` last in each worker process of the pool that ends in order: when the pool is closed, also one of a
    /// `static` pool that is shut down, after [`max_tasks_per_worker`](Self::max_tasks_per_worker) tasks, or after
    /// [`idle_timeout`](Self::idle_timeout). It has 5 s, after which the process is killed. A worker that is killed, that
    /// crashes, or whose parent ends does not run it.
    ///
    /// The hook captures nothing, as with [`on_process_start`](Self::on_process_start). The state that `init` made is
    /// dropped after it. A panic in it is reported on stderr.
    #[doc(alias = "exit_handler")]
    #[must_use]
    pub const fn on_process_stop(mut self, hook: fn()) -> Self {
        self.spec.process_hooks.stop = Some(hook);
        self
    }

    /// Replaces each worker process after this many tasks, for libraries that leak memory.
    #[doc(alias = "max_tasks_per_child")]
    #[doc(alias = "maxtasksperchild")]
    #[must_use]
    pub const fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.spec.limits.tasks = Some(tasks);
        self
    }

    /// The pool of `kind = "process"`: one worker process per core, unless [`configure`](crate::configure) or
    /// `FANFOLD_PROCESSES` says otherwise.
    #[must_use]
    pub fn process_default() -> &'static Self {
        static PROCESSES: Pool = Pool::process("process").default();
        &PROCESSES
    }
}
