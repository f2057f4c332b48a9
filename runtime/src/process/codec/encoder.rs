//! [`Encoder`]: writes a message, and collects the attachments that go with it.

use serde::Serialize;

use super::{CodecError, strict};
use crate::process::os::Handle;
use crate::process::transport::ring::MAX_PAYLOAD;
use crate::process::transport::segments::{Outbox, SentSegment};

/// The length from which bytes go through a segment instead of the ring, 32 KiB.
pub(crate) const SEGMENT_THRESHOLD: usize = 1 << 15;

/// The segments of one message. Further bytes go into the message itself, which becomes one segment if it is long.
pub(crate) const MAX_SEGMENT_ATTACHMENTS: usize = 64;

/// The file descriptors of one message. Descriptors in flight count against `RLIMIT_NOFILE` of the sending process.
pub(crate) const MAX_DESCRIPTOR_ATTACHMENTS: usize = 200;

/// The value of [`Encoder::max_descriptors`] in a message that leaves the machine: it has no attachments of any kind.
const ACROSS_MACHINES: usize = usize::MAX;

/// The error of a value that needs attachments where none are possible, as in a batch of calls.
pub(crate) const TOO_LARGE: &str = "it is too large";

/// An attachment of a message that is sent.
pub(crate) enum Attachment {
    /// A block of bytes in a segment.
    Segment(SentSegment),
    /// A file descriptor.
    Descriptor(Handle),
}

/// Writes the values of one message.
pub struct Encoder<'a> {
    pub(crate) bytes: &'a mut Vec<u8>,
    pub(crate) attachments: &'a mut Vec<Attachment>,
    /// Makes segments for large blocks. Without it, they are refused.
    pub(crate) outbox: Option<&'a mut Outbox>,
    /// The file descriptors that may be attached.
    pub(crate) max_descriptors: usize,
}

impl<'a> Encoder<'a> {
    /// Writes a message to another process of this machine. Without an outbox, it cannot have attachments.
    pub(crate) fn new(
        bytes: &'a mut Vec<u8>,
        attachments: &'a mut Vec<Attachment>,
        outbox: Option<&'a mut Outbox>,
    ) -> Self {
        let max_descriptors = if outbox.is_some() { MAX_DESCRIPTOR_ATTACHMENTS } else { 0 };
        Self { bytes, attachments, outbox, max_descriptors }
    }

    /// Writes a message for another machine, with all bytes in the message itself.
    pub(crate) fn across_machines(bytes: &'a mut Vec<u8>, attachments: &'a mut Vec<Attachment>) -> Self {
        Self { max_descriptors: ACROSS_MACHINES, ..Self::new(bytes, attachments, None) }
    }
}

impl Encoder<'_> {
    /// Writes a value by serde.
    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        strict::write(value, self.bytes)
    }

    /// Writes a number that says which value follows, and the value by serde.
    pub(crate) fn tagged<T: Serialize + ?Sized>(&mut self, tag: u8, value: &T) -> Result<(), CodecError> {
        self.value(&tag)?;
        self.value(value)
    }

    /// Writes the bytes of all parts, one after the other; long ones as a segment.
    pub(crate) fn bytes(&mut self, parts: &[&[u8]]) -> Result<(), CodecError> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let large = len >= SEGMENT_THRESHOLD
            && self.attachments.len() < MAX_SEGMENT_ATTACHMENTS
            && self.max_descriptors != ACROSS_MACHINES;
        self.value(&(len << 1 | usize::from(large)))?;
        if large {
            let outbox = self.outbox.as_mut().ok_or_else(|| CodecError::new(TOO_LARGE))?;
            self.attachments.push(Attachment::Segment(outbox.send(parts).map_err(no_shared_memory)?));
        } else {
            self.bytes.reserve(len);
            parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        }
        Ok(())
    }

    /// Whether file descriptors can be attached at all.
    pub(crate) fn check_descriptors(&self) -> Result<(), CodecError> {
        match self.max_descriptors {
            0 => Err(CodecError::new(TOO_LARGE)),
            ACROSS_MACHINES => Err(CodecError::new(
                "ends of channels and shared values reach the processes of one machine alone: pass the data itself to \
                 a function that runs on a cluster",
            )),
            _ => Ok(()),
        }
    }

    /// Attaches a file descriptor.
    pub(crate) fn descriptor(&mut self, descriptor: Handle) -> Result<(), CodecError> {
        self.check_descriptors()?;
        let sent = self.attachments.iter().filter(|block| matches!(block, Attachment::Descriptor(_))).count();
        if sent >= self.max_descriptors {
            return Err(CodecError::new(format!(
                "it has more than {} ends of channels and shared values, which is the most that go with one call or \
                 message: make several calls, or send what belongs together through one channel",
                self.max_descriptors
            )));
        }
        self.attachments.push(Attachment::Descriptor(descriptor));
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn no_shared_memory(error: std::io::Error) -> CodecError {
    CodecError::new(format_args!("shared memory could not be had: {error}"))
}

/// The length of a part that takes the rest of its message and the attachments.
pub(super) const REST: u16 = u16::MAX;

const _: () = assert!(MAX_PAYLOAD < REST as usize, "the length of what fits the ring is a length");

/// Begins a part of a message, which takes the rest of the message until [`end_part`]. Returns its offset.
#[inline]
pub(crate) fn begin_part(bytes: &mut Vec<u8>) -> usize {
    let start = bytes.len();
    bytes.extend_from_slice(&REST.to_le_bytes());
    start
}

/// Ends the part that begins at the front of `part`, so that other parts may follow.
#[inline]
pub(crate) fn end_part(part: &mut [u8]) {
    if let Some((length, rest)) = part.split_first_chunk_mut() {
        *length = u16::try_from(rest.len()).unwrap_or(REST).to_le_bytes();
    }
}
