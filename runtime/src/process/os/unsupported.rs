//! The operations of worker processes on systems other than Linux: all are refused. A pool of worker processes fails
//! when it is made (see [`unavailable_reason`](crate::process::unavailable_reason)), so nothing calls these functions.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::process::Command;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use crate::process::os::foreign_fd::ForeignFd;

/// Why this system has no worker processes.
pub(crate) const UNSUPPORTED_REASON: Option<&str> = Some(
    "worker processes need Linux so far: use `kind = \"cpu\"` or `kind = \"io\"` on this system, or `FANFOLD_SERIAL=1`",
);

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "worker processes need Linux")
}

pub(crate) struct OwnedFd(Infallible);

pub(crate) struct BorrowedFd<'a>(Infallible, PhantomData<&'a ()>);

pub(crate) struct UnixStream(Infallible);

pub(crate) trait AsFd {
    fn as_fd(&self) -> BorrowedFd<'_>;
}

impl AsFd for OwnedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

impl From<UnixStream> for OwnedFd {
    fn from(socket: UnixStream) -> Self {
        match socket.0 {}
    }
}

impl OwnedFd {
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self.0 {}
    }
}

impl UnixStream {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        Err(refused())
    }
}

impl Read for UnixStream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Read for &UnixStream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for &UnixStream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

impl Write for UnixStream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

pub(crate) struct Poller(Infallible);

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Err(refused())
    }

    pub(crate) fn add(&self, _: &OwnedFd, _: bool, _: u64) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn remove(&self, _: &OwnedFd) {
        match self.0 {}
    }

    pub(crate) fn wait(&self) -> io::Result<Vec<u64>> {
        match self.0 {}
    }
}

pub(crate) struct Mapping(Infallible);

impl Mapping {
    pub(crate) fn new(fd: &OwnedFd) -> io::Result<Self> {
        match fd.0 {}
    }

    pub(crate) fn received(fd: &OwnedFd, _: usize) -> io::Result<Self> {
        match fd.0 {}
    }

    pub(crate) fn sealed(fd: &OwnedFd) -> io::Result<Self> {
        match fd.0 {}
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        match self.0 {}
    }

    pub(crate) fn len(&self) -> usize {
        match self.0 {}
    }
}

pub(crate) fn create_memory(_: usize) -> io::Result<OwnedFd> {
    Err(refused())
}

pub(crate) fn create_whole_memory(_: usize) -> io::Result<OwnedFd> {
    Err(refused())
}

pub(crate) fn open_again(fd: &OwnedFd) -> io::Result<OwnedFd> {
    match fd.0 {}
}

pub(crate) fn try_lock_file(fd: &OwnedFd) -> io::Result<bool> {
    match fd.0 {}
}

pub(crate) fn unlock_file(fd: &OwnedFd) {
    match fd.0 {}
}

pub(crate) fn create_sealed_memory(_: &[u8]) -> io::Result<OwnedFd> {
    Err(refused())
}

pub(crate) const MAX_FDS_PER_MESSAGE: usize = 16;

pub(crate) fn send_bytes(socket: BorrowedFd<'_>, _: &[&[u8]], _: &[BorrowedFd<'_>], _: bool) -> io::Result<()> {
    match socket.0 {}
}

pub(crate) fn send(socket: &UnixStream, _: u8, _: &[BorrowedFd<'_>], _: bool) -> io::Result<()> {
    match socket.0 {}
}

pub(crate) fn receive(socket: BorrowedFd<'_>, _: &mut [u8], _: &mut VecDeque<ForeignFd>, _: bool) -> io::Result<usize> {
    match socket.0 {}
}

pub(crate) fn is_memory(fd: &OwnedFd) -> bool {
    match fd.0 {}
}

pub(crate) fn is_channel_socket(fd: &OwnedFd) -> bool {
    match fd.0 {}
}

pub(crate) fn disable_linger(fd: &OwnedFd) {
    match fd.0 {}
}

pub(crate) fn has_unread_message(socket: BorrowedFd<'_>) -> bool {
    match socket.0 {}
}

pub(crate) fn shut_down(socket: BorrowedFd<'_>) {
    match socket.0 {}
}

pub(crate) fn channel_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Err(refused())
}

pub(crate) fn wait_for_socket(socket: BorrowedFd<'_>, _: bool, _: Option<Instant>) -> io::Result<bool> {
    match socket.0 {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "nothing waits here")]
pub(crate) enum WaitResult {
    SocketReady,
    ProcessExited,
    TimedOut,
}

pub(crate) fn wait_for_socket_or_exit(
    socket: &UnixStream,
    _: Option<&OwnedFd>,
    _: Option<Instant>,
) -> io::Result<WaitResult> {
    match socket.0 {}
}

pub(crate) fn exit_with_parent_or_this_thread(socket: &UnixStream) -> io::Result<()> {
    match socket.0 {}
}

pub(crate) const SIGABRT: i32 = 6;

pub(crate) fn futex_wait(_: &AtomicU32, _: u32, _: Option<Duration>) {}

pub(crate) fn futex_wake(_: &AtomicU32) {}

pub(crate) fn parent_id() -> Option<u32> {
    None
}

pub(crate) fn die_with_parent(_: u32) -> bool {
    false
}

pub(crate) fn install_noop_signal_handlers() {}

pub(crate) fn set_memory_limit(_: u64) -> io::Result<()> {
    Err(refused())
}

pub(crate) fn has_elevated_rights() -> bool {
    false
}

pub(crate) fn acts_for_another_user() -> bool {
    false
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer;

impl Peer {
    pub(crate) fn of_same_user(_: u32) -> Self {
        Self
    }
}

pub(crate) fn stdin_peer() -> Option<Peer> {
    None
}

pub(crate) fn prepare_like_rust_runtime() {}

pub(crate) fn take_stdin() -> io::Result<UnixStream> {
    Err(refused())
}

pub(crate) fn with_stdin(_: impl FnOnce(&mut UnixStream)) {}

pub(crate) fn worker_command(theirs: UnixStream) -> Command {
    match theirs.0 {}
}

pub(crate) fn advise_huge_pages(_: *mut u8, _: usize) {}

pub(crate) fn stack_limit() -> usize {
    0
}

pub(crate) fn signal_name(_: i32) -> &'static str {
    "a signal"
}
