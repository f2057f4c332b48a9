//! The system calls of worker processes on Linux, except those on child processes (`../pidfd.rs`).

mod exit_watch;
mod futex;
mod memory;
mod poll;
mod process;
mod signals;
mod socket;
mod stack;
mod stdin;

use std::io::{self, Error};
use std::time::Duration;

pub(crate) use std::os::fd::{AsFd, OwnedFd};
pub(crate) use std::os::unix::net::UnixStream;

pub(crate) use exit_watch::*;
pub(crate) use futex::*;
pub(crate) use memory::*;
pub(crate) use poll::*;
pub(crate) use process::*;
pub(crate) use signals::*;
pub(crate) use socket::*;
pub(crate) use stack::*;
pub(crate) use stdin::*;

/// Why this system has no worker processes.
pub(crate) const UNSUPPORTED_REASON: Option<&str> = None;

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}
