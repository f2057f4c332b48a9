//! [`Outbox`]: the segments that this side made, and fills with blocks for the other side.

use std::io;
use std::sync::atomic::Ordering;

use super::{FREE, LENT, MAX_FREE, MAX_SEGMENTS, SEGMENT_HEADER, SIZE_STEP, Segment, SentSegment, WORKER_WAITS_AT};
use crate::process::os::{self, Handle, Mapping};
use crate::sys::owner::Owner;

/// The segments that this side made.
#[derive(Default)]
pub(crate) struct Outbox {
    segments: Vec<OwnSegment>,
    next_number: u32,
}

struct OwnSegment {
    number: u32,
    segment: Segment,
    /// The descriptor, until it is sent to the other side.
    fd: Option<Handle>,
}

impl Outbox {
    /// Copies `parts` into a segment, one after the other.
    ///
    /// # Errors
    ///
    /// If no segment is free and no new one can be made.
    pub(crate) fn send(&mut self, parts: &[&[u8]]) -> io::Result<SentSegment> {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut writer = self.reserve(len)?;
        for part in parts {
            writer.write(part);
        }
        Ok(writer.finish())
    }

    /// Takes the smallest free segment with room for `len` bytes, or a new one.
    fn reserve(&mut self, len: usize) -> io::Result<SegmentWriter<'_>> {
        let fits = |(_, own): &(usize, &OwnSegment)| own.segment.is_free() && own.segment.capacity() >= len;
        let found = self.segments.iter().enumerate().filter(fits).min_by_key(|(_, own)| own.segment.capacity());
        let index = found.map(|(index, _)| index);
        // The other side may retire the segment at this moment, and then `advance` fails.
        let index = match index.filter(|index| self.segments[*index].segment.advance(FREE, LENT)) {
            Some(index) => index,
            None => self.create_segment(len)?,
        };
        Ok(SegmentWriter { own: &mut self.segments[index], len: 0 })
    }

    /// Makes a segment in state `LENT`; returns its index.
    fn create_segment(&mut self, len: usize) -> io::Result<usize> {
        // A segment that is too small for this block is probably too small for the next blocks as well.
        self.retire(|own| own.segment.capacity() < len, MAX_FREE - 1);
        if self.is_full() {
            return Err(io::Error::other(format!("the other process gives none of {MAX_SEGMENTS} blocks back")));
        }
        let size = len.checked_add(SEGMENT_HEADER).and_then(|size| size.checked_next_multiple_of(SIZE_STEP));
        let size = size.ok_or_else(|| io::Error::other("more memory than the system can address"))?;
        let fd = os::create_memory(size)?;
        let segment = Segment { owner: Owner::this_process(), mapping: Mapping::new(&fd)? };
        segment.state().store(LENT, Ordering::Release);
        self.segments.push(OwnSegment { number: self.next_number, segment, fd: Some(fd) });
        self.next_number += 1;
        Ok(self.segments.len() - 1)
    }

    /// Takes the descriptor of a segment that the other side does not know yet; the caller sends it.
    pub(crate) fn take_descriptor(&mut self, number: u32) -> Option<Handle> {
        self.segments.iter_mut().find(|own| own.number == number)?.fd.take()
    }

    /// Frees the segment of a block that is not sent.
    pub(crate) fn recall(&mut self, number: u32) {
        if let Some(own) = self.segments.iter().find(|own| own.number == number) {
            own.segment.free();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether [`MAX_SEGMENTS`] segments exist.
    pub(crate) fn is_full(&self) -> bool {
        self.segments.len() >= MAX_SEGMENTS
    }

    /// Whether a worker waits for its parent to release a segment before it makes more.
    pub(crate) fn should_wait(&self) -> bool {
        self.segments.len() >= WORKER_WAITS_AT && !self.segments.iter().any(|own| own.segment.is_free())
    }

    /// Retires and unmaps all free segments.
    pub(crate) fn release_memory(&mut self) {
        self.segments.retain(|own| !own.segment.retire());
    }

    /// Retires the free segments that are `useless`, as long as more than `keep` are free.
    fn retire(&mut self, useless: impl Fn(&OwnSegment) -> bool, keep: usize) {
        let mut free = self.segments.iter().filter(|own| own.segment.is_free()).count();
        self.segments.retain(|own| {
            if free <= keep || !useless(own) || !own.segment.is_free() {
                return !own.segment.is_retired();
            }
            free -= 1;
            !own.segment.retire()
        });
    }

    /// Overwrites all blocks, as a compromised worker may at any time.
    #[cfg(all(test, target_os = "linux", not(fanfold_portable)))]
    pub(crate) fn overwrite_all(&self, byte: u8) {
        for own in &self.segments {
            // SAFETY: `capacity` bytes follow the header in the mapping. A receiver of the block relies on no value of
            // these bytes, which is what the tests check.
            unsafe { own.segment.mapping.start().add(SEGMENT_HEADER).write_bytes(byte, own.segment.capacity()) };
        }
    }

    /// The number of segments.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.segments.len()
    }

    /// The bytes of memory in all segments.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.segments.iter().map(|own| own.segment.mapping.len()).sum()
    }
}

/// A segment in state `LENT` that is being filled.
struct SegmentWriter<'a> {
    own: &'a mut OwnSegment,
    len: usize,
}

impl SegmentWriter<'_> {
    /// Appends bytes.
    ///
    /// # Panics
    ///
    /// If the segment has no room for them.
    fn write(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() <= self.own.segment.capacity() - self.len,
            "the block is longer than the space reserved for it"
        );
        // SAFETY: the assertion keeps the bytes within the mapping. The state is `LENT` and the block is not sent yet,
        // so the other side does not read here.
        unsafe {
            let end = self.own.segment.mapping.start().add(SEGMENT_HEADER + self.len);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), end.as_ptr(), bytes.len());
        }
        self.len += bytes.len();
    }

    fn finish(self) -> SentSegment {
        SentSegment { segment: self.own.number, len: self.len as u64 }
    }
}
