//! Waiting for sockets and for the end of a process (`ppoll`, `epoll`).

use std::io::{self, Error};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::{check, timespec};

/// Waits until a socket can be read from, or written to; `false` if the deadline comes first.
pub(crate) fn wait_for_socket(socket: &BorrowedFd<'_>, write: bool, deadline: Option<Instant>) -> io::Result<bool> {
    let events = if write { libc::POLLOUT } else { libc::POLLIN };
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    loop {
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let limit = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: one entry, a time or none, and no signal mask.
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

/// Sockets that are waited for together (`epoll`), each until it is ready once.
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no arguments but a flag.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: new, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits for a socket too, until it can be read from, or written to, or is closed.
    pub(crate) fn add(&self, socket: &OwnedFd, write: bool, key: u64) -> io::Result<()> {
        let what = if write { libc::EPOLLOUT } else { libc::EPOLLIN };
        let mut event = libc::epoll_event { events: (what | libc::EPOLLONESHOT).cast_unsigned(), u64: key };
        // SAFETY: two open descriptors, and an event that is read.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }

    pub(crate) fn remove(&self, socket: &OwnedFd) {
        let no_event = std::ptr::null_mut();
        // SAFETY: two open descriptors; this operation reads no event.
        unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, socket.as_raw_fd(), no_event) };
    }

    /// The keys of some that are ready, once there are any.
    pub(crate) fn wait(&self) -> io::Result<Vec<u64>> {
        const MOST: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "it is small")]
        // SAFETY: an open descriptor, and room for that many events.
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

/// What a wait on a worker has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitResult {
    /// There are bytes on the socket, or it is closed.
    SocketReady,
    /// The process has ended.
    ProcessExited,
    /// Time is up.
    TimedOut,
}

/// Waits for bytes on a socket, the end of a process, or the deadline.
pub(crate) fn wait_for_socket_or_exit(
    socket: &UnixStream,
    process: Option<&OwnedFd>,
    deadline: Option<Instant>,
) -> io::Result<WaitResult> {
    let entry = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // A negative descriptor is passed over.
    let mut entries = [entry(socket.as_raw_fd()), entry(process.map_or(-1, AsRawFd::as_raw_fd))];
    loop {
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let limit = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: two entries, a time or none, and no signal mask.
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

/// Waits for the end of a process, until the deadline at most; whether its descriptor says that it has come. A signal
/// may end the wait early.
pub(crate) fn wait_for_exit(process: &OwnedFd, deadline: Instant) -> bool {
    let mut entry = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let time = timespec(deadline.saturating_duration_since(Instant::now()));
    // SAFETY: one entry, and a time.
    unsafe { libc::ppoll(&raw mut entry, 1, &raw const time, std::ptr::null()) > 0 }
}
