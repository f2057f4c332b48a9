//! The operating system's part of worker processes: shared memory, sockets, child processes, and refusals.

pub(crate) mod foreign_fd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg_attr(not(target_os = "linux"), path = "pidfd_unsupported.rs")]
pub(crate) mod pidfd;
pub(crate) mod refusal;
#[cfg(not(target_os = "linux"))]
mod unsupported;

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::*;
