//! [`ForeignHandle`] and [`PeerSocket`]: what another process sent, and the connection to it. Closing them never waits here,
//! as no files of other kinds come through a connection.

use std::ops::Deref;

use super::Handle;

/// A handle that another process sent.
pub(crate) struct ForeignHandle(Handle);

impl ForeignHandle {
    pub(crate) fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// The handle, if it is a channel end.
    pub(in crate::process) fn into_channel_socket(self) -> Option<Handle> {
        super::is_channel_socket(&self.0).then_some(self.0)
    }

    /// The handle, if it is memory.
    pub(in crate::process) fn into_memory(self) -> Option<Handle> {
        super::is_memory(&self.0).then_some(self.0)
    }
}

impl Deref for ForeignHandle {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.0
    }
}

/// A connection whose other side another process may have.
pub(crate) struct PeerSocket<S>(S);

impl<S> PeerSocket<S> {
    pub(in crate::process) fn new(socket: S) -> Self {
        Self(socket)
    }
}

impl<S> Deref for PeerSocket<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}
