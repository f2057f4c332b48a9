//! Standard input of a worker process: the socket to its parent, and what replaces it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{Peer, check};
use crate::process::os::refusal::{Operation, RefusedOperation};

/// Who has made the socket that is standard input; `None` if that is no socket of this system's.
pub(crate) fn stdin_peer() -> Option<Peer> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    #[allow(clippy::cast_possible_truncation, reason = "three numbers")]
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: room for the answer, of the length that is said.
    let found =
        unsafe { libc::getsockopt(0, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut len) };
    let process = u32::try_from(peer.pid).ok().filter(|pid| found == 0 && *pid != 0)?;
    Some(Peer { process, user: peer.uid, group: peer.gid })
}

/// Takes standard input, which is a socket, away from the user's code: that reads nothing.
pub(crate) fn take_stdin() -> io::Result<UnixStream> {
    // SAFETY: 0 is standard input; the copy is new and nobody else's.
    let socket = unsafe {
        let copy = check(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3));
        OwnedFd::from_raw_fd(copy.map_err(|error| RefusedOperation::error(Operation::Duplicate, error))?)
    };
    let nothing = empty_input(Path::new("/dev/null"))?;
    // SAFETY: two open descriptors.
    check(unsafe { libc::dup2(nothing.as_raw_fd(), 0) })?;
    Ok(UnixStream::from(socket))
}

/// What reads as an empty file: the file of this path, or where that is not there, as in a chroot, the end of a pipe
/// that nobody writes to.
fn empty_input(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::File::open(path) {
        Ok(file) => Ok(file.into()),
        Err(_) => {
            io::pipe().map(|(end, _)| end.into()).map_err(|error| RefusedOperation::error(Operation::Duplicate, error))
        }
    }
}

/// Lends the socket that standard input is, where [`take_stdin`] could not take it.
pub(crate) fn with_stdin(work: impl FnOnce(&mut UnixStream)) {
    // SAFETY: descriptor 0 is a socket, as `parent` has checked, and nothing closes it here: it is not dropped.
    let mut stdin = std::mem::ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(0) });
    work(&mut stdin);
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn standard_input_is_empty_without_dev_null_too() {
        for path in ["/dev/null", "/no/such/file"] {
            let input = empty_input(Path::new(path)).expect("there are descriptors");
            let mut bytes = Vec::new();
            std::fs::File::from(input).read_to_end(&mut bytes).expect("it reads");
            assert!(bytes.is_empty());
        }
    }
}
