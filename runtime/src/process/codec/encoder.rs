//! [`Encoder`]: writes a message, and collects the attachments that go beside it.

use serde::Serialize;

use super::{CodecError, strict};
use crate::process::os::OwnedFd;
use crate::process::transport::ring::MAX_PAYLOAD;
use crate::process::transport::segments::{Outbox, SentSegment};

/// Bytes from here on go through a segment instead of the ring.
pub(crate) const SEGMENT_THRESHOLD: usize = 1 << 15;

/// Blocks of one message; what is more goes with the bytes, which become one block if they are many.
pub(crate) const MAX_SEGMENT_ATTACHMENTS: usize = 64;

/// Open files of one message, about; what is on its way counts as this process', which may open only so many.
pub(crate) const MAX_DESCRIPTOR_ATTACHMENTS: usize = 200;

/// Said of a value that does not fit among others.
pub(crate) const TOO_LARGE: &str = "it is too large";

/// What goes beside a frame.
pub(crate) enum Attachment {
    /// Bytes in a segment.
    Segment(SentSegment),
    /// An open file.
    Descriptor(OwnedFd),
}

/// Where values are written.
pub struct Encoder<'a> {
    pub(crate) bytes: &'a mut Vec<u8>,
    pub(crate) attachments: &'a mut Vec<Attachment>,
    /// For large attachments; without it they are refused.
    pub(crate) outbox: Option<&'a mut Outbox>,
}

impl Encoder<'_> {
    /// Writes a value of serde's.
    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        strict::write(value, self.bytes).map_err(CodecError::new)
    }

    /// Writes a byte that says what follows, and that.
    pub(crate) fn tagged<T: Serialize + ?Sized>(&mut self, tag: u8, value: &T) -> Result<(), CodecError> {
        self.bytes.push(tag);
        self.value(value)
    }

    /// Writes the bytes of all parts, one behind the other; many of them as a block.
    pub(crate) fn bytes(&mut self, parts: &[&[u8]]) -> Result<(), CodecError> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let large = len >= SEGMENT_THRESHOLD && self.attachments.len() < MAX_SEGMENT_ATTACHMENTS;
        self.value(&(large, len))?;
        if large {
            let outbox = self.outbox.as_mut().ok_or_else(|| CodecError(TOO_LARGE.into()))?;
            self.attachments.push(Attachment::Segment(outbox.send(parts).map_err(no_shared_memory)?));
        } else {
            self.bytes.reserve(len);
            parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        }
        Ok(())
    }

    /// Sends an open file.
    pub(crate) fn descriptor(&mut self, descriptor: OwnedFd) -> Result<(), CodecError> {
        if self.outbox.is_none() {
            return Err(CodecError(TOO_LARGE.into()));
        }
        let sent = self.attachments.iter().filter(|block| matches!(block, Attachment::Descriptor(_))).count();
        if sent >= MAX_DESCRIPTOR_ATTACHMENTS {
            return Err(CodecError::new(format!(
                "it has more than {MAX_DESCRIPTOR_ATTACHMENTS} ends of channels, which is the most that go with one call: make \
                 several calls, or send what belongs together through one channel"
            )));
        }
        self.attachments.push(Attachment::Descriptor(descriptor));
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn no_shared_memory(error: std::io::Error) -> CodecError {
    CodecError(format!("shared memory could not be had: {error}"))
}

/// The length of a part that has the rest of its message, and what is beside it.
pub(super) const REST: u16 = u16::MAX;

const _: () = assert!(MAX_PAYLOAD < REST as usize, "the length of what fits the ring is a length");

/// Begins a part of a message, which has the rest of it; gives its place.
#[inline]
pub(crate) fn begin_part(bytes: &mut Vec<u8>) -> usize {
    let start = bytes.len();
    bytes.extend_from_slice(&REST.to_le_bytes());
    start
}

/// Ends the part that begins here: others may follow.
#[inline]
pub(crate) fn end_part(part: &mut [u8]) {
    if let Some((length, rest)) = part.split_first_chunk_mut() {
        *length = u16::try_from(rest.len()).unwrap_or(REST).to_le_bytes();
    }
}
