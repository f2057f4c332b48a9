//! [`ForeignHandle`] and [`PeerSocket`]: descriptors whose `close` another process can delay.
//!
//! A compromised worker may send any open file. The last `close` of a TCP socket with `SO_LINGER` waits for its peer,
//! that of a terminal for its output, and that of a file in a FUSE file system for the process behind it. The `close`
//! of a socket also closes the files in messages that were not read. So the parent closes such descriptors in a thread
//! of their own, unless they are memory.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};

use crate::process::role::is_worker_process;

/// A descriptor of unknown kind that another process sent.
pub(crate) struct ForeignHandle(ManuallyDrop<OwnedFd>);

impl ForeignHandle {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(ManuallyDrop::new(fd))
    }

    /// The descriptor, if it is a channel end.
    pub(in crate::process) fn into_channel_socket(self) -> Option<OwnedFd> {
        self.into_if(super::is_channel_socket)
    }

    /// The descriptor, if it is memory.
    pub(in crate::process) fn into_memory(self) -> Option<OwnedFd> {
        self.into_if(super::is_memory)
    }

    fn into_if(self, is: fn(&OwnedFd) -> bool) -> Option<OwnedFd> {
        if !is(&self) {
            return None;
        }
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is a `ManuallyDrop` that goes out of scope here, so the descriptor is taken once.
        Some(unsafe { ManuallyDrop::take(&mut this.0) })
    }
}

impl Deref for ForeignHandle {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        &self.0
    }
}

impl Drop for ForeignHandle {
    fn drop(&mut self) {
        // SAFETY: `drop` runs once, and nothing uses `self.0` after it.
        let fd = unsafe { ManuallyDrop::take(&mut self.0) };
        if !super::is_memory(&fd) {
            close_in_background(fd);
        }
    }
}

/// A socket whose other end another process may have.
pub(crate) struct PeerSocket<S: AsFd + Into<OwnedFd>>(ManuallyDrop<S>);

impl<S: AsFd + Into<OwnedFd>> PeerSocket<S> {
    pub(in crate::process) fn new(socket: S) -> Self {
        Self(ManuallyDrop::new(socket))
    }
}

impl<S: AsFd + Into<OwnedFd>> Deref for PeerSocket<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: AsFd + Into<OwnedFd>> Drop for PeerSocket<S> {
    fn drop(&mut self) {
        // SAFETY: `drop` runs once, and nothing uses `self.0` after it.
        let socket = unsafe { ManuallyDrop::take(&mut self.0) };
        // An empty socket holds no files, so closing it does not wait.
        if !is_worker_process() && super::has_unread_message(socket.as_fd()) {
            close_in_background(socket.into());
        }
    }
}

/// Closes a file of another process without waiting for it.
#[cold]
fn close_in_background(fd: OwnedFd) {
    // A worker trusts its parent, which sends it no such files.
    if is_worker_process() {
        return;
    }
    // If no thread can be started, the closure is dropped and the file is closed here.
    super::disable_linger(&fd);
    let _ = crate::sys::thread::spawn("fanfold-closer".to_owned(), Some(1 << 16), move || drop(fd));
}
