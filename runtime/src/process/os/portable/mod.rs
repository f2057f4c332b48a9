//! Worker processes on systems other than Linux: the same operations as `../linux`, from what all systems have.
//!
//! `--cfg fanfold_portable` chooses this transport on Linux, for tests.
//!
//! | what | on Linux | here |
//! |---|---|---|
//! | shared memory | `memfd`, sealed | POSIX shared memory; on Windows a section of the paging file |
//! | its way to the other process | descriptors in a socket's messages | the same; on Windows the parent duplicates handles |
//! | waiting for the other process | a futex, `poll` | spinning, then a frame through the connection (`link.rs`) |
//! | channels | a socket of their own | a queue in the parent, which workers ask (`pipe.rs`, `requests.rs`) |
//! | the end of the other process | a pidfd, a death signal | the end of the connection |
//! | locks of `fanfold::shared` | `flock` | a word with the holder's process id (`lock.rs`) |

mod connection;
#[cfg(target_os = "linux")]
#[path = "../linux/huge_pages.rs"]
mod huge_pages;
mod link;
mod lock;
mod memory;
#[cfg(unix)]
#[path = "../linux/module.rs"]
mod module;
mod pipe;
mod poller;
mod requests;
#[cfg(unix)]
#[path = "../linux/signals.rs"]
mod signals;
mod sleep;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;
#[cfg(all(test, not(miri)))]
mod tests;

use std::cell::Cell;

pub(crate) use connection::{
    AsFd, Handle, Handle as OwnedFd, Socket, Socket as UnixStream, attach, channel_pair,
    exit_with_parent_or_this_thread, is_channel_socket, is_memory, receive, send, send_bytes, shut_down, stdin_peer,
    take_stdin, wait_for_descriptor, wait_for_socket, with_stdin, worker_command,
};
pub(crate) use connection::{Peer, WaitResult, wait_for_socket_or_exit};
#[cfg(target_os = "linux")]
pub(crate) use huge_pages::advise_huge_pages;
pub(crate) use lock::MemoryLock;
pub(crate) use memory::{Mapping, create_memory, create_sealed_memory, create_whole_memory};
#[cfg(unix)]
pub(crate) use module::module_base;
pub(crate) use poller::Poller;
#[cfg(unix)]
pub(crate) use signals::{SIGABRT, install_noop_signal_handlers, signal_name};
pub(crate) use sleep::{Bell, HAS_FUTEX, futex_wait, futex_wake, spin, spin_before_sleep};
#[cfg(windows)]
pub(crate) use system::{SIGABRT, install_noop_signal_handlers, module_base, signal_name};
pub(crate) use system::{
    acts_for_another_user, describe_exit_code, has_elevated_rights, is_parent, prepare_like_rust_runtime,
    set_memory_limit,
};

/// What a module next to this one needs to know of a process.
pub(crate) mod process {
    pub(crate) use super::system::resume;

    /// The signal that ended a process.
    pub(crate) fn signal_of(status: std::process::ExitStatus) -> Option<i32> {
        super::system::signal_of(status)
    }
}

/// The handles that Fanfold sends with one message at most.
pub(crate) const MAX_FDS_PER_MESSAGE: usize = 16;

/// Other systems than Linux choose the sizes of pages themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn advise_huge_pages(_: *mut u8, _: usize) {}

/// Whether the parent lives, which started this process. Its end closes the connection.
pub(crate) fn die_with_parent(parent: u32) -> bool {
    is_parent(parent)
}

/// The lowest address of this thread's stack that nested values may use: the end of the stack, and what other code
/// needs above it. 0 if the stack is unknown, or if the thread runs on another stack now.
pub(crate) fn stack_limit() -> usize {
    /// The bytes that are kept for other code; on stacks below 512 KiB, a quarter.
    const LEFT: usize = 128 << 10;
    thread_local! {
        /// The lowest address of the stack, and the address above it.
        static STACK: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    }
    let (start, end) = STACK.get().unwrap_or_else(|| {
        let found = system::stack();
        STACK.set(Some(found));
        found
    });
    let here = std::ptr::from_ref(&start).addr();
    if (start..end).contains(&here) { start + LEFT.min((end - start) / 4) } else { 0 }
}
