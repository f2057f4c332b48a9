//! [`Spec`]: what a pool is to be, and [`BuildError`]: why it cannot.

use std::fmt;

use super::config::{self, BadVariable, Setting};
#[cfg(feature = "process")]
use crate::process;
use crate::sys::cpu;

/// What a pool's workers are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Work-stealing threads, one a core.
    Cpu,
    /// Threads that may block; their number grows with demand.
    Io,
    /// Plain threads for DataFrame chunks, one a core, none of them rayon's.
    #[cfg_attr(not(feature = "polars"), allow(dead_code, reason = "made by the frames alone"))]
    Frame,
    /// Threads that have a worker process each.
    #[cfg_attr(not(feature = "process"), allow(dead_code, reason = "made by that feature alone"))]
    Process,
}

impl Kind {
    pub(super) fn label(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Io => "io",
            Kind::Frame => "frame",
            Kind::Process => "process",
        }
    }

    /// Threads at most, where the user did not say.
    pub(super) fn default_threads(self, is_default: bool) -> Result<usize, BadVariable> {
        let (setting, default) = match self {
            Kind::Io => (Setting::Io, 256),
            Kind::Cpu | Kind::Frame => (Setting::Cpu, cpu::cores()),
            Kind::Process => (Setting::Process, cpu::cores()),
        };
        config::threads(setting, default, is_default)
    }
}

/// What a pool is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    /// Threads at most; the kind's own number where the user did not say.
    pub(crate) threads: Option<usize>,
    /// Whether this is the pool that the attribute uses where none is named.
    pub(crate) default: bool,
    pub(crate) hooks: Hooks,
    pub(crate) limits: Limits,
}

impl Spec {
    /// What can be known to be wrong.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        if self.name.contains('\0') {
            return Err(BuildError::BadName);
        }
        let Limits { memory, tasks } = self.limits;
        if memory == Some(0) || tasks == Some(0) || (self.kind != Kind::Process && self.limits != Limits::default()) {
            return Err(BuildError::BadLimit);
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

/// What each worker process may have and do, where there are processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of private memory.
    pub(crate) memory: Option<u64>,
    /// Tasks, before another one takes its place.
    pub(crate) tasks: Option<u64>,
}

/// What each thread of a pool runs first and last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hooks {
    pub(crate) start: Option<fn()>,
    pub(crate) stop: Option<fn()>,
}

/// Why a pool could not be made.
#[non_exhaustive]
#[derive(Debug)]
pub enum BuildError {
    /// `threads(0)`: nothing would ever run.
    NoThreads,
    /// The operating system refused a thread.
    Spawn(std::io::Error),
    /// An environment variable says no number.
    Environment(BadVariable),
    /// There can be no worker processes here: why.
    NoProcesses(&'static str),
    /// A name with a NUL in it, which no thread can have.
    BadName,
    /// A limit for worker processes that is 0, or that was given to a pool of threads.
    BadLimit,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThreads => f.write_str("a pool of 0 threads would never run anything: give it at least 1"),
            Self::Spawn(cause) => write!(
                f,
                "the operating system refused a worker thread ({cause}): close other threads, or raise its limit"
            ),
            Self::Environment(bad) => bad.fmt(f),
            Self::NoProcesses(why) => f.write_str(why),
            Self::BadName => {
                f.write_str("a pool's name is that of its threads, which cannot hold a NUL: leave it away")
            }
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
            Self::NoThreads | Self::NoProcesses(_) | Self::BadName | Self::BadLimit => None,
            Self::Spawn(cause) => Some(cause),
            Self::Environment(bad) => Some(bad),
        }
    }
}
