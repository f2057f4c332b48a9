//! Unix sockets: messages with file descriptors, and sockets that keep message boundaries for channels.

use std::collections::VecDeque;
use std::io::{self, Error};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use super::check;
use crate::process::os::foreign_fd::ForeignFd;
use crate::process::os::refusal::{Operation, RefusedOperation};

/// The descriptors that Fanfold sends with one message at most.
pub(crate) const MAX_FDS_PER_MESSAGE: usize = 16;

/// The descriptors that the kernel lets a process send with one message (`SCM_MAX_FD`). The buffer has room for all of
/// them: the kernel closes the others in `recvmsg`, and a `close` may block (see [`ForeignFd`]).
const MAX_FDS_RECEIVED: usize = 253;

/// The size of so many descriptors in bytes.
#[allow(clippy::cast_possible_truncation, reason = "it is a small constant")]
const DESCRIPTORS_SIZE: libc::c_uint = (MAX_FDS_RECEIVED * size_of::<RawFd>()) as libc::c_uint;

/// The size of a control buffer for so many descriptors.
// SAFETY: `CMSG_SPACE` only computes a size.
const CONTROL_SIZE: usize = unsafe { libc::CMSG_SPACE(DESCRIPTORS_SIZE) } as usize;

/// A control buffer, aligned as its header must be.
#[repr(C)]
union Control {
    bytes: [u8; CONTROL_SIZE],
    _align: libc::cmsghdr,
}

/// Sends the bytes of `parts` as one message, with at most [`MAX_FDS_PER_MESSAGE`] descriptors.
pub(crate) fn send_bytes(
    socket: &BorrowedFd<'_>,
    parts: &[&[u8]],
    descriptors: &[BorrowedFd<'_>],
    wait: bool,
) -> io::Result<()> {
    let mut parts: Vec<libc::iovec> = parts
        .iter()
        .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() })
        .collect();
    let mut control = Control { bytes: [0; CONTROL_SIZE] };
    // SAFETY: an all-zero `msghdr` is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    if !descriptors.is_empty() {
        assert!(descriptors.len() <= MAX_FDS_PER_MESSAGE, "more descriptors than one message holds");
        let numbers: Vec<u8> = descriptors.iter().flat_map(|descriptor| descriptor.as_raw_fd().to_ne_bytes()).collect();
        #[allow(clippy::cast_possible_truncation, reason = "it was checked just now")]
        let size = numbers.len() as libc::c_uint;
        message.msg_control = (&raw mut control).cast();
        // SAFETY: `CMSG_SPACE` only computes a size.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as _;
        // SAFETY: the control buffer has room for one header and `MAX_FDS_RECEIVED` descriptors, so `CMSG_FIRSTHDR` is
        // not null, and the assertion above keeps the copy within the buffer.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            std::ptr::copy_nonoverlapping(numbers.as_ptr(), libc::CMSG_DATA(header), numbers.len());
        }
    }
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    loop {
        // SAFETY: `message` points to `parts` and `control`, which live until the function returns.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
        if sent >= 0 {
            return Ok(());
        }
        let error = Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sends one byte, with at most [`MAX_FDS_PER_MESSAGE`] descriptors.
pub(crate) fn send(socket: &UnixStream, byte: u8, descriptors: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
    send_bytes(&socket.as_fd(), &[&[byte]], descriptors, wait)
}

/// Receives bytes, and appends the descriptors that came with them; 0 if the other side has closed the socket.
///
/// # Errors
///
/// If not all descriptors of the message could be received: there are more than [`MAX_FDS_PER_MESSAGE`], or this
/// process may open no more files. All descriptors of the message are closed then.
pub(crate) fn receive(
    socket: &BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors: &mut VecDeque<ForeignFd>,
    wait: bool,
) -> io::Result<usize> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control { bytes: [0; CONTROL_SIZE] };
    // SAFETY: an all-zero `msghdr` is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = CONTROL_SIZE as _;
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    let received = loop {
        // SAFETY: `message` points to `part`, which is `bytes`, and to `control`; both live until the function returns.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        match usize::try_from(received) {
            Ok(received) => break received,
            Err(_) => {
                let error = Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    let before = descriptors.len();
    // SAFETY: `recvmsg` succeeded, so the control fields of `message` describe the part of `control` that it filled.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: `CMSG_FIRSTHDR` and `CMSG_NXTHDR` return null, or a header within `control`.
    while let Some(found) = unsafe { header.as_ref() } {
        if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: `CMSG_LEN` only computes a size.
            let length = found.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
            for index in 0..length / size_of::<RawFd>() {
                // SAFETY: `cmsg_len` says that the header is followed by this descriptor. The kernel has just opened it
                // for this process, so nothing else owns it.
                let descriptor = unsafe {
                    let mut fd = [0; size_of::<RawFd>()];
                    let place = libc::CMSG_DATA(header).add(index * fd.len());
                    std::ptr::copy_nonoverlapping(place, fd.as_mut_ptr(), fd.len());
                    OwnedFd::from_raw_fd(RawFd::from_ne_bytes(fd))
                };
                descriptors.push_back(ForeignFd::new(descriptor));
            }
        }
        // SAFETY: `header` is a header within `control`, which the kernel filled.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    let came = descriptors.len() - before;
    if came > MAX_FDS_PER_MESSAGE || message.msg_flags & libc::MSG_CTRUNC != 0 {
        descriptors.truncate(before);
        return Err(Error::other(if came >= MAX_FDS_PER_MESSAGE {
            "a message came with more open files than it may have"
        } else {
            "a message came without its open files, as this process may open no more: close others, or raise its limit \
             (RLIMIT_NOFILE, `ulimit -n`)"
        }));
    }
    Ok(received)
}

/// Whether a descriptor is a socket of the kind that [`channel_pair`] makes.
pub(crate) fn is_channel_socket(fd: &OwnedFd) -> bool {
    let option = |name| {
        let mut value: libc::c_int = 0;
        #[allow(clippy::cast_possible_truncation, reason = "one number")]
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the descriptor is open, and `value` is a valid place for an answer of `len` bytes.
        let found =
            unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut len) };
        (found == 0).then_some(value)
    };
    option(libc::SO_DOMAIN) == Some(libc::AF_UNIX) && option(libc::SO_TYPE) == Some(libc::SOCK_SEQPACKET)
}

