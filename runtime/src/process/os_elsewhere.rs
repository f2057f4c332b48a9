//! Where the system is not Linux: what the process pool asks of it, refused. A pool of processes says so when it is made
//! (see [`obstacle`](super::obstacle)), so nothing here is reached.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::process::Command;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// Why there can be no worker processes on this system.
pub(super) const OBSTACLE: Option<&str> = Some(
    "worker processes need Linux so far: use `kind = \"cpu\"` or `kind = \"io\"` on this system, or `FANFOLD_SERIAL=1`",
);

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "worker processes need Linux")
}

pub(super) struct OwnedFd(Infallible);

pub(super) struct BorrowedFd<'a>(Infallible, PhantomData<&'a ()>);

pub(super) struct UnixStream(Infallible);

pub(super) trait AsFd {
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

impl OwnedFd {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self.0 {}
    }
}

impl UnixStream {
    pub(super) fn pair() -> io::Result<(Self, Self)> {
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

pub(super) struct Poller(Infallible);

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Err(refused())
    }

    pub(super) fn add(&self, _: &OwnedFd, _: bool, _: u64) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn remove(&self, _: &OwnedFd) {
        match self.0 {}
    }

    pub(super) fn wait(&self) -> io::Result<Vec<u64>> {
        match self.0 {}
    }
}

pub(super) struct Mapping(Infallible);

impl Mapping {
    pub(super) fn new(fd: &OwnedFd) -> io::Result<Self> {
        match fd.0 {}
    }

    pub(super) fn received(fd: &OwnedFd, _: usize) -> io::Result<Self> {
        match fd.0 {}
    }

    pub(super) fn fixed(fd: &OwnedFd) -> io::Result<Self> {
        match fd.0 {}
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        match self.0 {}
    }

    pub(super) fn len(&self) -> usize {
        match self.0 {}
    }
}

pub(super) fn memory(_: usize) -> io::Result<OwnedFd> {
    Err(refused())
}

pub(super) fn fixed_memory(_: &[u8]) -> io::Result<OwnedFd> {
    Err(refused())
}

pub(super) const MOST_DESCRIPTORS: usize = 16;

pub(super) fn send_bytes(socket: &BorrowedFd<'_>, _: &[&[u8]], _: &[BorrowedFd<'_>], _: bool) -> io::Result<()> {
    match socket.0 {}
}

pub(super) fn send(socket: &UnixStream, _: u8, _: &[BorrowedFd<'_>], _: bool) -> io::Result<()> {
    match socket.0 {}
}

pub(super) fn receive(socket: &BorrowedFd<'_>, _: &mut [u8], _: &mut VecDeque<OwnedFd>, _: bool) -> io::Result<usize> {
    match socket.0 {}
}

pub(super) fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Err(refused())
}

pub(super) fn wait_for_socket(socket: &BorrowedFd<'_>, _: bool, _: Option<Instant>) -> io::Result<bool> {
    match socket.0 {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "nothing waits here")]
pub(super) enum Waited {
    Socket,
    Ended,
    TimeUp,
}

pub(super) fn wait(socket: &UnixStream, _: Option<&OwnedFd>, _: Option<Instant>) -> io::Result<Waited> {
    match socket.0 {}
}

pub(super) fn watch_hang_up(socket: &UnixStream) -> io::Result<()> {
    match socket.0 {}
}

pub(super) const ABORT: i32 = 6;

pub(super) fn sleep_on(_: &AtomicU32, _: u32, _: Option<Duration>) {}

pub(super) fn wake(_: &AtomicU32) {}

pub(super) fn parent_id() -> Option<u32> {
    None
}

pub(super) fn end_with_parent(_: u32) -> bool {
    false
}

pub(super) fn end_now() -> ! {
    std::process::exit(1)
}

pub(super) fn leave_signals_to_parent() {}

pub(super) fn word_cleared_on_fork() -> &'static AtomicU32 {
    static WORD: AtomicU32 = AtomicU32::new(0);
    &WORD
}

pub(super) fn limit_memory(_: u64) -> io::Result<()> {
    Err(refused())
}

pub(super) fn has_more_rights_than_its_caller() -> bool {
    false
}

pub(super) fn acts_for_another_user() -> bool {
    false
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer;

impl Peer {
    pub(super) fn of_same_user(_: u32) -> Self {
        Self
    }
}

pub(super) fn stdin_peer() -> Option<Peer> {
    None
}

pub(super) fn prepare_as_runtime() {}

pub(super) fn take_stdin() -> io::Result<UnixStream> {
    Err(refused())
}

pub(super) fn with_stdin(_: impl FnOnce(&mut UnixStream)) {}

pub(super) fn this_program(theirs: UnixStream) -> Command {
    match theirs.0 {}
}

pub(super) fn expect_large(_: *mut u8, _: usize) {}

pub(super) fn stack_floor() -> usize {
    0
}

pub(super) fn signal_name(_: i32) -> &'static str {
    "a signal"
}
