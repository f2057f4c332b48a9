//! The sizes of the default pools: [`configure`], else the environment, else the number of cores.

use std::fmt;
use std::sync::{Mutex, MutexGuard};

use super::core::max_cpu_threads;
use super::runtime_warning::{self, OnBlockedRuntime};
pub(crate) use super::serial::is_serial as serial;
use super::task_clock;
use crate::sys::mutex;

/// A default pool whose size can be set. Pools of the same kind without a size of their own have that size, too.
#[derive(Clone, Copy)]
pub(crate) enum Setting {
    Cpu,
    Io,
    Process,
}

impl Setting {
    fn variable(self) -> &'static str {
        match self {
            Setting::Cpu => "FANFOLD_CPU_THREADS",
            Setting::Io => "FANFOLD_IO_THREADS",
            Setting::Process => "FANFOLD_PROCESSES",
        }
    }

    fn pool(self) -> &'static str {
        match self {
            Setting::Cpu => "cpu",
            Setting::Io => "io",
            Setting::Process => "process",
        }
    }

    fn size_in(self, sizes: &mut DefaultSizes) -> &mut DefaultSize {
        match self {
            Setting::Cpu => &mut sizes.cpu,
            Setting::Io => &mut sizes.io,
            Setting::Process => &mut sizes.process,
        }
    }
}

#[derive(Clone, Copy)]
struct DefaultSize {
    threads: Option<usize>,
    /// Whether the default pool has started: its size cannot change any more.
    is_used: bool,
}

impl DefaultSize {
    const NEW: Self = Self { threads: None, is_used: false };
}

pub(super) struct DefaultSizes {
    cpu: DefaultSize,
    io: DefaultSize,
    process: DefaultSize,
}

static DEFAULT_SIZES: Mutex<DefaultSizes> =
    Mutex::new(DefaultSizes { cpu: DefaultSize::NEW, io: DefaultSize::NEW, process: DefaultSize::NEW });

pub(super) fn lock() -> MutexGuard<'static, DefaultSizes> {
    mutex::lock(&DEFAULT_SIZES)
}

/// The size of a pool that starts now and has no size of its own. If it is the default pool, `configure` cannot change
/// its size from now on.
pub(super) fn threads(setting: Setting, default: usize, is_default: bool) -> Result<usize, BadVariable> {
    let configured = setting.size_in(&mut lock()).threads;
    // Without the lock: reading the environment allocates.
    let threads = match configured {
        Some(threads) => threads,
        None => from_environment(setting.variable())?.unwrap_or(default),
    };
    let mut sizes = lock();
    let size = setting.size_in(&mut sizes);
    size.is_used |= is_default;
    Ok(size.threads.unwrap_or(threads))
}

fn from_environment(name: &'static str) -> Result<Option<usize>, BadVariable> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let number = value.to_str().and_then(|text| text.trim().parse().ok()).filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| BadVariable { name, value: value.to_string_lossy().into_owned() })
}

/// An environment variable that should hold a number of threads, and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadVariable {
    name: &'static str,
    value: String,
}

impl fmt::Display for BadVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the environment variable {} is `{}`, which is not a positive integer: set it to 1 or more, or unset it",
            self.name, self.value
        )
    }
}

impl std::error::Error for BadVariable {}

/// Sets the sizes of the default pools, before their first use. It overrides the environment variables
/// `FANFOLD_CPU_THREADS`, `FANFOLD_IO_THREADS` and `FANFOLD_PROCESSES`.
///
/// There is one more environment variable, which is no size: with `FANFOLD_SERIAL=1` or `true` everything runs on the
/// caller's thread, as in [`serial`](crate::serial()). With `0`, `false`, an empty value or without the variable it
/// does not. The first call panics on any other value.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), fanfold::ConfigureError> {
/// fanfold::configure().cpu_threads(4).io_threads(64).apply()?;
/// assert_eq!(fanfold::Pool::cpu_default().stats().threads, 4);
///
/// let late = fanfold::configure().cpu_threads(2).apply();
/// assert!(late.is_err()); // the pool has started
/// # Ok(())
/// # }
/// ```
#[doc(alias = "build_global")]
#[doc(alias = "RAYON_NUM_THREADS")]
pub fn configure() -> Configure {
    Configure {
        cpu: None,
        io: None,
        process: None,
        blocked_runtime: None,
        task_times: None,
        #[cfg(feature = "tracing")]
        task_spans: None,
    }
}

/// Sizes of default pools. [`configure`] makes a `Configure`, and [`apply`](Self::apply) sets the sizes.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is set before `apply`"]
pub struct Configure {
    cpu: Option<usize>,
    io: Option<usize>,
    process: Option<usize>,
    blocked_runtime: Option<OnBlockedRuntime>,
    task_times: Option<bool>,
    #[cfg(feature = "tracing")]
    task_spans: Option<bool>,
}

impl Configure {
    /// Threads of the default cpu pool, and of the pool of DataFrame chunks. Unless set: one per core.
    pub fn cpu_threads(mut self, threads: usize) -> Self {
        self.cpu = Some(threads);
        self
    }

    /// The most threads of the default io pool. Unless set: 256.
    pub fn io_threads(mut self, threads: usize) -> Self {
        self.io = Some(threads);
        self
    }

    /// Worker processes of the default process pool. Unless set: one per core.
    pub fn processes(mut self, processes: usize) -> Self {
        self.process = Some(processes);
        self
    }

