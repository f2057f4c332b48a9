//! The operating system's part of worker processes: shared memory, sockets, child processes, and refusals.
//!
//! `linux` and `portable` have the same operations. `--cfg fanfold_portable` chooses the second one on Linux, for tests.

#[cfg_attr(any(not(target_os = "linux"), fanfold_portable), path = "portable/foreign.rs")]
pub(crate) mod foreign_fd;
#[cfg(all(target_os = "linux", not(fanfold_portable)))]
mod linux;
#[cfg_attr(any(not(target_os = "linux"), fanfold_portable), path = "portable/child_process.rs")]
pub(crate) mod pidfd;
#[cfg(any(not(target_os = "linux"), fanfold_portable))]
mod portable;
pub(crate) mod refusal;

#[cfg(all(target_os = "linux", not(fanfold_portable)))]
pub(crate) use linux::*;
#[cfg(any(not(target_os = "linux"), fanfold_portable))]
pub(crate) use portable::*;
