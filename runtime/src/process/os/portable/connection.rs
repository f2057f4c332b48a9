//! [`Socket`]: one side of the connection of a parent and a worker, and [`Handle`]s, which go through it.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::link::{Kind, Link, Role};
use super::memory::MemoryHandle;
use super::pipe::End;
use super::system::{self, Duplex};
use crate::process::os::foreign_fd::ForeignFd;
use crate::process::os::pidfd::ChildProcess;
use crate::process::os::refusal::{Operation, RefusedOperation};
use crate::sys::mutex;

/// What one process can give to another: shared memory, or an end of a channel.
pub(crate) enum Handle {
    Memory(MemoryHandle),
    End(End),
    /// Memory that was sent, and that this process could not open.
    Missing,
}

impl Handle {
    #[allow(clippy::unnecessary_wraps, reason = "as on Linux, where the system may refuse a descriptor")]
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(self.duplicate())
    }

    /// Another handle of the same memory or end.
    pub(super) fn duplicate(&self) -> Self {
        match self {
            Self::Memory(memory) => Self::Memory(memory.clone()),
            Self::End(end) => Self::End(end.clone()),
            Self::Missing => Self::Missing,
        }
    }
}

/// One side of a connection. Its threads start when it is used first.
pub(crate) struct Socket {
    role: Role,
    stream: Mutex<Option<Duplex>>,
    link: OnceLock<Arc<Link>>,
}

/// A handle or a connection.
#[derive(Clone, Copy)]
pub(crate) enum BorrowedFd<'a> {
    Handle(&'a Handle),
    Socket(&'a Socket),
}

pub(crate) trait AsFd {
    fn as_fd(&self) -> BorrowedFd<'_>;
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        BorrowedFd::Handle(self)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        BorrowedFd::Socket(self)
    }
}

