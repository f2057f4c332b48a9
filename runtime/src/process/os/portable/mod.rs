//! Worker processes on systems other than Linux: the same operations as `../linux`, from what all systems have.
//!
//! `--cfg fanfold_portable` chooses this transport on Linux, for tests.
//!
//! | what | on Linux | here |
//! |---|---|---|
//! | shared memory | `memfd`, sealed | POSIX shared memory (on Linux `memfd`); on Windows a section of the paging file |
//! | its way to the other process | descriptors in a socket's messages | the same; on Windows the parent duplicates handles |
//! | waiting for the other process | a futex, `poll` | spinning, then a frame through the connection (`link.rs`) |
//! | channels | a socket of their own | a queue in the parent, which workers ask (`end.rs`, `requests.rs`) |
//! | the end of the other process | a pidfd, a death signal | the end of the connection |
//! | locks of `fanfold::shared` | `flock` | a word with the holder's process id (`lock.rs`) |

mod child_process;
mod connection;
mod end;
mod foreign_handle;
mod frame;
mod handle;
mod inbox;
mod link;
mod lock;
mod memory;
mod messages;
mod output;
mod pipe;
mod poller;
mod requests;
mod sleep;
#[cfg_attr(unix, path = "unix/mod.rs")]
#[cfg_attr(windows, path = "windows/mod.rs")]
mod system;
#[cfg(all(test, not(miri)))]
mod tests;

pub(crate) use child_process::*;
pub(crate) use connection::*;
pub(crate) use foreign_handle::*;
pub(crate) use handle::{AsHandle, Handle, is_channel_socket, is_memory};
pub(crate) use lock::MemoryLock;
pub(crate) use memory::{Mapping, create_memory, create_sealed_memory, create_whole_memory};
pub(crate) use messages::*;
pub(crate) use poller::Poller;
pub(crate) use sleep::*;
#[cfg(windows)]
pub(crate) use system::{
    SIGABRT, acts_for_another_user, describe_exit_code, has_elevated_rights, install_noop_signal_handlers, is_parent,
    module_base, prepare_like_rust_runtime, set_memory_limit, signal_name,
};

/// The handles that Fanfold sends with one message at most.
pub(crate) const MAX_FDS_PER_MESSAGE: usize = 16;

/// Whether the parent lives, which started this process. Its end closes the connection.
pub(crate) fn die_with_parent(parent: u32) -> bool {
    system::is_parent(parent)
}
