//! Starting a worker process, and the identity, rights and limits of a process.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, Signal, getegid, geteuid, getgid, getuid, set_parent_process_death_signal};

use crate::process::os::pidfd::ChildProcess;
use crate::process::os::refusal::{Operation, RefusedOperation};

/// Whether this process is the parent of the calling one.
pub(crate) fn is_parent(process: u32) -> bool {
    std::os::unix::process::parent_id() == process
}

/// The command that starts this program once more, with `socket` as standard input.
#[allow(clippy::unnecessary_wraps, reason = "not every system knows its program")]
pub(crate) fn worker_command(socket: UnixStream) -> io::Result<Command> {
    // This link leads to the file that the process was started from, even if its path names another file by now.
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.stdin(Stdio::from(OwnedFd::from(socket)));
    Ok(command)
}

/// The worker's end of the socket is its standard input, so nothing is left to do.
#[allow(clippy::unnecessary_wraps, reason = "other systems may refuse it")]
pub(crate) fn attach(_: &UnixStream, _: &ChildProcess) -> io::Result<()> {
    Ok(())
}

/// Asks the kernel to kill this process when the thread of its parent that started it ends; `false` if the parent has
/// ended already.
pub(crate) fn die_with_parent(parent: u32) -> bool {
    // Where a sandbox forbids it, the watcher thread alone ends this process.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    is_parent(parent)
}

/// Limits the private memory of this process (`RLIMIT_DATA`). Allocations beyond the limit fail.
pub(crate) fn set_memory_limit(bytes: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    rustix::process::setrlimit(Resource::Data, limit)
        .map_err(|error| RefusedOperation::error(Operation::Limit, error.into()))
}

/// Whether this process has more rights than the one that started it (`AT_SECURE`): by a set-user-ID or set-group-ID
/// bit, or by capabilities of the program's file.
pub(crate) fn has_elevated_rights() -> bool {
    // SAFETY: the call reads the auxiliary vector, which the kernel wrote before the program started.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether the effective user or group of this process differs from the real one. Its workers would inherit both.
pub(crate) fn acts_for_another_user() -> bool {
    getuid() != geteuid() || getgid() != getegid()
}

/// The process that made a socket pair, and its effective user and group at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(super) process: u32,
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Peer {
    /// A process with the effective user and group of this process.
    pub(crate) fn of_same_user(process: u32) -> Self {
        Self { process, user: geteuid().as_raw(), group: getegid().as_raw() }
    }
}

/// Prepares the process as Rust's runtime does before `main`: opens closed standard streams, and makes a write to a
/// closed pipe an error instead of a signal that ends the process.
pub(crate) fn prepare_like_rust_runtime() {
    // SAFETY: `fcntl`, `open` and `signal` take numbers and a static C string. A standard stream is opened only if it
    // is closed, so no descriptor in use changes.
    unsafe {
        for stream in 0..3 {
            // `open` returns the lowest free number. The lower streams are open, so it is this one.
            if libc::fcntl(stream, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}
