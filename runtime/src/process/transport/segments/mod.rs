//! Segments: shared memory for large blocks of bytes. One segment holds one block at a time.
//!
//! A new segment is expensive, because the kernel clears each page at its first touch. So the side that makes a segment
//! keeps it in its [`Outbox`] and fills it again once the other side has released it. The first word of a segment is
//! its state:
//!
//! | state | who may touch the bytes | next state |
//! |---|---|---|
//! | `FREE` | the maker, to fill it | `LENT` by the maker, `RETIRED` by either side |
//! | `LENT` | the maker, until it sends the block | `HELD` by the receiver, `FREE` if the block is not sent |
//! | `HELD` | the receiver, which reads | `FREE` by the receiver |
//! | `RETIRED` | neither side; each unmaps it when it sees this state | |
//!
//! A process may have only some 65,000 mappings and often only 1,024 open files. So a side closes the descriptor of a
//! segment once the other side has it, and a side that holds [`MAX_HELD`] segments of the other copies further blocks.
//!
//! Both sides can write to a segment at any time, and a worker may be compromised: bytes that its parent reads in a
//! segment may change meanwhile. [`ReceivedBytes`] says which bytes may be read in place and which are copied first.

mod inbox;
mod outbox;
mod received;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::os::Mapping;
use crate::sys::owner::Owner;
pub(crate) use inbox::Inbox;
pub(crate) use outbox::Outbox;
pub(crate) use received::ReceivedBytes;

/// The bytes before the block, which hold the state. Arrow wants its buffers aligned to 64 bytes.
const SEGMENT_HEADER: usize = 64;
/// The size of a segment is a multiple of 1 MiB, so that one segment serves blocks of similar lengths.
const SIZE_STEP: usize = 1 << 20;
/// The segments of the other side that a side keeps mapped and reads in place. A block in one more segment is copied,
/// and the segment is free for the next block at once.
const MAX_HELD: usize = 256;
/// The free segments that a side keeps for its next blocks.
const MAX_FREE: usize = 4;
/// The segments that a side makes at most, in any state. The other side holds [`MAX_HELD`] of them and those of
/// messages that it has not opened yet, so a sound peer releases some before this limit is reached.
const MAX_SEGMENTS: usize = 1024;
/// A worker that has made so many segments, none of them free, waits for its parent to release one. One more message
/// fits below [`MAX_SEGMENTS`].
const WORKER_WAITS_AT: usize = MAX_SEGMENTS / 2;

const FREE: u32 = 0;
const LENT: u32 = 1;
const HELD: u32 = 2;
const RETIRED: u32 = 3;

/// One segment, as one side has it mapped.
struct Segment {
    /// The process that mapped it. A forked copy of that process never changes the state.
    owner: Owner,
    mapping: Mapping,
}

impl Segment {
    fn state(&self) -> &AtomicU32 {
        // SAFETY: the mapping lives as long as `self`, is aligned to a page and longer than a word, and any bits are a
        // valid `AtomicU32`.
        unsafe { self.mapping.start().cast().as_ref() }
    }

    fn capacity(&self) -> usize {
        self.mapping.len() - SEGMENT_HEADER
    }

    fn is_retired(&self) -> bool {
        self.state().load(Ordering::Acquire) == RETIRED
    }

    fn is_free(&self) -> bool {
        self.state().load(Ordering::Acquire) == FREE
    }

    /// Moves the segment from state `from` to state `to`; `false` if it was in another state.
    fn advance(&self, from: u32, to: u32) -> bool {
        self.owner.is_this_process()
            && self.state().compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Lets the maker of the segment fill it again.
    fn free(&self) {
        if self.owner.is_this_process() {
            self.state().store(FREE, Ordering::Release);
        }
    }

    /// Retires the segment if it is free; whether it is retired now.
    fn retire(&self) -> bool {
        self.is_retired() || self.advance(FREE, RETIRED)
    }
}

/// A block on its way to the other process: the number of its segment, and its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentSegment {
    pub(crate) segment: u32,
    pub(crate) len: u64,
}
