//! [`Spec`]: the options of a pool, and [`BuildError`]: why a pool cannot be built.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::config::{self, BadVariable, Setting};
use super::hooks::Hooks;
#[cfg(feature = "process")]
use crate::process;
use crate::sys::cpu;

/// The kind of a pool's workers.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Work-stealing threads of rayon's, one per core.
    Cpu,
    /// Threads that may block. Their number grows with the work.
    Io,
    /// Plain threads for DataFrame chunks, one per core. Polars panics in a chunk on a thread of another rayon pool.
    Frame,
    /// Threads that drive one worker process each.
    Process,
}

impl Kind {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Io => "io",
            Kind::Frame => "frame",
            Kind::Process => "process",
        }
    }

    /// The number of threads, where the user gave none.
    ///
    /// # Errors
    ///
    /// If the environment variable for it is not a positive integer.
    pub(super) fn default_threads(self, is_default: bool) -> Result<usize, BadVariable> {
        let (setting, default) = match self {
            Kind::Io => (Setting::Io, 256),
            Kind::Cpu | Kind::Frame => (Setting::Cpu, cpu::cores()),
            Kind::Process => (Setting::Process, cpu::cores()),
        };
        config::threads(setting, default, is_default)
    }
}

/// `cpu`, `io`, `frame` or `process`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The options of a pool.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    /// The most threads; [`Kind::default_threads`] if `None`.
    pub(crate) threads: Option<usize>,
    /// Whether this is the pool that the attribute uses where none is named.
    pub(crate) default: bool,
    pub(crate) hooks: Hooks,
    pub(crate) limits: Limits,
    pub(crate) process_hooks: ProcessHooks,
    /// How long threads and worker processes stay without work, if set.
    pub(crate) idle_timeout: Option<Duration>,
    /// Bytes of stack of each thread; those of the standard library's threads if `None`.
    pub(crate) stack: Option<usize>,
    /// The most tasks that wait in the queue; no limit if `None`.
    pub(crate) queue_limit: Option<usize>,
}

impl Spec {
    /// Checks the options.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        if self.name.contains('\0') {
            return Err(BuildError::BadName);
        }
        let Limits { memory, tasks } = self.limits;
        if memory == Some(0) || tasks == Some(0) || (self.kind != Kind::Process && self.limits != Limits::default()) {
            return Err(BuildError::BadLimit);
        }
        let ProcessHooks { start, stop } = self.process_hooks;
        if self.kind != Kind::Process && start.or(stop).is_some() {
            return Err(BuildError::BadProcessHook(std::io::Error::other("it is a pool of threads")));
        }
        if let Some(bytes) = self.stack
            && (self.kind == Kind::Process || !STACK_SIZES.contains(&bytes))
        {
            return Err(BuildError::BadStackSize);
        }
        if self.queue_limit == Some(0) {
            return Err(BuildError::NoQueue);
        }
        #[cfg(feature = "process")]
        if self.kind == Kind::Process
            && let Some(why) = process::unavailable_reason()
        {
            return Err(BuildError::NoProcesses(why));
        }
        Ok(())
    }
}

/// The sizes of a stack, in bytes. A worker's own frames, and those of a panic that is reported with a backtrace, fit
/// into the smallest in a debug build (`tests/stack_sizes.rs`). A size beyond the largest would overflow where it is
/// rounded up to whole pages.
const STACK_SIZES: RangeInclusive<usize> = 64 << 10..=isize::MAX.unsigned_abs();

/// What each worker process runs first and last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProcessHooks {
    pub(crate) start: Option<fn()>,
    pub(crate) stop: Option<fn()>,
}

/// Limits of each worker process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of private memory.
    pub(crate) memory: Option<u64>,
    /// Tasks, before the process is replaced.
    pub(crate) tasks: Option<u64>,
}

/// Why a pool could not be built.
#[non_exhaustive]
#[derive(Debug)]
pub enum BuildError {
    /// `threads(0)`: no task would ever run.
    NoThreads,
    /// A cpu pool with more threads than 1,024 and than four for each core: all of them would start with the pool, and
    /// compete for the cores.
    TooManyThreads {
        /// The threads that were asked for.
        threads: usize,
        /// The most threads of a cpu pool on this machine.
        most: usize,
    },
    /// The operating system refused a thread.
    Spawn(std::io::Error),
    /// An environment variable that sets a default size is not a positive integer.
    Environment(BadVariable),
    /// Worker processes are not available here. The text says why.
    NoProcesses(&'static str),
    /// The name contains a NUL byte, which a thread's name cannot.
    BadName,
    /// A limit for worker processes is 0, or was given to a pool of threads.
    BadLimit,
    /// A hook of worker processes was given to a pool of threads, or it is in a shared library, where a worker process
    /// cannot find it.
    BadProcessHook(std::io::Error),
    /// A stack of less than 64 KiB or more than half of the address space, or a pool of processes, whose threads run no
    /// task.
    BadStackSize,
    /// `queue_limit(0)`: no task could ever be submitted.
    NoQueue,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThreads => f.write_str("a pool of 0 threads cannot run a task: give it at least 1"),
            Self::TooManyThreads { threads, most } => write!(
                f,
                "a cpu pool has at most {most} threads here, and not {threads}: give it about one for each core, or use \
                 an io pool for tasks that wait"
            ),
            Self::Spawn(cause) => write!(
                f,
                "the operating system refused a worker thread ({cause}): close other threads, or raise its limit"
            ),
            Self::Environment(bad) => bad.fmt(f),
            Self::NoProcesses(why) => f.write_str(why),
            Self::BadName => {
                f.write_str("a pool's name must not contain NUL, as it names the pool's threads: remove the NUL")
            }
            Self::BadProcessHook(cause) => write!(
                f,
                "`on_process_start` and `on_process_stop` are for functions of the program and pools of processes \
                 ({cause}): use `Pool::process`, or `on_start` and `on_stop` for threads"
            ),
            Self::BadStackSize => f.write_str(
                "`stack_size` is for pools of threads, and at least 64 KiB: raise it, or leave it out; the stack of a \
                 worker process is set by `ulimit -s`",
            ),
            Self::NoQueue => f.write_str(
                "with a `queue_limit` of 0 no task could ever be submitted, as each waits in the queue until a worker \
                 takes it: give it at least 1",
            ),
            Self::BadLimit => f.write_str(
                "`memory_limit` and `max_tasks_per_worker` are for pools of processes, and at least 1: make the pool \
                 with `Pool::process`, or remove them",
            ),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoThreads
            | Self::TooManyThreads { .. }
            | Self::NoProcesses(_)
            | Self::BadName
            | Self::BadLimit
            | Self::BadStackSize
            | Self::NoQueue => None,
            Self::Spawn(cause) | Self::BadProcessHook(cause) => Some(cause),
            Self::Environment(bad) => Some(bad),
        }
    }
}
