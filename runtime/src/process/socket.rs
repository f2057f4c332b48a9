//! [`ChannelSocket`]: one end of a channel, a Unix socket that keeps message boundaries.
//!
//! A message is a tag byte and its bytes. The bytes follow inline, or they are in shared memory whose descriptor is
//! attached before those of the value. The memory is sealed before it is sent, so that an untrusted sender can neither write to it nor shorten it
//! while it is read. The kernel bounds what waits in a socket by its size in bytes; so a message in shared memory is
//! padded to the length of the longest inline message.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;
use std::time::Instant;

use super::codec::{CodecError, Decoder, Direct, Encoder};
use super::os::{self, AsHandle, Handle, Mapping};
use super::os::{ForeignHandle, PeerSocket};
use super::readiness::Readiness;
use crate::process::os::refusal::{Operation, RefusedOperation};
use crate::sys::owner::{exit_if_forked_worker, refuse_forked_worker};

/// The length of the longest inline message.
const MAX_INLINE: usize = 1 << 16;

/// One end of a channel. Clones are descriptors of the same end, which the kernel closes with the last of them.
pub(crate) struct ChannelSocket(pub(super) PeerSocket<Handle>);

/// A message that was received, and the file descriptors that its value has.
pub(crate) struct ChannelMessage {
    pub(super) contents: MessageBytes,
    pub(crate) descriptors: VecDeque<ForeignHandle>,
}

pub(super) enum MessageBytes {
    Inline(Vec<u8>),
    Sealed(SealedBytes),
}

/// The bytes of a message in shared memory.
pub(crate) struct SealedBytes(Mapping);

impl ChannelMessage {
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.contents {
            MessageBytes::Inline(bytes) => &bytes[1..],
            // SAFETY: the mapping lives as long as `self`, and `Mapping::sealed` checked that the memory is sealed
            // against writing, so the bytes do not change.
            MessageBytes::Sealed(SealedBytes(mapping)) => unsafe {
                std::slice::from_raw_parts(mapping.start().as_ptr(), mapping.len())
            },
        }
    }
}

/// Whether a message was not sent because nobody can receive it.
pub(crate) fn has_no_receiver(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl ChannelSocket {
    fn new(socket: Handle) -> Self {
        Self(PeerSocket::new(socket))
    }

    /// Makes a channel; returns its two ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = os::channel_pair()?;
        Ok((Self::new(one), Self::new(other)))
    }

    #[cfg(test)]
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self::new).map_err(|error| RefusedOperation::error(Operation::Duplicate, error))
    }

    /// Sends a message. If the channel is full, waits for space, or fails with `WouldBlock` if `wait` is false.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[Handle], wait: bool) -> io::Result<()> {
        refuse_forked_worker();
        let mut descriptors: Vec<_> = descriptors.iter().map(AsHandle::as_handle).collect();
        if bytes.len() <= MAX_INLINE {
            return os::send_bytes(self.0.as_handle(), &[&[0], bytes], &descriptors, wait);
        }
        let fd = os::create_sealed_memory(bytes)?;
        descriptors.insert(0, fd.as_handle());
        let weight = vec![0; MAX_INLINE];
        os::send_bytes(self.0.as_handle(), &[&[1], &weight], &descriptors, wait)
    }

    /// Receives a message; `None` if the other end is closed and no message is left.
    pub(crate) fn receive(&self, wait: bool) -> io::Result<Option<ChannelMessage>> {
        refuse_forked_worker();
        let mut bytes = vec![0; MAX_INLINE + 1];
        let mut descriptors = VecDeque::new();
        let len = os::receive(self.0.as_handle(), &mut bytes, &mut descriptors, wait)?;
        if len == 0 {
            return Ok(None);
        }
        let contents = match bytes[0] {
            0 => {
                bytes.truncate(len);
                MessageBytes::Inline(bytes)
            }
            1 => {
                let fd =
                    descriptors.pop_front().ok_or_else(|| io::Error::other("a message came without its memory"))?;
                MessageBytes::Sealed(SealedBytes(Mapping::sealed(&fd)?))
            }
            2 => return Err(io::Error::other(String::from_utf8_lossy(&bytes[1..len]).into_owned())),
            _ => return Err(io::Error::other("a message that cannot be read")),
        };
        Ok(Some(ChannelMessage { contents, descriptors }))
    }

    /// Sends an error in place of a message, which its receiver gets. Waits for space.
    ///
    /// # Errors
    ///
    /// If that cannot be sent either.
    pub(crate) fn send_failure(&self, error: &io::Error) -> io::Result<()> {
        let text = error.to_string();
        os::send_bytes(self.0.as_handle(), &[&[2], &text.as_bytes()[..text.len().min(MAX_INLINE)]], &[], true)
    }

    /// Sends a message without contents. It is lost if the socket is full, or if nobody can receive it.
    ///
    /// # Errors
    ///
    /// If the operating system refuses it, such as for want of memory: it can be sent later.
    pub(crate) fn send_token(&self) -> io::Result<()> {
        // Without a word: an end that is dropped may send one.
        exit_if_forked_worker();
        match os::send_bytes(self.0.as_handle(), &[&[0]], &[], false) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock && !has_no_receiver(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Receives a message of [`send_token`](Self::send_token); `false` if the other end is closed.
    pub(crate) fn receive_token(&self, wait: bool) -> io::Result<bool> {
        refuse_forked_worker();
        Ok(os::receive(self.0.as_handle(), &mut [0], &mut VecDeque::new(), wait)? > 0)
    }

    /// Closes both ends for all who have them. What was sent can still be received.
    pub(crate) fn close(&self) {
        refuse_forked_worker();
        os::shut_down(self.0.as_handle());
    }

    /// Waits until there is a message, or space for one; `false` at the deadline.
    pub(crate) fn wait(&self, to_send: bool, deadline: Option<Instant>) -> io::Result<bool> {
        os::wait_for_socket(self.0.as_handle(), to_send, deadline)
    }
}

impl ChannelSocket {
    /// Wakes an async task when there is a message, or space for one.
    pub(crate) fn watch(&self, to_send: bool, waker: &Waker) -> io::Result<Readiness> {
        Readiness::watch(&self.0, to_send, waker.clone())
    }
}

impl Direct for ChannelSocket {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        let copy = self.0.try_clone().map_err(|error| RefusedOperation::error(Operation::Duplicate, error));
        out.descriptor(copy.map_err(CodecError::new)?)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        input.descriptor().map(Self::new)
    }
}
