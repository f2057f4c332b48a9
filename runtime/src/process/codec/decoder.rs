//! [`Decoder`]: reads a message, and takes the attachments that came with it.

use serde::de::DeserializeOwned;

use super::encoder::REST;
use super::{CodecError, strict};
use crate::process::os::{ForeignHandle, Handle};
use crate::process::transport::segments::ReceivedBytes;

/// An attachment of a received message.
pub(crate) enum ReceivedAttachment {
    /// A block of bytes in a segment.
    Segment(ReceivedBytes),
    /// A file descriptor.
    Descriptor(ForeignHandle),
}

/// Reads the values of one message.
pub struct Decoder<'a> {
    bytes: &'a [u8],
    pub(super) attachments: std::vec::IntoIter<ReceivedAttachment>,
}

/// Bytes of a message: short ones lie in the message itself, long ones in a segment.
pub(crate) enum DecodedBytes<'a> {
    Inline(&'a [u8]),
    Segment(ReceivedBytes),
}

impl DecodedBytes<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Segment(received) => received.bytes(),
        }
    }

    /// The bytes in a form that may outlive the message.
    #[cfg(feature = "polars")]
    pub(crate) fn into_received(self) -> Result<ReceivedBytes, CodecError> {
        match self {
            Self::Inline(bytes) => ReceivedBytes::copy_of(bytes).map_err(CodecError::new),
            Self::Segment(received) => Ok(received),
        }
    }
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8], attachments: Vec<ReceivedAttachment>) -> Self {
        Self { bytes, attachments: attachments.into_iter() }
    }

    /// Reads a value by serde.
    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> Result<T, CodecError> {
        let (value, rest) = strict::read(self.bytes)?;
        self.bytes = rest;
        Ok(value)
    }

    /// Reads bytes that [`Encoder::bytes`](super::Encoder::bytes) wrote.
    pub(crate) fn bytes(&mut self) -> Result<DecodedBytes<'a>, CodecError> {
        let word: usize = self.value()?;
        let len = word >> 1;
        if word & 1 == 1 {
            return match self.attachments.next() {
                Some(ReceivedAttachment::Segment(received)) if received.bytes().len() == len => {
                    Ok(DecodedBytes::Segment(received))
                }
                _ => Err(CodecError::new("a block is missing")),
            };
        }
        let (bytes, rest) = self.bytes.split_at_checked(len).ok_or_else(|| CodecError::new("it ends too early"))?;
        self.bytes = rest;
        Ok(DecodedBytes::Inline(bytes))
    }

    /// Takes the channel end that [`Encoder::descriptor`](super::Encoder::descriptor) sent.
    pub(crate) fn descriptor(&mut self) -> Result<Handle, CodecError> {
        let socket = self.foreign()?.into_channel_socket();
        socket.ok_or_else(|| CodecError::new("an open file is no end of a channel"))
    }

    /// Takes the shared memory that [`Encoder::descriptor`](super::Encoder::descriptor) sent.
    pub(crate) fn memory(&mut self) -> Result<Handle, CodecError> {
        self.foreign()?.into_memory().ok_or_else(|| CodecError::new("an open file is no shared memory"))
    }

    fn foreign(&mut self) -> Result<ForeignHandle, CodecError> {
        match self.attachments.next() {
            Some(ReceivedAttachment::Descriptor(descriptor)) => Ok(descriptor),
            _ => Err(CodecError::new("an open file is missing")),
        }
    }

    /// Reads the next part of a message, which [`begin_part`](super::begin_part) began. `unread` is the error if `read`
    /// leaves some of it.
    #[inline]
    pub(crate) fn part<T>(
        &mut self,
        unread: &str,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        let early = || CodecError::new("it ends too early");
        let (length, rest) = self.bytes.split_first_chunk().ok_or_else(early)?;
        let (bytes, rest, attachments) = match u16::from_le_bytes(*length) {
            REST => (rest, &[][..], std::mem::take(&mut self.attachments)),
            length => {
                let (part, rest) = rest.split_at_checked(length.into()).ok_or_else(early)?;
                (part, rest, std::vec::IntoIter::default())
            }
        };
        // The decoder is behind the part even if reading panics.
        self.bytes = rest;
        let mut part = Decoder { bytes, attachments };
        let value = read(&mut part)?;
        part.end(unread)?;
        Ok(value)
    }

    /// Whether all bytes and attachments were read.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.attachments.as_slice().is_empty()
    }

    /// Whether all bytes were read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Checks that all bytes and attachments were read; `unread` is the error if not.
    #[inline]
    pub(crate) fn end(&self, unread: &str) -> Result<(), CodecError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(CodecError::new(format_args!("{unread}: its `Serialize` and `Deserialize` do not agree")))
    }
}
