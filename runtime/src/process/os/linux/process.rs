//! Starting a worker process, and the identity of a process.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{Signal, getegid, geteuid, set_parent_process_death_signal};

use super::ChildProcess;
use crate::process::os::unix::{is_parent, this_program};

/// The command that starts this program once more, with `socket` as standard input.
pub(crate) fn worker_command(socket: UnixStream) -> io::Result<Command> {
    let mut command = this_program()?;
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
