//! Child processes on systems other than Linux, which have no worker processes; see `unsupported.rs`.

use std::convert::Infallible;
use std::io;
use std::time::Instant;

use super::{UnixStream, WaitResult};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "nothing ends here")]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    Unknown,
}

#[derive(Debug)]
pub(crate) struct ChildProcess(Infallible);

impl ChildProcess {
    pub(crate) fn new(_: u32) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "worker processes need Linux"))
    }

    pub(crate) fn reaper(&self) -> Reaper {
        match self.0 {}
    }

    pub(crate) fn id(&self) -> u32 {
        match self.0 {}
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        match self.0 {}
    }

    pub(crate) fn kill(&self) {
        match self.0 {}
    }

    pub(crate) fn resume(&self) {
        match self.0 {}
    }

    pub(crate) fn wait(&self, _: Instant) -> Option<Exit> {
        match self.0 {}
    }

    pub(crate) fn wait_for_socket(&self, _: &UnixStream, _: Option<Instant>) -> io::Result<WaitResult> {
        match self.0 {}
    }
}

pub(crate) struct Reaper(Infallible);

impl Reaper {
    pub(crate) fn is_running(&self) -> bool {
        match self.0 {}
    }
}
