//! Standard input of a worker process: the socket to its parent, and the empty input that replaces it.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::Peer;
use crate::process::os::refusal::{Operation, RefusedOperation};

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

/// Takes the socket that is standard input, and replaces it by an empty input for the user's code.
pub(crate) fn take_stdin() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(|error| RefusedOperation::error(Operation::Duplicate, error.into()))?;
    rustix::stdio::dup2_stdin(empty_input(Path::new("/dev/null"))?)?;
    Ok(UnixStream::from(socket))
}

/// An input that is empty: the file of this path, or the read end of a closed pipe if there is no such file, as in a
/// chroot.
fn empty_input(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::File::open(path) {
        Ok(file) => Ok(file.into()),
        Err(_) => {
            io::pipe().map(|(end, _)| end.into()).map_err(|error| RefusedOperation::error(Operation::Duplicate, error))
        }
    }
}

/// Runs `work` with the socket that is standard input, where [`take_stdin`] failed.
pub(crate) fn with_stdin(work: impl FnOnce(&mut UnixStream)) {
    // SAFETY: `startup::check_parent` found that descriptor 0 is a socket. `ManuallyDrop` leaves it open, so it is not
    // closed while something else uses it.
    let mut stdin = std::mem::ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(0) });
    work(&mut stdin);
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn standard_input_is_empty_even_without_dev_null() {
        for path in ["/dev/null", "/no/such/file"] {
            let input = empty_input(Path::new(path)).expect("there are descriptors");
            let mut bytes = Vec::new();
            std::fs::File::from(input).read_to_end(&mut bytes).expect("it reads");
            assert!(bytes.is_empty());
        }
    }
}
