//! Waiting for sockets and for the exit of a process (`ppoll`, `epoll`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, epoll};
use rustix::io::Errno;

use super::timespec;

/// Waits until one of `entries` is ready, or the deadline. Returns the number of those that are ready.
fn poll(entries: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    loop {
        let limit = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        match rustix::event::poll(entries, limit.as_ref()) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready?),
        }
    }
}

/// Waits until a socket is readable, or writable; `false` at the deadline.
pub(crate) fn wait_for_socket(socket: BorrowedFd<'_>, write: bool, deadline: Option<Instant>) -> io::Result<bool> {
    let events = if write { PollFlags::OUT } else { PollFlags::IN };
    poll(&mut [PollFd::from_borrowed_fd(socket, events)], deadline).map(|ready| ready > 0)
}

/// A set of sockets that are waited for together (`epoll`). Each is reported once.
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Adds a socket, to be reported with `key` when it is readable, or writable, or closed.
    pub(crate) fn add(&self, socket: &OwnedFd, write: bool, key: u64) -> io::Result<()> {
        let what = if write { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        let key = epoll::EventData::new_u64(key);
        Ok(epoll::add(&self.0, socket, key, what | epoll::EventFlags::ONESHOT)?)
    }

    pub(crate) fn remove(&self, socket: &OwnedFd, _: u64) {
        // It fails for a socket that was removed before.
        let _ = epoll::delete(&self.0, socket);
    }

    /// Waits until sockets are ready; returns the keys of some of them. Empty after a signal.
    pub(crate) fn wait(&self) -> io::Result<Vec<u64>> {
        let mut events = Vec::with_capacity(64);
        match epoll::wait(&self.0, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => Ok(events.iter().map(|event: &epoll::Event| event.data.u64()).collect()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Descriptors that were sent before a frame are in the socket when the frame is seen.
pub(crate) fn wait_for_descriptor(_: &UnixStream) {}

/// How a wait for a worker process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitResult {
    /// The socket has bytes, or is closed.
    SocketReady,
    /// The process has exited.
    ProcessExited,
    /// The deadline has passed.
    TimedOut,
}

/// Waits for bytes on a socket, the exit of a process, or the deadline.
pub(crate) fn wait_for_socket_or_exit(
    socket: &UnixStream,
    process: Option<&OwnedFd>,
    deadline: Option<Instant>,
) -> io::Result<WaitResult> {
    let socket = PollFd::new(socket, PollFlags::IN);
    let Some(process) = process else {
        let ready = poll(&mut [socket], deadline)?;
        return Ok(if ready > 0 { WaitResult::SocketReady } else { WaitResult::TimedOut });
    };
    let mut entries = [socket, PollFd::new(process, PollFlags::IN)];
    let ready = poll(&mut entries, deadline)?;
    let [socket, process] = entries;
    Ok(match ready {
        0 => WaitResult::TimedOut,
        _ if socket.revents().contains(PollFlags::IN) => WaitResult::SocketReady,
        _ if !process.revents().is_empty() => WaitResult::ProcessExited,
        _ => WaitResult::SocketReady,
    })
}

/// Waits until a process exits, or the deadline; whether its descriptor reports the exit. A signal may end the wait
/// early.
pub(crate) fn wait_for_exit(process: &OwnedFd, deadline: Instant) -> bool {
    let limit = timespec(deadline.saturating_duration_since(Instant::now()));
    let mut entry = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    rustix::event::poll(&mut entry, Some(&limit)).is_ok_and(|ready| ready > 0)
}
