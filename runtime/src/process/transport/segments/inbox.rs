//! [`Inbox`]: the segments of the other side that this side has mapped.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::received::ReceivedBytes;
use super::{HELD, LENT, MAX_HELD, MAX_SEGMENTS, SEGMENT_HEADER, SIZE_STEP, Segment, SentSegment};
use crate::process::os::{Handle, Mapping};
use crate::sys::owner::Owner;

/// The segments of the other side that this side has mapped, by their numbers.
#[derive(Default)]
pub(crate) struct Inbox {
    segments: HashMap<u32, Arc<Segment>>,
}

impl Inbox {
    pub(crate) fn contains(&self, number: u32) -> bool {
        self.segments.contains_key(&number)
    }

    /// Maps a segment that the other side made.
    ///
    /// # Errors
    ///
    /// If the memory could fault when it is read, is larger than the other side has written, or is one segment too
    /// many.
    pub(crate) fn add_segment(&mut self, number: u32, fd: &Handle) -> io::Result<()> {
        self.segments.retain(|_, segment| !segment.is_retired());
        if self.segments.len() >= MAX_SEGMENTS {
            return Err(io::Error::other("more segments than a side may make"));
        }
        // The other side sends the descriptor of a new segment together with its first block, and the segment is longer
        // than header and block by less than a step.
        let mapping = Mapping::received(fd, SIZE_STEP)?;
        if mapping.len() <= SEGMENT_HEADER {
            return Err(io::Error::other("the segment is empty"));
        }
        self.segments.insert(number, Arc::new(Segment { owner: Owner::this_process(), mapping }));
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The number of mapped segments.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.segments.len()
    }

    /// Retires and unmaps all free segments.
    pub(crate) fn release_memory(&mut self) {
        self.segments.retain(|_, segment| !segment.retire());
    }

    /// The bytes of a block that was sent. The segment is free for the other side when they are dropped.
    ///
    /// # Errors
    ///
    /// If the segment is unknown, shorter than the block or not in state `LENT`, or there is no memory for a copy.
    pub(crate) fn open(&self, sent: SentSegment) -> io::Result<ReceivedBytes> {
        let segment = self.segments.get(&sent.segment).ok_or_else(|| io::Error::other("an unknown segment"))?;
        let len = usize::try_from(sent.len).ok().filter(|len| *len <= segment.capacity());
        let len = len.ok_or_else(|| io::Error::other("a block that is longer than its segment"))?;
        // A segment has one reader at a time: the end of the reader frees it.
        if !segment.advance(LENT, HELD) {
            return Err(io::Error::other("a segment that is in use"));
        }
        let received = ReceivedBytes::in_segment(Arc::clone(segment), len);
        if self.segments.len() > MAX_HELD { received.copy(0..received.bytes().len()) } else { Ok(received) }
    }
}