impl Socket {
    /// A connection: the side of the parent, and that of the worker.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (parent, worker) = Duplex::pair()?;
        Ok((Self::new(parent, Role::Parent), Self::new(worker, Role::Worker)))
    }

    fn new(stream: Duplex, role: Role) -> Self {
        Self { role, stream: Mutex::new(Some(stream)), link: OnceLock::new() }
    }

    pub(super) fn link(&self) -> io::Result<&Arc<Link>> {
        if let Some(link) = self.link.get() {
            return Ok(link);
        }
        let mut stream = mutex::lock(&self.stream);
        if let Some(stream) = stream.take() {
            let link = Link::start(stream, self.role);
            let link = link.map_err(|error| RefusedOperation::error(Operation::Thread, error))?;
            let _ = self.link.set(link);
        }
        self.link.get().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(link) = self.link.get() {
            link.close();
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.link()?.take(bytes, &mut VecDeque::new(), true)
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.link()?.send((Kind::MESSAGE, 0, 0), &[bytes], &[])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&*self).read(bytes)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The command that starts this program once more, with `socket` as standard input.
#[allow(clippy::needless_pass_by_value, reason = "the command has its stream from now on")]
pub(crate) fn worker_command(socket: Socket) -> io::Result<Command> {
    let mut command = system::this_program().map_err(|error| RefusedOperation::error(Operation::Program, error))?;
    let stream = mutex::lock(&socket.stream).take();
    let stream = stream.ok_or(io::ErrorKind::NotConnected)?;
    stream.give_to(&mut command);
    Ok(command)
}

/// Connects the parent's side with the process that has the other one.
pub(crate) fn attach(socket: &Socket, process: &ChildProcess) -> io::Result<()> {
    match &mut *mutex::lock(&socket.stream) {
        Some(stream) => process.with_child(|child| stream.attach(child)),
        None => Ok(()),
    }
}

/// Sends one byte, with at most [`MAX_FDS_PER_MESSAGE`](super::MAX_FDS_PER_MESSAGE) handles.
pub(crate) fn send(socket: &Socket, byte: u8, handles: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
    send_bytes(socket.as_fd(), &[&[byte]], handles, wait)
}

/// Sends the bytes of `parts` as one message, with at most [`MAX_FDS_PER_MESSAGE`](super::MAX_FDS_PER_MESSAGE) handles.
pub(crate) fn send_bytes(
    to: BorrowedFd<'_>,
    parts: &[&[u8]],
    handles: &[BorrowedFd<'_>],
    wait: bool,
) -> io::Result<()> {
    let handles = handles.iter().filter_map(|handle| match handle {
        BorrowedFd::Handle(handle) => Some(*handle),
        BorrowedFd::Socket(_) => None,
    });
    let handles: Vec<&Handle> = handles.collect();
    match to {
        BorrowedFd::Socket(socket) => socket.link()?.send((Kind::MESSAGE, 0, 0), parts, &handles),
        BorrowedFd::Handle(handle) => loop {
            match end_of(handle)?.try_send(parts, &handles) {
                Err(error) if wait && error.kind() == io::ErrorKind::WouldBlock => {
                    end_of(handle)?.wait(None)?;
                }
                done => return done,
            }
        },
    }
}

fn end_of(handle: &Handle) -> io::Result<&End> {
    match handle {
        Handle::End(end) => Ok(end),
        Handle::Memory(_) | Handle::Missing => Err(io::Error::other("shared memory is no end of a channel")),
    }
}

/// Receives bytes, and appends the handles that came with them; 0 if the other side is closed. A message of a channel
/// is received whole.
pub(crate) fn receive(
    from: BorrowedFd<'_>,
    bytes: &mut [u8],
    handles: &mut VecDeque<ForeignFd>,
    wait: bool,
) -> io::Result<usize> {
    match from {
        BorrowedFd::Socket(socket) => {
            let mut came = VecDeque::new();
            let len = socket.link()?.take(bytes, &mut came, wait)?;
            append(handles, came)?;
            Ok(len)
        }
        BorrowedFd::Handle(handle) => loop {
            match end_of(handle)?.try_receive() {
                Err(error) if wait && error.kind() == io::ErrorKind::WouldBlock => {
                    end_of(handle)?.wait(None)?;
                }
                Err(error) => return Err(error),
                Ok(None) => return Ok(0),
                Ok(Some(message)) => {
                    let len = bytes.len().min(message.bytes.len());
                    bytes[..len].copy_from_slice(&message.bytes[..len]);
                    append(handles, message.handles)?;
                    return Ok(len);
                }
            }
        },
    }
}

fn append(handles: &mut VecDeque<ForeignFd>, came: impl IntoIterator<Item = Handle>) -> io::Result<()> {
    for handle in came {
        if matches!(handle, Handle::Missing) {
            return Err(io::Error::other(
                "a message came without its open files, as this process may open no more: close others, or raise its \
                 limit (RLIMIT_NOFILE, `ulimit -n`)",
            ));
        }
        handles.push_back(ForeignFd::new(handle));
    }
    Ok(())
}

pub(crate) fn is_channel_socket(handle: &Handle) -> bool {
    matches!(handle, Handle::End(_))
}

pub(crate) fn is_memory(handle: &Handle) -> bool {
    matches!(handle, Handle::Memory(_))
}

/// Closes a channel for all of its ends. What was sent can still be received.
pub(crate) fn shut_down(end: BorrowedFd<'_>) {
    if let BorrowedFd::Handle(Handle::End(end)) = end {
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
pub(crate) fn wait_for_socket(end: BorrowedFd<'_>, _: bool, deadline: Option<Instant>) -> io::Result<bool> {
    match end {
        BorrowedFd::Handle(handle) => end_of(handle)?.wait(deadline),
        BorrowedFd::Socket(socket) => Ok(socket.link()?.wait(deadline)),
    }
}

/// Waits for a handle that was sent before a frame which is seen already: the thread that reads the connection may not
/// have taken it yet.
pub(crate) fn wait_for_descriptor(socket: &Socket) {
    if let Ok(link) = socket.link() {
        link.wait_for_handle();
    }
}

/// How a wait for a worker process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitResult {
    /// The connection has bytes, or is closed.
    SocketReady,
    /// The process has exited.
    ProcessExited,
    /// The deadline has passed.
    TimedOut,
}

/// Waits for bytes on a connection, or the deadline. The exit of a process closes its connection.
pub(crate) fn wait_for_socket_or_exit(
    socket: &Socket,
    _: Option<&Handle>,
    deadline: Option<Instant>,
) -> io::Result<WaitResult> {
    Ok(if socket.link()?.wait(deadline) { WaitResult::SocketReady } else { WaitResult::TimedOut })
}

/// Has this process exit when the parent has closed the connection, or has ended, also while a task runs.
pub(crate) fn exit_with_parent_or_this_thread(socket: &Socket) -> io::Result<()> {
    socket.link()?.exit_with_peer();
    // The thread that reads has started before the memory limit was set. A worker that has no memory for one more
    // thread says so now, and not in its first task.
    let started = std::thread::Builder::new().name("fanfold-probe".into()).stack_size(1 << 16).spawn(|| {});
    started.map(drop).map_err(|error| RefusedOperation::error(Operation::Thread, error))
}

/// The process at the other end of standard input, as far as the system says: its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(u32);

impl Peer {
    pub(crate) fn of_same_user(process: u32) -> Self {
        Self(process)
    }
}

/// The parent of this process, if standard input may be its connection.
pub(crate) fn stdin_peer(parent: u32) -> Option<Peer> {
    system::stdin_is_connection().then_some(Peer(parent))
}

/// Takes the connection that is standard input, and replaces it by an empty input for the user's code.
pub(crate) fn take_stdin() -> io::Result<Socket> {
    system::take_stdin().map(|stream| Socket::new(stream, Role::Worker))
}

/// Nothing can be sent through a standard input that [`take_stdin`] could not take.
pub(crate) fn with_stdin(_: impl FnOnce(&mut Socket)) {}
