//! Waiting for sockets and for the exit of a process (`ppoll`, `epoll`).

use std::io::{self, Error};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::{check, timespec};

/// Waits until a socket is readable, or writable; `false` at the deadline.
pub(crate) fn wait_for_socket(socket: &BorrowedFd<'_>, write: bool, deadline: Option<Instant>) -> io::Result<bool> {
    let events = if write { libc::POLLOUT } else { libc::POLLIN };
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    loop {
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let limit = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `entry` is one `pollfd` and `limit` is null or a `timespec`; both live during the call. The signal
        // mask is null.
        let ready = unsafe { libc::ppoll(&raw mut entry, 1, limit, std::ptr::null()) };
        if ready >= 0 {
            return Ok(ready > 0);
        }
        let error = Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// A set of sockets that are waited for together (`epoll`). Each is reported once.
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes a flag only.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: `epoll_create1` succeeded, so `fd` is a new open descriptor that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds a socket, to be reported with `key` when it is readable, or writable, or closed.
    pub(crate) fn add(&self, socket: &OwnedFd, write: bool, key: u64) -> io::Result<()> {
        let what = if write { libc::EPOLLOUT } else { libc::EPOLLIN };
        let mut event = libc::epoll_event { events: (what | libc::EPOLLONESHOT).cast_unsigned(), u64: key };
        // SAFETY: both descriptors are open, and `event` lives during the call.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }

    pub(crate) fn remove(&self, socket: &OwnedFd) {
        let no_event = std::ptr::null_mut();
        // SAFETY: both descriptors are open, and EPOLL_CTL_DEL ignores the event pointer.
        unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, socket.as_raw_fd(), no_event) };
    }

    /// Waits until sockets are ready; returns the keys of some of them. Empty after a signal.
    pub(crate) fn wait(&self) -> io::Result<Vec<u64>> {
        const MOST: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "it is small")]
        // SAFETY: the descriptor is open, and `events` has room for `MOST` events.
        let ready = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), MOST as libc::c_int, -1) };
        match usize::try_from(ready) {
            Ok(ready) => Ok(events.iter().take(ready).map(|event| event.u64).collect()),
            Err(_) => match Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
                error => Err(error),
            },
        }
    }
}

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
    let entry = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // `ppoll` ignores negative descriptors.
    let mut entries = [entry(socket.as_raw_fd()), entry(process.map_or(-1, AsRawFd::as_raw_fd))];
    loop {
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let limit = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `entries` are two `pollfd`s and `limit` is null or a `timespec`; both live during the call. The
        // signal mask is null.
        let ready = unsafe { libc::ppoll(entries.as_mut_ptr(), 2, limit, std::ptr::null()) };
        match ready {
            0 => return Ok(WaitResult::TimedOut),
            1.. if entries[0].revents & libc::POLLIN != 0 => return Ok(WaitResult::SocketReady),
            1.. if entries[1].revents != 0 => return Ok(WaitResult::ProcessExited),
            1.. => return Ok(WaitResult::SocketReady),
            _ => {
                let error = Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Waits until a process exits, or the deadline; whether its descriptor reports the exit. A signal may end the wait
/// early.
pub(crate) fn wait_for_exit(process: &OwnedFd, deadline: Instant) -> bool {
    let mut entry = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let time = timespec(deadline.saturating_duration_since(Instant::now()));
    // SAFETY: `entry` is one `pollfd` and `time` a `timespec`; both live during the call. The signal mask is null.
    unsafe { libc::ppoll(&raw mut entry, 1, &raw const time, std::ptr::null()) > 0 }
}
