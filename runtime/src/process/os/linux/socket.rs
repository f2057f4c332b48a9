//! Unix sockets: messages with file descriptors, and sockets that keep message boundaries for channels.

use std::collections::VecDeque;
use std::io::{self, Error, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, sockopt,
};

use super::ForeignHandle;
use crate::process::os::refusal::{Operation, RefusedOperation};

/// The descriptors that Fanfold sends with one message at most.
pub(crate) const MAX_FDS_PER_MESSAGE: usize = 16;

/// The descriptors that the kernel lets a process send with one message (`SCM_MAX_FD`). The buffer has room for all of
/// them: the kernel closes the others in `recvmsg`, and a `close` may block (see [`ForeignHandle`]).
const MAX_FDS_RECEIVED: usize = 253;

/// Sends the bytes of `parts` as one message, with at most [`MAX_FDS_PER_MESSAGE`] descriptors.
pub(crate) fn send_bytes(
    socket: BorrowedFd<'_>,
    parts: &[&[u8]],
    descriptors: &[BorrowedFd<'_>],
    wait: bool,
) -> io::Result<()> {
    let parts: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS_PER_MESSAGE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
        assert!(fits, "more descriptors than one message holds");
    }
    let flags = SendFlags::NOSIGNAL | if wait { SendFlags::empty() } else { SendFlags::DONTWAIT };
    retry_on_intr(|| sendmsg(socket, &parts, &mut control, flags))?;
    Ok(())
}

/// Sends one byte, with at most [`MAX_FDS_PER_MESSAGE`] descriptors.
pub(crate) fn send(socket: &UnixStream, byte: u8, descriptors: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
    send_bytes(socket.as_fd(), &[&[byte]], descriptors, wait)
}

/// Receives bytes, and appends the descriptors that came with them; 0 if the other side has closed the socket.
///
/// # Errors
///
/// If not all descriptors of the message could be received: there are more than [`MAX_FDS_PER_MESSAGE`], or this
/// process may open no more files. All descriptors of the message are closed then.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors: &mut VecDeque<ForeignHandle>,
    wait: bool,
) -> io::Result<usize> {
    let mut parts = [IoSliceMut::new(bytes)];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS_RECEIVED))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    let message = retry_on_intr(|| recvmsg(socket, &mut parts, &mut control, flags))?;
    let before = descriptors.len();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received.map(ForeignHandle::new));
        }
    }
    let came = descriptors.len() - before;
    if came > MAX_FDS_PER_MESSAGE || message.flags.contains(ReturnFlags::CTRUNC) {
        descriptors.truncate(before);
        return Err(Error::other(if came >= MAX_FDS_PER_MESSAGE {
            "a message came with more open files than it may have"
        } else {
            "a message came without its open files, as this process may open no more: close others, or raise its limit \
             (RLIMIT_NOFILE, `ulimit -n`)"
        }));
    }
    Ok(message.bytes)
}

/// Whether a descriptor is a socket of the kind that [`channel_pair`] makes.
pub(crate) fn is_channel_socket(fd: &OwnedFd) -> bool {
    sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX) && sockopt::socket_type(fd) == Ok(SocketType::SEQPACKET)
}

/// Keeps the last `close` of a socket from waiting for its peer. Has no effect on other files.
pub(crate) fn disable_linger(fd: &OwnedFd) {
    // It fails for a file that is no socket, whose `close` this option does not concern.
    let _ = sockopt::set_socket_linger(fd, None);
}

/// Whether a message waits in a socket, with or without bytes.
pub(crate) fn has_unread_message(socket: BorrowedFd<'_>) -> bool {
    // With this option the call also sees out-of-band bytes.
    let _ = sockopt::set_socket_oobinline(socket, true);
    let mut byte = [0];
    // PEEK leaves the message in the socket, and without a control buffer no descriptors are received.
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut RecvAncillaryBuffer::default(), flags)
        .is_ok_and(|seen| seen.bytes > 0 || seen.flags.contains(ReturnFlags::CTRUNC))
}

/// Closes both directions of a socket, for all of its descriptors in all processes. What waits in it can be received.
pub(crate) fn shut_down(socket: BorrowedFd<'_>) {
    // It fails for a socket whose other end is closed, which needs no more.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
}

/// A pair of connected sockets that keep message boundaries.
pub(crate) fn channel_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|error| RefusedOperation::error(Operation::Sockets, error.into()))
}
