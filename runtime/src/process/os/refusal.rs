//! Errors of operations that the operating system refused, with advice for the user.
//!
//! Each operation that may be refused has an [`Operation`], so that an error names it.

use std::fmt;
use std::io;

use crate::process::role::memory_limit;

/// An operation that the operating system may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(not(target_os = "linux"), fanfold_portable), allow(dead_code, reason = "not every system is asked all"))]
pub(crate) enum Operation {
    /// Creating shared memory.
    Memory,
    /// Mapping shared memory.
    Map,
    /// Making a pair of connected sockets.
    Sockets,
    /// Duplicating a descriptor.
    Duplicate,
    /// Sending descriptors to another process.
    Send,
    /// Starting a thread.
    Thread,
    /// Running this program once more.
    Program,
    /// Opening a pidfd of the new process.
    Pidfd,
    /// Setting the memory limit of a worker.
    Limit,
}

impl Operation {
    fn what(self) -> &'static str {
        match self {
            Self::Memory if cfg!(target_os = "linux") => "shared memory (memfd_create)",
            Self::Memory => "shared memory",
            Self::Map => "a mapping of shared memory (mmap)",
            Self::Sockets => "a pair of sockets (socketpair)",
            Self::Duplicate => "a copy of a file descriptor (dup)",
            Self::Send => "to send file descriptors to another process (sendmsg)",
            Self::Thread => "a thread",
            Self::Program if cfg!(target_os = "linux") => "to run this program once more (/proc/self/exe)",
            Self::Program => "to run this program once more",
            Self::Pidfd => "a descriptor of the new process (pidfd_open)",
            Self::Limit if cfg!(unix) => "a memory limit (setrlimit)",
            Self::Limit => "a memory limit (a job object)",
        }
    }
}

/// An operation that was refused. It is the inner error of an [`io::Error`] of the same kind.
#[derive(Debug)]
pub(crate) struct RefusedOperation {
    step: Operation,
    error: io::Error,
}

impl RefusedOperation {
    /// The error of a refused operation.
    pub(crate) fn error(step: Operation, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self { step, error })
    }
}

/// The error of a copy for which there is no memory.
#[cold]
pub(crate) fn no_memory_for_copy(bytes: usize) -> io::Error {
    let why = match memory_limit() {
        Some(limit) => format!(
            "a worker process has no memory for a copy of {bytes} bytes: its pool's `memory_limit` is {limit} bytes: \
             raise it, send less at once, or take a `fanfold::Bytes`, which is not copied on its way to a worker"
        ),
        None => format!(
            "there is no memory for a copy of {bytes} bytes: give memory back, send less at once, or raise the limit \
             (RLIMIT_AS, `ulimit -v`; RLIMIT_DATA, `ulimit -d`; that of this container)"
        ),
    };
    io::Error::new(io::ErrorKind::OutOfMemory, why)
}

/// Whether the same operation may succeed soon: the refused resource was in use.
pub(crate) fn may_succeed_later(error: &io::Error) -> bool {
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<RefusedOperation>());
    is_shortage(refused.map_or(error, |refused| &refused.error))
}

impl fmt::Display for RefusedOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operating system refused {}: {}", self.step.what(), self.error)?;
        match advice(self.step, &self.error) {
            "" => Ok(()),
            advice => write!(f, ": {advice}"),
        }
    }
}

impl std::error::Error for RefusedOperation {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(unix)]
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EAGAIN
                | libc::EMFILE
                | libc::ENFILE
                | libc::ENOMEM
                | libc::ENOBUFS
                | libc::EINTR
                | libc::EBUSY
                | libc::ETXTBSY
                | libc::ETOOMANYREFS
        )
    )
}

/// What the user can do about a refusal; empty if nothing is known.
#[cfg(unix)]
fn advice(step: Operation, error: &io::Error) -> &'static str {
    match (error.raw_os_error().unwrap_or(0), step) {
        (libc::EMFILE | libc::ETOOMANYREFS, _) => {
            "this process has as many files open as it may: close some, or raise the limit (RLIMIT_NOFILE, `ulimit -n`)"
        }
        (libc::ENFILE, _) => {
            "the whole system has as many files open as it may: close some, or raise its limit (`fs.file-max`)"
        }
        (libc::ENOMEM, Operation::Map) => {
            "the address space of this process is used up, or its number of mappings: give memory back, or raise the \
             limit (RLIMIT_AS, `ulimit -v`; `vm.max_map_count`)"
        }
        (libc::EFBIG, _) => {
            "shared memory counts as a file, and files of this process may not be so long: raise the limit \
             (RLIMIT_FSIZE, `ulimit -f`)"
        }
        (libc::ENOMEM | libc::ENOBUFS, _) => "memory is short: give some back, or raise the limit of this container",
        (libc::EAGAIN, Operation::Thread | Operation::Program) => {
            "the user or the container has as many processes and threads as it may, or memory is short: end some, or \
             raise the limit (RLIMIT_NPROC, `ulimit -u`; `pids.max`)"
        }
        (libc::ENOENT, Operation::Program)
            if cfg!(target_os = "linux") && std::fs::symlink_metadata("/proc/self/exe").is_err() =>
        {
            "a worker is started from `/proc/self/exe`, and `/proc` is not mounted here: mount it in this container or \
             chroot (`mount -t proc proc /proc`)"
        }
        (libc::ENOENT, Operation::Program) => {
            "the program was found, but not what loads it: its dynamic loader is missing in this container or chroot"
        }
        (libc::EACCES, Operation::Program) => {
            "the program's file may not be run from here: look at its permissions, and whether its file system is \
             mounted `noexec`"
        }
        (libc::E2BIG, Operation::Program) => "the environment of this process is too large to be passed on: shorten it",
        (libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EINVAL, _) => {
            "a sandbox forbids it (seccomp, AppArmor, SELinux), or the kernel is too old: allow this system call for \
             the program, or use `kind = \"cpu\"`"
        }
        _ => "",
    }
}

#[cfg(not(unix))]
fn is_shortage(_: &io::Error) -> bool {
    false
}

#[cfg(not(unix))]
fn advice(_: Operation, _: &io::Error) -> &'static str {
    ""
}
