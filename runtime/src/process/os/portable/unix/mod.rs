//! The system's part on Unix: Unix sockets that carry file descriptors, shared memory, and processes.

mod memory;

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::cmsg_space;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, recvmsg, sendmsg,
};

use super::MAX_FDS_PER_MESSAGE;
use super::frame::{Frame, invalid};
use super::memory::MemoryHandle;
use crate::process::os::unix::take_standard_input;

pub(super) use crate::process::os::unix::{is_parent, this_program};
pub(super) use memory::*;

/// The interval at which a worker's reader looks whether a task has closed the connection, which ends no read.
const CLOSED_HERE_INTERVAL: Duration = Duration::from_secs(1);

/// The socket takes a copy of each descriptor that is sent.
pub(super) const NEEDS_RECEIPT: bool = false;

/// One side of a connection.
pub(super) struct Duplex(pub(super) UnixStream);

pub(super) struct Reader {
    socket: Arc<UnixStream>,
    descriptors: VecDeque<OwnedFd>,
    /// Whether descriptors of the next frame are lost, because this process may open no more.
    is_short: bool,
}

#[derive(Clone)]
pub(super) struct Writer(Arc<UnixStream>);

pub(super) struct Closer(Arc<UnixStream>);

impl Duplex {
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        #[cfg(target_vendor = "apple")]
        for socket in [&one, &other] {
            rustix::net::sockopt::set_socket_nosigpipe(socket, true)?;
        }
        Ok((Self(one), Self(other)))
    }

    #[allow(clippy::unnecessary_wraps, reason = "not on every system")]
    pub(super) fn split(self) -> io::Result<(Reader, Writer, Closer)> {
        let socket = Arc::new(self.0);
        let reader = Reader { socket: Arc::clone(&socket), descriptors: VecDeque::new(), is_short: false };
        Ok((reader, Writer(Arc::clone(&socket)), Closer(socket)))
    }

    /// Makes this side the standard input of a process that `command` starts.
    pub(super) fn give_to(self, command: &mut Command) {
        command.stdin(Stdio::from(OwnedFd::from(self.0)));
    }

    /// Tells the other side, which runs in this process by now, how to reach this one.
    #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "not on every system")]
    pub(super) fn attach(&mut self, _: &std::process::Child) -> io::Result<()> {
        Ok(())
    }
}

impl Reader {
    /// Reads bytes, and keeps the descriptors that come with them.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS_PER_MESSAGE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        #[cfg(not(target_vendor = "apple"))]
        let flags = RecvFlags::CMSG_CLOEXEC;
        #[cfg(target_vendor = "apple")]
        let flags = RecvFlags::empty();
        let parts = &mut [IoSliceMut::new(bytes)];
        let message = loop {
            match recvmsg(&*self.socket, parts, &mut control, flags) {
                // A worker's read ends each `CLOSED_HERE_INTERVAL`.
                Err(Errno::INTR | Errno::AGAIN) => {}
                message => break message?,
            }
        };
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                for descriptor in received {
                    #[cfg(target_vendor = "apple")]
                    let _ = rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC);
                    self.descriptors.push_back(descriptor);
                }
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            self.is_short = true;
            self.descriptors.clear();
        }
        // A frame has no more, and those of the frame before were taken.
        if self.descriptors.len() > MAX_FDS_PER_MESSAGE {
            return Err(invalid());
        }
        Ok(message.bytes)
    }

    /// The memory of the next handle of a frame, if it could be opened.
    pub(super) fn take_memory(&mut self, _: u64, len: usize) -> Option<MemoryHandle> {
        let raw = self.descriptors.pop_front().filter(|_| !self.is_short)?;
        Some(MemoryHandle::new(raw, len))
    }

    /// All handles of a frame were taken.
    pub(super) fn end_frame(&mut self) {
        self.is_short = false;
    }
}

impl Writer {
    /// Writes a frame, with its memory.
    pub(super) fn write(&mut self, mut frame: Frame) -> io::Result<()> {
        while !self.send(&mut frame, SendFlags::empty())? {}
        Ok(())
    }

    /// Writes what the system takes at once, and leaves the rest in `frame`; whether nothing is left.
    pub(super) fn write_some(&mut self, frame: &mut Frame) -> io::Result<bool> {
        match self.send(frame, SendFlags::DONTWAIT) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            done => done,
        }
    }

    fn send(&self, frame: &mut Frame, flags: SendFlags) -> io::Result<bool> {
        let descriptors: Vec<_> = frame.memory.iter().map(|(_, memory)| memory.raw().as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS_PER_MESSAGE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        // macOS has an option of the socket instead, which `pair` sets.
        #[cfg(not(target_vendor = "apple"))]
        let flags = flags | SendFlags::NOSIGNAL;
        let sent = retry_on_intr(|| sendmsg(&*self.0, &[IoSlice::new(&frame.bytes)], &mut control, flags))?;
        frame.bytes.drain(..sent);
        // The descriptors go with the first byte.
        frame.memory.clear();
        Ok(frame.bytes.is_empty())
    }
}

impl Closer {
    pub(super) fn close(&self) {
        // It fails for a socket whose other end is closed, which needs no more.
        let _ = rustix::net::shutdown(&*self.0, Shutdown::Both);
    }
}

impl MemoryHandle {
    /// The number by which the other side names the memory in a receipt.
    #[allow(clippy::unused_self, reason = "not on every system")]
    pub(super) fn word(&self) -> u64 {
        0
    }
}

/// Whether the reader thread ended because this process has closed its end of the connection.
pub(super) fn is_closed_here(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADF)
}

/// Takes the connection that is standard input, and replaces it by an empty input for the user's code.
pub(super) fn take_stdin() -> io::Result<Duplex> {
    let socket = take_standard_input()?;
    socket.set_read_timeout(Some(CLOSED_HERE_INTERVAL))?;
    Ok(Duplex(socket))
}

/// Whether standard input may be a connection to a parent.
pub(super) fn stdin_is_connection() -> bool {
    rustix::net::getsockname(rustix::stdio::stdin())
        .is_ok_and(|name| name.address_family() == rustix::net::AddressFamily::UNIX)
}

/// Whether a process exists. One that has ended and was not waited for exists.
pub(crate) fn is_running(process: u32) -> bool {
    // SAFETY: signal 0 is never sent; the call only checks whether it could be.
    let answer = unsafe { libc::kill(process.cast_signed(), 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Continues a process that a signal has stopped.
pub(crate) fn resume(process: u32) {
    // SAFETY: the call takes numbers.
    unsafe { libc::kill(process.cast_signed(), libc::SIGCONT) };
}

/// The signal that ended a process.
pub(super) fn signal_of(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}
