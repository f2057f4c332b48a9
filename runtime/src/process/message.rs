//! What goes with a frame: blocks of bytes that are too large for the ring, each in a segment of its own.
//!
//! A frame's third word says how many blocks there are, and its payload begins with their descriptions. Where the bytes
//! themselves are too many, they are a block as well, the last one.

use std::collections::VecDeque;
use std::io;

use super::codec::{Arrived, Block, Decoder, MOST_BLOCKS, MOST_DESCRIPTORS, Misfit, no_memory};
use super::foreign::{Connected, Foreign};
use super::os::{self, AsFd, OwnedFd, UnixStream};
use super::worker::is_worker_process;
use crate::process::transport::ring::LARGEST;
use crate::process::transport::segments::{Inbox, Outbox, Sent, View};

/// The bit in a frame's third word that says that all bytes are in the last block.
const SPILLED: u32 = 1 << 31;

/// In the place of a segment's number: an open file.
const DESCRIPTOR: u64 = u64::MAX;

/// The bytes that tell the other process of a block.
const BLOCK_SIZE: usize = 16;

/// Blocks and open files of one message, with the block of its bytes.
const MOST_BESIDE: usize = MOST_BLOCKS + MOST_DESCRIPTORS + 1;

/// Descriptors that came and were not asked for yet: those of a frame that is about to come, and of one more message.
const MOST_PARKED: usize = MOST_BESIDE + os::MOST_DESCRIPTORS;

/// Messages that are read from the socket at a time: a side that sends without end must not keep the other one there.
const MOST_READ: usize = 64;

/// Puts the descriptions of `blocks` before `bytes`; what is too long for the ring goes into one more block. Gives the
/// frame's third word.
pub(super) fn pack(bytes: &mut Vec<u8>, blocks: &mut Vec<Block>, outbox: &mut Outbox) -> Result<u32, Misfit> {
    let mut spilled = 0;
    if bytes.len() + blocks.len() * BLOCK_SIZE > LARGEST {
        blocks.push(Block::Bytes(outbox.send(&[bytes]).map_err(no_memory)?));
        bytes.clear();
        spilled = SPILLED;
    }
    if blocks.len() * BLOCK_SIZE > LARGEST {
        return Err(Misfit::new(format!("it has {} large parts, which is too many", blocks.len())));
    }
    if !blocks.is_empty() {
        let mut described = Vec::with_capacity(blocks.len() * BLOCK_SIZE + bytes.len());
        for block in &*blocks {
            let (segment, len) = match block {
                Block::Bytes(sent) => (u64::from(sent.segment), sent.len),
                Block::Descriptor(_) => (DESCRIPTOR, 0),
            };
            described.extend_from_slice(&segment.to_ne_bytes());
            described.extend_from_slice(&len.to_ne_bytes());
        }
        described.append(bytes);
        *bytes = described;
    }
    Ok(spilled | u32::try_from(blocks.len()).unwrap_or(0))
}

/// The blocks that a frame describes, `None` for an open file, and the bytes behind them.
fn unpack(word: u32, payload: &[u8]) -> Option<(Vec<Option<Sent>>, &[u8])> {
    let count = Some((word & !SPILLED) as usize).filter(|count| *count <= MOST_BESIDE)?;
    let (described, bytes) = payload.split_at_checked(count.checked_mul(BLOCK_SIZE)?)?;
    let blocks = described.chunks_exact(BLOCK_SIZE).map(|block| {
        let (segment, len) = block.split_at_checked(8)?;
        let segment = u64::from_ne_bytes(segment.try_into().ok()?);
        if segment == DESCRIPTOR {
            return Some(None);
        }
        Some(Some(Sent { segment: segment.try_into().ok()?, len: u64::from_ne_bytes(len.try_into().ok()?) }))
    });
    Some((blocks.collect::<Option<_>>()?, bytes))
}

/// One side's part of what the parent and a worker exchange beside the rings.
pub(crate) struct Mail {
    pub(crate) socket: Connected<UnixStream>,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    /// Descriptors of segments that came and were not asked for yet, in the order of their segments' first use.
    pub(super) descriptors: VecDeque<Foreign>,
}

impl Mail {
    pub(super) fn new(socket: UnixStream) -> Self {
        let socket = Connected::new(socket);
        Self { socket, outbox: Outbox::default(), inbox: Inbox::default(), descriptors: VecDeque::new() }
    }

