//! Frames of a connection: their bytes, and the handles in them.
//!
//! ```text
//!   frame:   length | kind, handles | id | request || handles, 17 bytes each | payload
//! ```

use std::io;
use std::sync::Arc;

use super::end::{Direction, End};
use super::link::{Link, Role};
use super::memory::MemoryHandle;
use super::system::{NEEDS_RECEIPT, Reader};
use super::{Handle, MAX_FDS_PER_MESSAGE};

/// The bytes before the handles: the length of what follows, the kind, the number of handles, and two numbers.
const HEADER: usize = 16;
/// The bytes of a handle: what it is, and two words.
const ENTRY: usize = 17;
/// The longest frame that a process sends is a channel's longest inline message.
const MAX_FRAME: usize = 1 << 17;
/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(pub(super) u8);

impl Kind {
    /// Bytes and handles, for [`Inbox::take`](super::inbox::Inbox::take).
    pub(super) const MESSAGE: Self = Self(0);
    /// Wakes the worker that waits in [`Inbox::sleep`](super::inbox::Inbox::sleep).
    pub(super) const DOORBELL: Self = Self(1);
    /// The receiver has its own handle of memory, and the sender may close the one that it keeps.
    pub(super) const RECEIPT: Self = Self(2);
    /// Requests of channel ends, and the replies to them: see `requests.rs`.
    pub(super) const SEND: Self = Self(3);
    pub(super) const RECEIVE: Self = Self(4);
    pub(super) const WAIT: Self = Self(5);
    pub(super) const CANCEL: Self = Self(6);
    pub(super) const CLOSE: Self = Self(7);
    pub(super) const DROP: Self = Self(8);
    pub(super) const ADOPT: Self = Self(9);
    pub(super) const REPLY: Self = Self(10);
    /// As [`RECEIVE`](Self::RECEIVE), answered when there is a message or the end is closed.
    pub(super) const RECEIVE_NEXT: Self = Self(11);
}

/// A frame that is ready to be written.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    /// The memory among the handles, and the offsets of their words in `bytes`.
    pub(super) memory: Vec<(usize, MemoryHandle)>,
}

/// A frame that came.
pub(super) struct ReceivedFrame {
    pub(super) kind: Kind,
    pub(super) id: u32,
    pub(super) request: u32,
    pub(super) handles: Vec<Handle>,
    pub(super) payload: Vec<u8>,
}

impl Link {
    /// A frame that is ready to be written.
    pub(super) fn encode(
        self: &Arc<Self>,
        (kind, id, request): (Kind, u32, u32),
        parts: &[&[u8]],
        handles: &[&Handle],
    ) -> io::Result<Frame> {
        assert!(handles.len() <= MAX_FDS_PER_MESSAGE, "more handles than one message holds");
        let len = handles.len() * ENTRY + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut frame = Frame { bytes: Vec::with_capacity(HEADER + len), memory: Vec::new() };
        let bytes = &mut frame.bytes;
        bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
        bytes.extend_from_slice(&[kind.0, u8::try_from(handles.len()).unwrap_or(u8::MAX), 0, 0]);
        bytes.extend_from_slice(&id.to_ne_bytes());
        bytes.extend_from_slice(&request.to_ne_bytes());
        for handle in handles {
            let (what, first, second) = match handle {
                Handle::Memory(memory) => {
                    frame.memory.push((bytes.len() + 9, memory.clone()));
                    (0, memory.len() as u64, 0)
                }
                Handle::Missing => return Err(invalid()),
                Handle::End(end) => {
                    let id = match self.role {
                        Role::Parent => self.lend(end),
                        Role::Worker => end.id_at_parent(self)?,
                    };
                    (1 + u8::from(end.direction() == Direction::Receive), u64::from(id), 0)
                }
            };
            bytes.push(what);
            bytes.extend_from_slice(&first.to_ne_bytes());
            bytes.extend_from_slice(&u64::to_ne_bytes(second));
        }
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(frame)
    }

    /// The next whole frame at the front of `bytes`.
    pub(super) fn decode(
        self: &Arc<Self>,
        bytes: &mut &[u8],
        reader: &mut Reader,
    ) -> io::Result<Option<ReceivedFrame>> {
        let Some((header, rest)) = bytes.split_at_checked(HEADER) else { return Ok(None) };
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (len, kind, count) = (word(0) as usize, Kind(header[4]), usize::from(header[5]));
        if len > MAX_FRAME || count > MAX_FDS_PER_MESSAGE || len < count * ENTRY {
            return Err(invalid());
        }
        let Some((body, rest)) = rest.split_at_checked(len) else { return Ok(None) };
        let (entries, payload) = body.split_at(count * ENTRY);
        let mut handles = Vec::with_capacity(count);
        for entry in entries.chunks_exact(ENTRY) {
            let word = |at: usize| entry[at..at + 8].try_into().map(u64::from_ne_bytes).map_err(|_| invalid());
            let (first, second) = (word(1)?, word(9)?);
            handles.push(match (entry[0], self.role) {
                (0, _) => {
                    let memory = reader.take_memory(second, usize::try_from(first).map_err(|_| invalid())?);
                    if NEEDS_RECEIPT && self.role == Role::Parent {
                        self.send((Kind::RECEIPT, 0, 0), &[&second.to_ne_bytes()], &[])?;
                    }
                    memory.map_or(Handle::Missing, Handle::Memory)
                }
                (1 | 2, Role::Parent) => {
                    let id = u32::try_from(first).map_err(|_| invalid())?;
                    Handle::End(self.end(id)?)
                }
                (what @ (1 | 2), Role::Worker) => {
                    let id = u32::try_from(first).map_err(|_| invalid())?;
                    let direction = if what == 1 { Direction::Send } else { Direction::Receive };
                    Handle::End(End::at_parent(Arc::clone(self), id, direction))
                }
                _ => return Err(invalid()),
            });
        }
        reader.end_frame();
        let frame = ReceivedFrame { kind, id: word(8), request: word(12), handles, payload: payload.to_vec() };
        *bytes = rest;
        Ok(Some(frame))
    }
}

/// The error of a frame that a sound process does not send.
pub(super) fn invalid() -> io::Error {
    io::Error::other("what came cannot be read")
}
