//! Standard input of a worker process, before it is taken: who made the socket.

use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;

use super::Peer;

/// The process that made the socket that is standard input; `None` if standard input is no Unix socket. The kernel says
/// it, whatever the claimed parent.
pub(crate) fn stdin_peer(_: u32) -> Option<Peer> {
    // `rustix` has no value for the process id 0, which the kernel reports for a peer in another PID namespace.
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    #[allow(clippy::cast_possible_truncation, reason = "three numbers")]
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `peer` is a valid place for an answer of `len` bytes.
    let found =
        unsafe { libc::getsockopt(0, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut len) };
    let process = u32::try_from(peer.pid).ok().filter(|pid| found == 0 && *pid != 0)?;
    Some(Peer { process, user: peer.uid, group: peer.gid })
}

/// Runs `work` with the socket that is standard input, where [`take_stdin`] failed.
pub(crate) fn with_stdin(work: impl FnOnce(&mut UnixStream)) {
    // SAFETY: `startup::check_parent` found that descriptor 0 is a socket. `ManuallyDrop` leaves it open, so it is not
    // closed while something else uses it.
    let mut stdin = std::mem::ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(0) });
    work(&mut stdin);
}