/// Keeps the last `close` of a socket from waiting for its peer. Has no effect on other files.
pub(crate) fn disable_linger(fd: &OwnedFd) {
    let off = libc::linger { l_onoff: 0, l_linger: 0 };
    #[allow(clippy::cast_possible_truncation, reason = "two numbers")]
    let len = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and `off` is a value of `len` bytes that lives during the call.
    unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const off).cast(), len) };
}

/// Whether a message waits in a socket, with or without bytes.
pub(crate) fn has_unread_message(socket: &BorrowedFd<'_>) -> bool {
    let in_line: libc::c_int = 1;
    #[allow(clippy::cast_possible_truncation, reason = "one number")]
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    let mut byte = 0_u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: an all-zero `msghdr` is a valid value, and the option and the header point to values that live during the
    // calls. MSG_PEEK leaves the message in the socket, and without a control buffer no descriptors are received.
    unsafe {
        // With this option the call also sees out-of-band bytes.
        let option = (&raw const in_line).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_OOBINLINE, option, len);
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        let seen = libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        seen > 0 || (seen == 0 && message.msg_flags & libc::MSG_CTRUNC != 0)
    }
}

/// A pair of connected sockets that keep message boundaries.
pub(crate) fn channel_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [0; 2];
    // SAFETY: `pair` has room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, pair.as_mut_ptr()) })
        .map_err(|error| RefusedOperation::error(Operation::Sockets, error))?;
    // SAFETY: `socketpair` succeeded, so both are new open descriptors that nothing else owns.
    Ok(unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) })
}
