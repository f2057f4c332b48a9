//! [`Handle`]: what one process can give to another.

use std::io;

use super::Socket;
use super::end::End;
use super::memory::MemoryHandle;

/// Shared memory, or an end of a channel.
pub(crate) enum Handle {
    Memory(MemoryHandle),
    End(End),
    /// Memory that was sent, and that this process could not open.
    Missing,
}

impl Handle {
    #[allow(clippy::unnecessary_wraps, reason = "as on Linux, where the system may refuse a descriptor")]
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(self.duplicate())
    }

    /// Another handle of the same memory or end.
    pub(super) fn duplicate(&self) -> Self {
        match self {
            Self::Memory(memory) => Self::Memory(memory.clone()),
            Self::End(end) => Self::End(end.clone()),
            Self::Missing => Self::Missing,
        }
    }

    /// The end of a channel that this handle is.
    pub(super) fn end(&self) -> io::Result<&End> {
        match self {
            Self::End(end) => Ok(end),
            Self::Memory(_) | Self::Missing => Err(io::Error::other("shared memory is no end of a channel")),
        }
    }
}

/// A handle or a connection.
#[derive(Clone, Copy)]
pub(crate) enum BorrowedHandle<'a> {
    Handle(&'a Handle),
    Socket(&'a Socket),
}

pub(crate) trait AsHandle {
    fn as_handle(&self) -> BorrowedHandle<'_>;
}

impl AsHandle for Handle {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        BorrowedHandle::Handle(self)
    }
}

impl AsHandle for Socket {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        BorrowedHandle::Socket(self)
    }
}

pub(crate) fn is_channel_socket(handle: &Handle) -> bool {
    matches!(handle, Handle::End(_))
}

pub(crate) fn is_memory(handle: &Handle) -> bool {
    matches!(handle, Handle::Memory(_))
}
