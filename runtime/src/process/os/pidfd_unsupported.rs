//! Where the system is not Linux there are no worker processes; see `os_elsewhere.rs`.

use std::convert::Infallible;
use std::io;
use std::time::Instant;

use super::{UnixStream, Waited};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "nothing ends here")]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Process(Infallible);

impl Process {
    pub(crate) fn new(_: u32) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "worker processes need Linux"))
    }

    pub(crate) fn watched(&self) -> Watched {
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

    pub(crate) fn go_on(&self) {
        match self.0 {}
    }

    pub(crate) fn wait(&self, _: Instant) -> Option<Exit> {
        match self.0 {}
    }

    pub(crate) fn listen(&self, _: &UnixStream, _: Option<Instant>) -> io::Result<Waited> {
        match self.0 {}
    }
}

pub(crate) struct Watched(Infallible);

impl Watched {
    pub(crate) fn runs(&self) -> bool {
        match self.0 {}
    }
}
