//! The operating system's part of worker processes: shared memory, sockets, child processes, and refusals.
//!
//! `linux` and `portable` have the same operations. `--cfg fanfold_portable` chooses the second one on Linux, for tests.
//! A [`Handle`] is what one process can give to another, and a [`Socket`] is one side of their connection.

mod huge_pages;
#[cfg(all(target_os = "linux", not(fanfold_portable)))]
mod linux;
#[cfg(any(not(target_os = "linux"), fanfold_portable))]
mod portable;
pub(crate) mod refusal;
mod stack;
#[cfg(unix)]
mod unix;

pub(crate) use huge_pages::*;
#[cfg(all(target_os = "linux", not(fanfold_portable)))]
pub(crate) use linux::*;
#[cfg(any(not(target_os = "linux"), fanfold_portable))]
pub(crate) use portable::*;
pub(crate) use stack::stack_limit;
#[cfg(unix)]
pub(crate) use unix::{
    SIGABRT, acts_for_another_user, describe_exit_code, has_elevated_rights, install_noop_signal_handlers, is_parent,
    module_base, prepare_like_rust_runtime, set_memory_limit, signal_name,
};
