//! Worker processes on Linux, by system calls that Linux alone has.

mod child_process;
mod exit_watch;
mod foreign_handle;
mod futex;
mod memory;
mod poll;
mod process;
mod socket;
mod stdin;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

pub(crate) use std::os::fd::OwnedFd as Handle;
pub(crate) use std::os::unix::net::UnixStream as Socket;

pub(crate) use child_process::*;
pub(crate) use exit_watch::*;
pub(crate) use foreign_handle::*;
pub(crate) use futex::*;
pub(crate) use memory::*;
pub(crate) use poll::*;
pub(crate) use process::*;
pub(crate) use socket::*;
pub(crate) use stdin::*;

pub(crate) use super::unix::take_standard_input as take_stdin;

/// What has a descriptor.
pub(crate) trait AsHandle {
    fn as_handle(&self) -> BorrowedFd<'_>;
}

impl<T: AsFd> AsHandle for T {
    fn as_handle(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

fn timespec(time: Duration) -> rustix::event::Timespec {
    rustix::event::Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