    /// Sends the descriptors of segments that the other side does not know.
    pub(super) fn introduce(&mut self, blocks: &[Block]) -> io::Result<()> {
        let new = blocks.iter().map(|block| match block {
            Block::Bytes(sent) => self.outbox.introduce(sent.segment),
            Block::Descriptor(_) => None,
        });
        let new: Vec<Option<OwnedFd>> = new.collect();
        let descriptors = blocks.iter().zip(&new).filter_map(|(block, new)| match block {
            Block::Bytes(_) => new.as_ref().map(AsFd::as_fd),
            Block::Descriptor(descriptor) => Some(descriptor.as_fd()),
        });
        let descriptors: Vec<_> = descriptors.collect();
        // The other side may read none of this before it has the frame: many messages would fill the socket. A parent
        // does not wait for room: a worker has read all that belongs to earlier frames, or it is not to be waited for.
        let wait = is_worker_process();
        descriptors.chunks(os::MOST_DESCRIPTORS).try_for_each(|some| os::send(&self.socket, b's', some, wait))
    }

    /// Takes back blocks that were not sent.
    pub(super) fn recall(&mut self, blocks: &[Block]) {
        for block in blocks {
            if let Block::Bytes(sent) = block {
                self.outbox.recall(sent.segment);
            }
        }
    }

    /// Wakes the other side, which waits for the socket.
    pub(super) fn ring(&self) -> io::Result<()> {
        os::send(&self.socket, b'r', &[], true)
    }

    /// Reads what is on the socket, without waiting; `false` if the other side has closed it.
    ///
    /// # Errors
    ///
    /// If more descriptors came than frames can have announced, or not all of them could be received.
    pub(super) fn collect(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 64];
        for _ in 0..MOST_READ {
            match os::receive(&self.socket.as_fd(), &mut bytes, &mut self.descriptors, false) {
                Ok(0) => return Ok(false),
                Ok(_) if self.descriptors.len() > MOST_PARKED => {
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

    /// Whether descriptors have come that no frame has announced, though all frames have been opened.
    pub(super) fn has_surplus(&self) -> bool {
        !self.descriptors.is_empty()
    }

    /// Opens a frame's payload.
    pub(super) fn open<'a>(&mut self, word: u32, payload: &'a [u8]) -> io::Result<Parcel<'a>> {
        let (blocks, bytes) = unpack(word, payload).ok_or_else(|| io::Error::other("a frame that cannot be read"))?;
        let mut arrived = Vec::with_capacity(blocks.len());
        for block in blocks {
            let Some(sent) = block else {
                arrived.push(Arrived::Descriptor(self.descriptor()?));
                continue;
            };
            if !self.inbox.knows(sent.segment) {
                let fd = self.descriptor()?;
                self.inbox.learn(sent.segment, &fd)?;
            }
            arrived.push(Arrived::Bytes(self.inbox.view(sent)?));
        }
        let spilled = match arrived.pop_if(|_| word & SPILLED != 0) {
            // Values are decoded from it: what is checked must not change before it is used.
            Some(Arrived::Bytes(view)) => Some(view.into_private()?),
            Some(Arrived::Descriptor(_)) => return Err(io::Error::other("a frame that cannot be read")),
            None => None,
        };
        Ok(Parcel { bytes, spilled, blocks: arrived })
    }

    /// The next descriptor; it was sent before the frame was.
    fn descriptor(&mut self) -> io::Result<Foreign> {
        if self.descriptors.is_empty() {
            self.collect()?;
        }
        self.descriptors.pop_front().ok_or_else(|| io::Error::other("an open file that a frame has did not come"))
    }
}

/// A frame's payload, opened.
pub(super) struct Parcel<'a> {
    bytes: &'a [u8],
    spilled: Option<View>,
    blocks: Vec<Arrived>,
}

impl Parcel<'_> {
    /// Whether ends of channels are in it.
    pub(super) fn has_ends(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block, Arrived::Descriptor(_)))
    }

    /// What reads it, once.
    pub(super) fn decoder(&mut self) -> Decoder<'_> {
        let bytes = self.spilled.as_ref().map_or(self.bytes, View::bytes);
        Decoder::new(bytes, std::mem::take(&mut self.blocks))
    }
}
