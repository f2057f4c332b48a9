//! Starting a worker process, and the identity, rights and limits of a process.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::check;
use crate::process::os::refusal::{Operation, RefusedOperation};

/// The process that started this one.
#[allow(clippy::unnecessary_wraps, reason = "not every system knows")]
pub(crate) fn parent_id() -> Option<u32> {
    Some(std::os::unix::process::parent_id())
}

/// Starts this program once more, with a socket as standard input.
pub(crate) fn worker_command(socket: UnixStream) -> Command {
    // The file that this process was started from, though another may have its name by now.
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.stdin(Stdio::from(OwnedFd::from(socket)));
    command
}

/// Has this process killed when its parent's thread that started it ends; `false` if that is too late.
pub(crate) fn die_with_parent(parent: u32) -> bool {
    // SAFETY: a number each; asking for the parent cannot fail.
    let now = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid()
    };
    u32::try_from(now) == Ok(parent)
}

/// Limits the private memory of this process; allocations beyond it fail.
pub(crate) fn set_memory_limit(bytes: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: a limit that is alive.
    let limited = check(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) });
    limited.map(drop).map_err(|error| RefusedOperation::error(Operation::Limit, error))
}

/// Whether this process has more rights than the one that started it, by a set-user-ID or set-group-ID bit, or
/// capabilities, of the program's file.
pub(crate) fn has_elevated_rights() -> bool {
    // SAFETY: it reads what the kernel gave this process at its start.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether this process acts as another user or group than its caller's, and so would the workers that it starts.
pub(crate) fn acts_for_another_user() -> bool {
    // SAFETY: they cannot fail.
    unsafe { libc::getuid() != libc::geteuid() || libc::getgid() != libc::getegid() }
}

/// Who has made a socket pair: its process, and the user and group that this acted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(super) process: u32,
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Peer {
    /// A process of the user and group that this one acts as.
    pub(crate) fn of_same_user(process: u32) -> Self {
        // SAFETY: they cannot fail.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        Self { process, user, group }
    }
}

/// Does what Rust's runtime does to a process before `main`, as far as it can be done from outside: standard streams
/// are open, and writing to a closed pipe is an error, not the end.
pub(crate) fn prepare_like_rust_runtime() {
    // SAFETY: numbers and a C string; a stream that is closed is nobody's.
    unsafe {
        for stream in 0..3 {
            // The lowest free number is this one: those below are open by now.
            if libc::fcntl(stream, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}
