//! Messages with attachments: the payload of a frame, and the segments and file descriptors that belong to it.
//!
//! The third word of a frame is its *attachment word*: the number of attachments, and a bit that says whether the
//! message itself is in the last of them, because it is too long for the ring. The payload begins with a table of the
//! attachments, 16 bytes each.

use std::collections::VecDeque;
use std::io;

use super::codec::{
    Attachment, CodecError, Decoder, MAX_DESCRIPTOR_ATTACHMENTS, MAX_SEGMENT_ATTACHMENTS, ReceivedAttachment,
    no_shared_memory,
};
use super::os::{self, AsHandle, Handle, Socket};
use super::os::{ForeignHandle, PeerSocket};
use super::role::is_worker_process;
use crate::process::transport::ring::MAX_PAYLOAD;
use crate::process::transport::segments::{Inbox, Outbox, ReceivedBytes, SentSegment};

/// The bit of the attachment word that says that the message is in the last attachment.
const SPILLED: u32 = 1 << 31;

/// Stands in place of a segment's number for a file descriptor.
const DESCRIPTOR: u64 = u64::MAX;

/// The size of a table entry in bytes: a segment's number, and the length of its block.
const ENTRY_SIZE: usize = 16;

/// The attachments of one message at most: segments, descriptors, and the message itself.
const MAX_ATTACHMENTS: usize = MAX_SEGMENT_ATTACHMENTS + MAX_DESCRIPTOR_ATTACHMENTS + 1;

/// The received descriptors that are not claimed yet, at most: those of one frame, and of one more socket message.
const MAX_UNCLAIMED: usize = MAX_ATTACHMENTS + os::MAX_FDS_PER_MESSAGE;

/// The reads from the socket at a time, so that a worker that sends without end does not keep its parent there.
const MAX_READS: usize = 64;

/// Puts the attachment table before `bytes`. A message that is too long for the ring becomes one more attachment.
/// Returns the attachment word.
pub(super) fn prepend_attachment_table(
    bytes: &mut Vec<u8>,
    attachments: &mut Vec<Attachment>,
    outbox: &mut Outbox,
) -> Result<u32, CodecError> {
    let mut spilled = 0;
    if bytes.len() + attachments.len() * ENTRY_SIZE > MAX_PAYLOAD {
        attachments.push(Attachment::Segment(outbox.send(&[bytes]).map_err(no_shared_memory)?));
        bytes.clear();
        spilled = SPILLED;
    }
    if attachments.len() * ENTRY_SIZE > MAX_PAYLOAD {
        return Err(CodecError::new(format!("it has {} large parts, which is too many", attachments.len())));
    }
    if !attachments.is_empty() {
        let mut table = Vec::with_capacity(attachments.len() * ENTRY_SIZE + bytes.len());
        for attachment in &*attachments {
            let (segment, len) = match attachment {
                Attachment::Segment(sent) => (u64::from(sent.segment), sent.len),
                Attachment::Descriptor(_) => (DESCRIPTOR, 0),
            };
            table.extend_from_slice(&segment.to_ne_bytes());
            table.extend_from_slice(&len.to_ne_bytes());
        }
        table.append(bytes);
        *bytes = table;
    }
    Ok(spilled | u32::try_from(attachments.len()).unwrap_or(0))
}

/// Parses the attachment table: the attachments, `None` for a file descriptor, and the bytes behind the table.
fn parse_attachment_table(attachment_word: u32, payload: &[u8]) -> Option<(Vec<Option<SentSegment>>, &[u8])> {
    let count = Some((attachment_word & !SPILLED) as usize).filter(|count| *count <= MAX_ATTACHMENTS)?;
    let (table, bytes) = payload.split_at_checked(count.checked_mul(ENTRY_SIZE)?)?;
    let attachments = table.chunks_exact(ENTRY_SIZE).map(|attachment| {
        let (segment, len) = attachment.split_at_checked(8)?;
        let segment = u64::from_ne_bytes(segment.try_into().ok()?);
        if segment == DESCRIPTOR {
            return Some(None);
        }
        Some(Some(SentSegment { segment: segment.try_into().ok()?, len: u64::from_ne_bytes(len.try_into().ok()?) }))
    });
    Some((attachments.collect::<Option<_>>()?, bytes))
}

/// One side of the connection between a parent and a worker: the socket, and the segments of both sides.
pub(crate) struct Connection {
    pub(crate) socket: PeerSocket<Socket>,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    /// Received descriptors that are not claimed yet, in the order of the attachments that they belong to.
    pub(super) descriptors: VecDeque<ForeignHandle>,
}

impl Connection {
    pub(super) fn new(socket: Socket) -> Self {
        let socket = PeerSocket::new(socket);
        Self { socket, outbox: Outbox::default(), inbox: Inbox::default(), descriptors: VecDeque::new() }
    }

