//! [`Socket`]: one side of the connection of a parent and a worker.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::frame::Kind;
use super::link::{Link, Role};
use super::system::{self, Duplex};
use super::{ChildProcess, Handle};
use crate::process::os::refusal::{Operation, RefusedOperation};
use crate::sys::mutex;

/// One side of a connection. Its threads start when it is used first.
pub(crate) struct Socket {
    role: Role,
    stream: Mutex<Option<Duplex>>,
    link: OnceLock<Arc<Link>>,
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
        self.link()?.inbox.take(bytes, &mut VecDeque::new(), true)
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
    Ok(if socket.link()?.inbox.wait(deadline) { WaitResult::SocketReady } else { WaitResult::TimedOut })
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
