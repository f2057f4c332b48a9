//! Messages of connections and channels: bytes with handles.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use super::end::End;
use super::frame::Kind;
use super::handle::BorrowedHandle;
use super::{AsHandle, ForeignHandle, Handle, Socket};

/// Sends one byte, with at most [`MAX_FDS_PER_MESSAGE`](super::MAX_FDS_PER_MESSAGE) handles.
pub(crate) fn send(socket: &Socket, byte: u8, handles: &[BorrowedHandle<'_>], wait: bool) -> io::Result<()> {
    send_bytes(socket.as_handle(), &[&[byte]], handles, wait)
}

/// Sends the bytes of `parts` as one message, with at most [`MAX_FDS_PER_MESSAGE`](super::MAX_FDS_PER_MESSAGE) handles.
pub(crate) fn send_bytes(
    to: BorrowedHandle<'_>,
    parts: &[&[u8]],
    handles: &[BorrowedHandle<'_>],
    wait: bool,
) -> io::Result<()> {
    let handles = handles.iter().filter_map(|handle| match handle {
        BorrowedHandle::Handle(handle) => Some(*handle),
        BorrowedHandle::Socket(_) => None,
    });
    let handles: Vec<&Handle> = handles.collect();
    match to {
        BorrowedHandle::Socket(socket) => socket.link()?.send((Kind::MESSAGE, 0, 0), parts, &handles),
        BorrowedHandle::Handle(handle) => loop {
            match handle.end()?.try_send(parts, &handles) {
                Err(error) if wait && error.kind() == io::ErrorKind::WouldBlock => {
                    handle.end()?.wait(None)?;
                }
                done => return done,
            }
        },
    }
}

/// Receives bytes, and appends the handles that came with them; 0 if the other side is closed. A message of a channel
/// is received whole.
pub(crate) fn receive(
    from: BorrowedHandle<'_>,
    bytes: &mut [u8],
    handles: &mut VecDeque<ForeignHandle>,
    wait: bool,
) -> io::Result<usize> {
    match from {
        BorrowedHandle::Socket(socket) => {
            let mut came = VecDeque::new();
            let len = socket.link()?.inbox.take(bytes, &mut came, wait)?;
            append(handles, came)?;
            Ok(len)
        }
        BorrowedHandle::Handle(handle) => {
            let end = handle.end()?;
            let Some(message) = (if wait { end.receive() } else { end.try_receive() })? else { return Ok(0) };
            let len = bytes.len().min(message.bytes.len());
            bytes[..len].copy_from_slice(&message.bytes[..len]);
            append(handles, message.handles)?;
            Ok(len)
        }
    }
}

fn append(handles: &mut VecDeque<ForeignHandle>, came: impl IntoIterator<Item = Handle>) -> io::Result<()> {
    for handle in came {
        if matches!(handle, Handle::Missing) {
            return Err(io::Error::other(
                "a message came without its open files, as this process may open no more: close others, or raise its \
                 limit (RLIMIT_NOFILE, `ulimit -n`)",
            ));
        }
        handles.push_back(ForeignHandle::new(handle));
    }
    Ok(())
}

/// Closes a channel for all of its ends. What was sent can still be received.
pub(crate) fn shut_down(end: BorrowedHandle<'_>) {
    if let BorrowedHandle::Handle(Handle::End(end)) = end {
        end.close();
    }
}

/// A channel: its sending and its receiving end.
#[allow(clippy::unnecessary_wraps, reason = "as on Linux, where the system may refuse one")]
pub(crate) fn channel_pair() -> io::Result<(Handle, Handle)> {
    let (send, receive) = End::pair();
    Ok((Handle::End(send), Handle::End(receive)))
}

/// Waits until an end has a message, or space for one; `false` at the deadline.
pub(crate) fn wait_for_socket(end: BorrowedHandle<'_>, _: bool, deadline: Option<Instant>) -> io::Result<bool> {
    match end {
        BorrowedHandle::Handle(handle) => handle.end()?.wait(deadline),
        BorrowedHandle::Socket(socket) => Ok(socket.link()?.inbox.wait(deadline)),
    }
}
