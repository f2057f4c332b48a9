//! Descriptors that another process has sent. Closing one may take as long as that process likes.
//!
//! A worker that was taken over may send any open file. The last `close` of a TCP socket with `SO_LINGER` waits for its
//! peer, that of a terminal for its output, that of a file in a FUSE file system for the process that runs it; and the
//! `close` of a socket closes what is sent with the messages in it that nobody has read. So the parent closes such
//! files in a thread apart, unless they are memory.

use std::mem::ManuallyDrop;
use std::ops::Deref;

use super::{AsFd, OwnedFd};
use crate::process::role::is_worker_process;

/// A descriptor that came from another process, of a kind that is not known yet.
pub(crate) struct ForeignFd(ManuallyDrop<OwnedFd>);

impl ForeignFd {
    pub(in crate::process) fn new(fd: OwnedFd) -> Self {
        Self(ManuallyDrop::new(fd))
    }

    /// The descriptor, if it is an end of a channel.
    pub(in crate::process) fn into_channel_socket(self) -> Option<OwnedFd> {
        if !super::is_channel_socket(&self) {
            return None;
        }
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped or used again.
        Some(unsafe { ManuallyDrop::take(&mut this.0) })
    }
}

impl Deref for ForeignFd {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        &self.0
    }
}

impl Drop for ForeignFd {
    fn drop(&mut self) {
        // SAFETY: it is not used again.
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
        // SAFETY: it is not used again.
        let socket = unsafe { ManuallyDrop::take(&mut self.0) };
        // Most have nothing in them that could go with a message.
        if !is_worker_process() && super::has_unread_message(&socket.as_fd()) {
            close_in_background(socket.into());
        }
    }
}

/// Closes a file of another process without waiting for it.
#[cold]
fn close_in_background(fd: OwnedFd) {
    // Its parent sends a worker no such files.
    if is_worker_process() {
        return;
    }
    // In case there is no thread to be had: the file is closed here then.
    super::disable_linger(&fd);
    let thread = std::thread::Builder::new().name("fanfold-closer".into()).stack_size(1 << 16);
    let _ = thread.spawn(move || drop(fd));
}
