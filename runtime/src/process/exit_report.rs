//! [`ExitReport`]: how a worker process ended, for error messages.

use std::fmt;
use std::io;

use super::limits::WorkerLimits;
use super::os;
use super::os::Exit;
use super::os::refusal::{Operation, RefusedOperation};

/// Why a worker process was given up.
#[derive(Clone, Copy, Debug)]
pub(super) enum LossCause {
    /// It exited, or closed its socket.
    Disconnected,
    /// It wrote something that a sound worker does not write.
    Corrupt,
    /// Its task timed out, or was cancelled.
    Killed,
    /// It belongs to the process that this one was forked from.
    Forked,
    /// The kernel refused to send descriptors to it, with this OS error.
    SendFailed(i32),
}

/// How a worker process ended.
#[derive(Debug)]
pub(crate) struct ExitReport {
    pub(super) pid: u32,
    /// How the process exited, if this process did not kill it for another cause.
    pub(super) exit: Option<Exit>,
    pub(super) cause: LossCause,
    pub(super) limits: WorkerLimits,
}

impl ExitReport {
    pub(super) fn signal(&self) -> Option<i32> {
        match self.exit {
            Some(Exit::Signal(signal)) => Some(signal),
            _ => None,
        }
    }

    pub(super) fn code(&self) -> Option<i32> {
        match self.exit {
            Some(Exit::Code(code)) => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal(), self.code()) {
            (Some(signal), _) => {
                write!(f, "it was killed by {} (signal {signal})", os::signal_name(signal))?;
                match self.limits.memory_limit {
                    Some(limit) if signal == os::SIGABRT => write!(
                        f,
                        "; its memory limit is {limit} bytes (`memory_limit` of its pool): raise it if the task, its \
                         arguments and its result need more, or send less at once"
                    ),
                    _ => Ok(()),
                }
            }
            (None, Some(code)) => match os::describe_exit_code(code) {
                Some(meaning) => write!(f, "it ended with exit code {code:#010X} ({meaning})"),
                None => write!(f, "it exited with code {code}"),
            },
            (None, None) if self.exit == Some(Exit::Unknown) && matches!(self.cause, LossCause::Disconnected) => f
                .write_str(
                    "it ended, and how is unknown: another part of this program has waited for it (`waitpid(-1)`), or \
                 ignores SIGCHLD, so that the kernel keeps no exit status",
                ),
            (None, None) => match self.cause {
                LossCause::Disconnected => f.write_str("it closed its connection to the parent"),
                LossCause::Corrupt => f.write_str(
                    "what it sent cannot be read, or was not asked for: it wrote into memory that was not its own, or \
                     this process may open no more files (RLIMIT_NOFILE, `ulimit -n`) or has no address space left \
                     (RLIMIT_AS, `ulimit -v`)",
                ),
                LossCause::Killed => f.write_str("it was killed"),
                LossCause::Forked => f.write_str(
                    "it belongs to the process that this one was forked from: start the program anew (exec) after a \
                     fork",
                ),
                LossCause::SendFailed(number) => {
                    RefusedOperation::error(Operation::Send, io::Error::from_raw_os_error(number)).fmt(f)
                }
            },
        }
    }
}
