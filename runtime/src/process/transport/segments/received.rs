//! [`ReceivedBytes`]: bytes that the other side sent, in its segment or in a copy.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::{SEGMENT_HEADER, Segment};
use crate::process::os;
use crate::process::os::refusal::no_memory_for_copy;
use crate::process::role::is_worker_process;

/// Bytes that the other side sent, aligned to 64 bytes.
///
/// # What a reader may rely on
///
/// The address and the length of [`bytes`](Self::bytes) are fixed, and reading them never faults. In a worker the bytes
/// are fixed as well, because a worker trusts its parent. In a parent they are fixed only if
/// [`may_change`](Self::may_change) is `false`; else a compromised worker can rewrite them between any two reads. Then
/// only values for which any bits are valid are read in place: plain numbers. Everything that is checked before it is
/// used (text, offsets, views, lengths, whole messages) is copied first, by [`copy`](Self::copy) or
/// [`into_private`](Self::into_private), and checked in the copy.
pub(crate) struct ReceivedBytes(ReceivedStorage);

enum ReceivedStorage {
    Segment(LeasedSegment),
    Copy(AlignedCopy),
}

impl ReceivedBytes {
    /// The first `len` bytes of a block in a segment whose state the caller set to `HELD`; `len` is at most its
    /// capacity.
    pub(super) fn in_segment(segment: Arc<Segment>, len: usize) -> Self {
        Self(ReceivedStorage::Segment(LeasedSegment { segment, len }))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.0 {
            ReceivedStorage::Segment(leased) => leased.bytes(),
            ReceivedStorage::Copy(copy) => copy.bytes(),
        }
    }

    /// Whether an untrusted process can write to the bytes: they lie in a segment, and this process is the parent.
    pub(crate) fn may_change(&self) -> bool {
        matches!(self.0, ReceivedStorage::Segment(_)) && !is_worker_process()
    }

    /// A copy of a part, in private memory of this process.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    ///
    /// # Panics
    ///
    /// If the part is not within the bytes.
    pub(crate) fn copy(&self, part: Range<usize>) -> io::Result<Self> {
        Self::copy_of(&self.bytes()[part])
    }

    /// The same bytes in memory that the other process cannot change: copied if [`may_change`](Self::may_change).
    ///
    /// # Errors
    ///
    /// If there is no memory for a copy.
    pub(crate) fn into_private(self) -> io::Result<Self> {
        if self.may_change() { self.copy(0..self.bytes().len()) } else { Ok(self) }
    }

    /// A copy of `bytes` in private memory of this process.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub(crate) fn copy_of(bytes: &[u8]) -> io::Result<Self> {
        Ok(Self(ReceivedStorage::Copy(AlignedCopy::new(bytes)?)))
    }
}

/// A segment of the other side in state `HELD`. The other side does not fill it before this is dropped.
struct LeasedSegment {
    segment: Arc<Segment>,
    len: usize,
}

impl LeasedSegment {
    fn bytes(&self) -> &[u8] {
        // SAFETY: `len` is at most the capacity, which `Inbox::open` checked, and the mapping lives as long as `self`.
        // The maker fills only segments that are free, and this one is held. A compromised worker may break this rule;
        // its parent follows the rules of `ReceivedBytes`.
        unsafe { std::slice::from_raw_parts(self.segment.mapping.start().add(SEGMENT_HEADER).as_ptr(), self.len) }
    }
}

impl Drop for LeasedSegment {
    fn drop(&mut self) {
        self.segment.free();
    }
}

/// A private copy that is aligned as blocks in segments are.
struct AlignedCopy {
    bytes: Vec<u8>,
    start: usize,
}

impl AlignedCopy {
    fn new(bytes: &[u8]) -> io::Result<Self> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(bytes.len() + SEGMENT_HEADER).map_err(|_| no_memory_for_copy(bytes.len()))?;
        os::advise_huge_pages(copy.as_mut_ptr(), copy.capacity());
        let start = copy.as_ptr().align_offset(SEGMENT_HEADER).min(SEGMENT_HEADER);
        copy.resize(start, 0);
        copy.extend_from_slice(bytes);
        Ok(Self { bytes: copy, start })
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}