    /// Sends the descriptors among the attachments, and those of segments that the other side does not know.
    pub(super) fn send_descriptors(&mut self, attachments: &[Attachment]) -> io::Result<()> {
        let new = attachments.iter().map(|attachment| match attachment {
            Attachment::Segment(sent) => self.outbox.take_descriptor(sent.segment),
            Attachment::Descriptor(_) => None,
        });
        let new: Vec<Option<Handle>> = new.collect();
        let descriptors = attachments.iter().zip(&new).filter_map(|(attachment, new)| match attachment {
            Attachment::Segment(_) => new.as_ref().map(AsHandle::as_handle),
            Attachment::Descriptor(descriptor) => Some(descriptor.as_handle()),
        });
        let descriptors: Vec<_> = descriptors.collect();
        // A parent does not wait for space in the socket. A sound worker has read the descriptors of all earlier
        // frames, so the socket has space; a parent must not wait for another one. In the other direction, the parent
        // reads while it waits for the reply.
        let wait = is_worker_process();
        descriptors.chunks(os::MAX_FDS_PER_MESSAGE).try_for_each(|some| os::send(&self.socket, b's', some, wait))
    }

    /// Frees the segments of attachments that are not sent.
    pub(super) fn recall(&mut self, attachments: &[Attachment]) {
        for attachment in attachments {
            if let Attachment::Segment(sent) = attachment {
                self.outbox.recall(sent.segment);
            }
        }
    }

    /// Wakes the other side, which sleeps on the socket.
    pub(super) fn wake_peer(&self) -> io::Result<()> {
        os::send(&self.socket, b'r', &[], true)
    }

    /// Reads what is on the socket, without waiting; `false` if the other side has closed it.
    ///
    /// # Errors
    ///
    /// If more descriptors came than frames can have announced, or not all of them could be received.
    pub(super) fn drain_socket(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 64];
        for _ in 0..MAX_READS {
            match os::receive(self.socket.as_handle(), &mut bytes, &mut self.descriptors, false) {
                Ok(0) => return Ok(false),
                Ok(_) if self.descriptors.len() > MAX_UNCLAIMED => {
                    return Err(io::Error::other("more open files came than were announced"));
                }
                Ok(read) if read == bytes.len() => {}
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether descriptors came that belong to no frame. The caller has opened all frames.
    pub(super) fn has_unclaimed(&self) -> bool {
        !self.descriptors.is_empty()
    }

    /// Opens a frame's payload: claims its descriptors, and takes its segments.
    pub(super) fn open<'a>(&mut self, attachment_word: u32, payload: &'a [u8]) -> io::Result<ReceivedMessage<'a>> {
        let (attachments, bytes) = parse_attachment_table(attachment_word, payload)
            .ok_or_else(|| io::Error::other("a frame that cannot be read"))?;
        let mut arrived = Vec::with_capacity(attachments.len());
        for attachment in attachments {
            let Some(sent) = attachment else {
                arrived.push(ReceivedAttachment::Descriptor(self.descriptor()?));
                continue;
            };
            if !self.inbox.contains(sent.segment) {
                let fd = self.descriptor()?;
                self.inbox.add_segment(sent.segment, &fd)?;
            }
            arrived.push(ReceivedAttachment::Segment(self.inbox.open(sent)?));
        }
        let spilled = match arrived.pop_if(|_| attachment_word & SPILLED != 0) {
            // Values are decoded from these bytes, so they must not change after a check.
            Some(ReceivedAttachment::Segment(received)) => Some(received.into_private()?),
            Some(ReceivedAttachment::Descriptor(_)) => return Err(io::Error::other("a frame that cannot be read")),
            None => None,
        };
        Ok(ReceivedMessage { bytes, spilled, attachments: arrived })
    }

    /// Claims the next descriptor. The other side sends descriptors before their frame.
    fn descriptor(&mut self) -> io::Result<ForeignHandle> {
        if self.descriptors.is_empty() {
            os::wait_for_descriptor(&self.socket);
            self.drain_socket()?;
        }
        self.descriptors.pop_front().ok_or_else(|| io::Error::other("an open file that a frame has did not come"))
    }
}

/// An opened payload, with its attachments.
pub(super) struct ReceivedMessage<'a> {
    bytes: &'a [u8],
    spilled: Option<ReceivedBytes>,
    attachments: Vec<ReceivedAttachment>,
}

impl ReceivedMessage<'_> {
    /// Whether file descriptors are attached.
    pub(super) fn has_descriptors(&self) -> bool {
        self.attachments.iter().any(|attachment| matches!(attachment, ReceivedAttachment::Descriptor(_)))
    }

    /// The decoder of this message. Called once: it takes the attachments.
    pub(super) fn decoder(&mut self) -> Decoder<'_> {
        let bytes = self.spilled.as_ref().map_or(self.bytes, ReceivedBytes::bytes);
        Decoder::new(bytes, std::mem::take(&mut self.attachments))
    }
}
