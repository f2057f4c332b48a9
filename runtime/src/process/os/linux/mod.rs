//! The system calls of worker processes on Linux, except those on child processes (`../pidfd.rs`).

mod exit_watch;
mod futex;
mod huge_pages;
mod memory;
mod module;
mod poll;
mod process;
mod signals;
mod socket;
mod stack;
mod stdin;

use std::time::Duration;

pub(crate) use std::os::fd::{AsFd, OwnedFd};
pub(crate) use std::os::unix::net::UnixStream;

pub(crate) use exit_watch::*;
pub(crate) use futex::*;
pub(crate) use huge_pages::*;
pub(crate) use memory::*;
pub(crate) use module::*;
pub(crate) use poll::*;
pub(crate) use process::*;
pub(crate) use signals::*;
pub(crate) use socket::*;
pub(crate) use stack::*;
pub(crate) use stdin::*;

/// What an exit code means.
pub(crate) fn describe_exit_code(_: i32) -> Option<&'static str> {
    None
}

fn timespec(time: Duration) -> rustix::event::Timespec {
    rustix::event::Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