    /// What a call does that blocks a thread of a Tokio runtime. Unless set, the environment variable
    /// `FANFOLD_BLOCKED_RUNTIME` says it: `warn`, `panic` or `off`; else it warns. The first such call panics on any
    /// other value.
    ///
    /// Such a thread runs no other task while it waits: await the function's `submit(..)` instead. Calls in
    /// `spawn_blocking` and `block_in_place` are right, and are not reported. Only debug builds check it, and only with
    /// the feature `tokio`. Unlike the sizes it can be set at any time.
    ///
    /// It checks direct calls of `cpu`, `io` and `process` functions, the ends of maps and of the chunks of frames and
    /// columns, [`Task::join`](crate::Task::join), [`join_all`](crate::join_all), [`first`](crate::first),
    /// [`Pool::install`](crate::Pool::install) and [`scope`](crate::scope()). It does not check waits with a limit of
    /// their own, iterators over results ([`as_completed`](crate::as_completed), loops over a map,
    /// [`TaskSet::join_next`](crate::TaskSet::join_next)), [`join`](crate::join()), whose caller computes itself, scans
    /// of files, channels and shared values.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), fanfold::ConfigureError> {
    /// // In tests: find such calls.
    /// fanfold::configure().blocked_runtime(fanfold::OnBlockedRuntime::Panic).apply()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn blocked_runtime(mut self, blocked_runtime: OnBlockedRuntime) -> Self {
        self.blocked_runtime = Some(blocked_runtime);
        self
    }

    /// Whether the pools measure how long their tasks wait and run, for
    /// [`Stats::queue_wait`](crate::Stats::queue_wait) and [`Stats::run_time`](crate::Stats::run_time). Unless set,
    /// they do not, which saves each task three readings of the clock.
    ///
    /// Unlike the sizes it can be set at any time, and holds for tasks that are submitted from then on.
    pub fn task_times(mut self, task_times: bool) -> Self {
        self.task_times = Some(task_times);
        self
    }

    /// Whether tasks, chunks and blocks have `tracing` spans of their own, inside the span of their caller. Unless set,
    /// they do not.
    ///
    /// Each submitted task has a span with the target `fanfold::task`; each chunk of a call with `chunks`, a frame or a
    /// scan one with the target `fanfold::chunk`; and each block of items that one thread runs of a map one with the
    /// target `fanfold::block`; all at level `TRACE`. Their fields are `function`, `kind`, `pool`, `queue_time` (not of
    /// blocks and scans), `items` (of blocks), `worker` (the [`worker_index`](crate::worker_index), on workers) and,
    /// once it has ended, `run_time`. A subscriber may filter them by target and level as all spans. While spans are
    /// on, a task for a worker process is sent only when its worker is idle.
    ///
    /// Unlike the sizes it can be set at any time, and holds for what is submitted from then on.
    #[cfg(feature = "tracing")]
    pub fn task_spans(mut self, task_spans: bool) -> Self {
        self.task_spans = Some(task_spans);
        self
    }

    /// Sets the sizes that were given; none of them if any cannot be set.
    ///
    /// # Errors
    ///
    /// [`ConfigureError`] if a size is 0, if a cpu pool cannot have so many threads
    /// ([`BuildError::TooManyThreads`](crate::BuildError::TooManyThreads)), or if its pool has started.
    pub fn apply(self) -> Result<(), ConfigureError> {
        let most = max_cpu_threads();
        let mut sizes = lock();
        let wanted = [(Setting::Cpu, self.cpu), (Setting::Io, self.io), (Setting::Process, self.process)];
        for (setting, threads) in wanted {
            let pool = setting.pool();
            match threads {
                Some(0) => return Err(ConfigureError::NoThreads { pool }),
                Some(threads) if matches!(setting, Setting::Cpu) && threads > most => {
                    return Err(ConfigureError::TooManyThreads { pool, threads, most });
                }
                Some(_) if setting.size_in(&mut sizes).is_used => return Err(ConfigureError::Started { pool }),
                _ => {}
            }
        }
        for (setting, threads) in wanted {
            let size = setting.size_in(&mut sizes);
            size.threads = threads.or(size.threads);
        }
        drop(sizes);
        if let Some(policy) = self.blocked_runtime {
            runtime_warning::set(policy);
        }
        if let Some(on) = self.task_times {
            task_clock::measure_for(task_clock::HISTOGRAMS, on);
        }
        #[cfg(feature = "tracing")]
        if let Some(on) = self.task_spans {
            task_clock::measure_for(task_clock::SPANS, on);
        }
        Ok(())
    }
}

/// Why [`Configure::apply`] set no size.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigureError {
    /// A size was 0.
    NoThreads {
        /// The pool: `cpu`, `io` or `process`.
        pool: &'static str,
    },
    /// A cpu pool cannot have so many threads: see
    /// [`BuildError::TooManyThreads`](crate::BuildError::TooManyThreads).
    TooManyThreads {
        /// The pool: `cpu`.
        pool: &'static str,
        /// The threads that were asked for.
        threads: usize,
        /// The most threads of a cpu pool on this machine.
        most: usize,
    },
    /// The pool has started, and its size cannot change any more.
    Started {
        /// The pool: `cpu`, `io` or `process`.
        pool: &'static str,
    },
}

impl fmt::Display for ConfigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThreads { pool } => write!(f, "the {pool} pool cannot have 0 threads: give it at least 1"),
            Self::TooManyThreads { pool, threads, most } => {
                write!(
                    f,
                    "the {pool} pool has at most {most} threads here, and not {threads}: give it about one per core"
                )
            }
            Self::Started { pool } => {
                write!(f, "the {pool} pool has started: call `configure` before the first use of it, first in `main`")
            }
        }
    }
}

impl std::error::Error for ConfigureError {}
