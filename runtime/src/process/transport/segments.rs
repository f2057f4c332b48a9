//! Large blocks of bytes, in memory of their own that both processes map.
//!
//! Making such memory is dear: the system clears it page by page at the first touch. So whoever makes a segment keeps
//! it in its [`Outbox`], and uses it again when the other side has let go of it. Who may touch a segment is one word
//! at its front: its maker writes while it is free, and the other side reads from when it is told of it until it
//! frees it. Either side may retire a free one, which neither uses then: both unmap it when they look.
//!
//! Processes have only so many mappings and open files. So the descriptor of a segment is closed once the other side
//! has it, and a side that keeps many blocks copies those that come: [`MAX_HELD`].
//!
//! Both sides can write to a segment at any time, and a worker may be compromised: what its parent reads in one may
//! change while it is read. [`ReceivedBytes`] says what may be read in place and what is copied first.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::os::refusal::no_memory_for_copy;
use crate::process::os::{self, Mapping, OwnedFd};
use crate::process::role::is_worker_process;
use crate::sys::owner::Owner;

/// Bytes at the front of a segment that are not its user's. Arrow wants 64 at least for what comes behind.
const SEGMENT_HEADER: usize = 64;
/// Segments are multiples of this, so that one serves for blocks of about the same length.
const SIZE_STEP: usize = 1 << 20;
/// Segments of the other side that may be looked at where they are. What comes in one more is copied, so that it is free
/// for the next block.
const MAX_HELD: usize = 256;
/// Free segments that are kept for the next block.
const MAX_FREE: usize = 4;
/// Segments that a side has segments at most, in use or not. The other side keeps [`MAX_HELD`], and those of the messages
/// that it has not looked at, so it always lets go of some before there are so many, if it is sound.
const MAX_SEGMENTS: usize = 1024;
/// Segments that a worker makes before it waits for its parent: one more message fits below [`MAX_SEGMENTS`].
const WORKER_WAITS_AT: usize = MAX_SEGMENTS / 2;

const FREE: u32 = 0;
const LENT: u32 = 1;
const HELD: u32 = 2;
const RETIRED: u32 = 3;

/// One segment, as one side sees it.
struct Segment {
    /// The process that segments or learned it. What a fork makes of that must not tell the other side anything.
    owner: Owner,
    mapping: Mapping,
}

impl Segment {
    fn state(&self) -> &AtomicU32 {
        // SAFETY: mapped as long as `self`, aligned to a page, and any bits are a valid atomic.
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

    /// Takes a free segment for its maker to fill, its receiver to read, or nobody.
    fn advance(&self, from: u32, to: u32) -> bool {
        self.owner.is_here() && self.state().compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Lets the maker of the segment fill it again.
    fn free(&self) {
        if self.owner.is_here() {
            self.state().store(FREE, Ordering::Release);
        }
    }

    /// Sees to it that nobody uses it again, if nobody does; whether that is so.
    fn retire(&self) -> bool {
        self.is_retired() || self.advance(FREE, RETIRED)
    }
}

/// A block on its way to the other process: the number of its segment, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentSegment {
    pub(crate) segment: u32,
    pub(crate) len: u64,
}

/// The segments that this side has segments.
#[derive(Default)]
pub(crate) struct Outbox {
    segments: Vec<OwnSegment>,
    next: u32,
}

struct OwnSegment {
    number: u32,
    segment: Segment,
    /// The descriptor, until the other side has it.
    fd: Option<OwnedFd>,
}

impl Outbox {
    /// Copies `parts` into a segment, one after the other.
    pub(crate) fn send(&mut self, parts: &[&[u8]]) -> io::Result<SentSegment> {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut place = self.take(len)?;
        for part in parts {
            place.write(part);
        }
        Ok(place.finish())
    }

    /// A free segment with room for `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> io::Result<SegmentWriter<'_>> {
        let fits = |(_, own): &(usize, &OwnSegment)| own.segment.is_free() && own.segment.capacity() >= len;
        let found = self.segments.iter().enumerate().filter(fits).min_by_key(|(_, own)| own.segment.capacity());
        let mut place = found.map(|(place, _)| place);
        // The other side may retire it at this very moment.
        place = place.filter(|place| self.segments[*place].segment.advance(FREE, LENT));
        let place = match place {
            Some(place) => place,
            None => self.create_segment(len)?,
        };
        Ok(SegmentWriter { own: &mut self.segments[place], len: 0 })
    }

    /// One more segment, lent already; its place.
    fn create_segment(&mut self, len: usize) -> io::Result<usize> {
        // What is too small for this block is of little use for the next ones.
        self.retire(|own| own.segment.capacity() < len, MAX_FREE - 1);
        if self.is_full() {
            return Err(io::Error::other(format!("the other process gives none of {MAX_SEGMENTS} blocks back")));
        }
        let size = len.checked_add(SEGMENT_HEADER).and_then(|size| size.checked_next_multiple_of(SIZE_STEP));
        let size = size.ok_or_else(|| io::Error::other("more memory than the system can address"))?;
        let fd = os::create_memory(size)?;
        let segment = Segment { owner: Owner::this_process(), mapping: Mapping::new(&fd)? };
        segment.state().store(LENT, Ordering::Release);
        self.segments.push(OwnSegment { number: self.next, segment, fd: Some(fd) });
        self.next += 1;
        Ok(self.segments.len() - 1)
    }

    /// The descriptor of a segment that the other side does not know yet; it is to be sent now.
    pub(crate) fn take_descriptor(&mut self, number: u32) -> Option<OwnedFd> {
        self.segments.iter_mut().find(|own| own.number == number)?.fd.take()
    }

    /// Takes a block back that was never sent.
    pub(crate) fn recall(&mut self, number: u32) {
        if let Some(own) = self.segments.iter().find(|own| own.number == number) {
            own.segment.free();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether there are as many segments as there may be.
    pub(crate) fn is_full(&self) -> bool {
        self.segments.len() >= MAX_SEGMENTS
    }

    /// Whether the other side should give some back before more are segments.
    pub(crate) fn should_wait(&self) -> bool {
        self.segments.len() >= WORKER_WAITS_AT && !self.segments.iter().any(|own| own.segment.is_free())
    }

    /// Gives back what is free.
    pub(crate) fn release_memory(&mut self) {
        self.segments.retain(|own| !own.segment.retire());
    }

    /// Gives back free segments that are `useless`, but `kept` of them.
    fn retire(&mut self, useless: impl Fn(&OwnSegment) -> bool, kept: usize) {
        let mut free = self.segments.iter().filter(|own| own.segment.is_free()).count();
        self.segments.retain(|own| {
            if free <= kept || !useless(own) || !own.segment.is_free() {
                return !own.segment.is_retired();
            }
            free -= 1;
            !own.segment.retire()
        });
    }

    /// Writes over all blocks, as a worker may at any time.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn overwrite_all(&self, byte: u8) {
        for own in &self.segments {
            // SAFETY: within the mapping; what the bytes are, nobody may rely on.
            unsafe { own.segment.mapping.start().add(SEGMENT_HEADER).write_bytes(byte, own.segment.capacity()) };
        }
    }

    /// Bytes of memory held.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.segments.iter().map(|own| own.segment.mapping.len()).sum()
    }
}

/// A segment that is being filled.
pub(crate) struct SegmentWriter<'a> {
    own: &'a mut OwnSegment,
    len: usize,
}

impl SegmentWriter<'_> {
    /// Adds bytes at the end.
    ///
    /// # Panics
    ///
    /// If they are more than were asked for.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.own.segment.capacity() - self.len, "the block is longer than was said");
        // SAFETY: within the mapping, and the other side does not look before it is told.
        unsafe {
            let place = self.own.segment.mapping.start().add(SEGMENT_HEADER + self.len);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), bytes.len());
        }
        self.len += bytes.len();
    }

    pub(crate) fn finish(self) -> SentSegment {
        SentSegment { segment: self.own.number, len: self.len as u64 }
    }
}

/// The segments of the other side that this one contains.
#[derive(Default)]
pub(crate) struct Inbox {
    known: HashMap<u32, Arc<Segment>>,
}

impl Inbox {
    pub(crate) fn contains(&self, number: u32) -> bool {
        self.known.contains_key(&number)
    }

    /// Gets to know a segment.
    pub(crate) fn add_segment(&mut self, number: u32, fd: &OwnedFd) -> io::Result<()> {
        self.known.retain(|_, segment| !segment.is_retired());
        if self.known.len() >= MAX_SEGMENTS {
            return Err(io::Error::other("more segments than a side may make"));
        }
        // A new segment is told of when it holds the block that it was segments for, and is longer than that by less than a
        // step.
        let mapping = Mapping::received(fd, SIZE_STEP)?;
        if mapping.len() <= SEGMENT_HEADER {
            return Err(io::Error::other("the segment is empty"));
        }
        self.known.insert(number, Arc::new(Segment { owner: Owner::this_process(), mapping }));
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Gives back what is free.
    pub(crate) fn release_memory(&mut self) {
        self.known.retain(|_, segment| !segment.retire());
    }

    /// A block that was sent; it is the other side's again when the received is dropped.
    ///
    /// # Errors
    ///
    /// If the segment is unknown, too short or in use, or there is no memory for a copy.
    pub(crate) fn open(&self, sent: SentSegment) -> io::Result<ReceivedBytes> {
        let segment = self.known.get(&sent.segment).ok_or_else(|| io::Error::other("an unknown segment"))?;
        let len = usize::try_from(sent.len).ok().filter(|len| *len <= segment.capacity());
        let len = len.ok_or_else(|| io::Error::other("a block that is longer than its segment"))?;
        // One received at a time: its end frees the segment.
        if !segment.advance(LENT, HELD) {
            return Err(io::Error::other("a segment that is in use"));
        }
        let held = LeasedSegment { segment: Arc::clone(segment), len };
        let received = ReceivedBytes(ReceivedStorage::Segment(held));
        if self.known.len() > MAX_HELD { received.copy(0..received.bytes().len()) } else { Ok(received) }
    }
}

/// Bytes that came from the other side, aligned as the front of a segment is.
///
/// # What may be assumed
///
/// The address and the length of [`bytes`](Self::bytes) are fixed, and reading them never faults. In a worker the bytes
/// are fixed as well: it trusts its parent. In a parent they are fixed only if [`may_change`](Self::may_change) says
/// no; else a compromised worker can rewrite them between any two reads. Then only values of which any bits are valid
/// may be read in place: plain numbers. What is checked before it is used (text, offsets, views, lengths, whole
/// messages) is copied first, by [`copy`](Self::copy) or [`into_private`](Self::into_private), and checked in the copy.
pub(crate) struct ReceivedBytes(ReceivedStorage);

enum ReceivedStorage {
    Segment(LeasedSegment),
    Copy(AlignedCopy),
}

impl ReceivedBytes {
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.0 {
            ReceivedStorage::Segment(held) => held.bytes(),
            ReceivedStorage::Copy(copied) => copied.bytes(),
        }
    }

    /// Whether the other process can write to the bytes and is not trusted: so are those of a worker, to its parent.
    pub(crate) fn may_change(&self) -> bool {
        matches!(self.0, ReceivedStorage::Segment(_)) && !is_worker_process()
    }

    /// A copy of a part, in memory of this process alone.
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

    /// The same bytes where the other process cannot change them: copied if [`may_change`](Self::may_change).
    ///
    /// # Errors
    ///
    /// If there is no memory for a copy.
    pub(crate) fn into_private(self) -> io::Result<Self> {
        if self.may_change() { self.copy(0..self.bytes().len()) } else { Ok(self) }
    }

    /// A copy of bytes that may go or change.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub(crate) fn copy_of(bytes: &[u8]) -> io::Result<Self> {
        Ok(Self(ReceivedStorage::Copy(AlignedCopy::new(bytes)?)))
    }
}

/// Bytes in a segment of the other side, which does not touch them before this is dropped.
struct LeasedSegment {
    segment: Arc<Segment>,
    len: usize,
}

impl LeasedSegment {
    fn bytes(&self) -> &[u8] {
        // SAFETY: `Inbox::received` checked the length; the mapping lives as long as `self`; and its maker writes only
        // to segments that are free.
        unsafe { std::slice::from_raw_parts(self.segment.mapping.start().add(SEGMENT_HEADER).as_ptr(), self.len) }
    }
}

impl Drop for LeasedSegment {
    fn drop(&mut self) {
        self.segment.free();
    }
}

/// Bytes of this process, aligned as those in a segment are.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_arrives_and_its_segment_is_used_again() {
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
        let mut numbers = Vec::new();
        for round in 0..3_u8 {
            let sent = outbox.send(&[&[round; 10], &[9; 5]]).expect("there is memory");
            if let Some(fd) = outbox.take_descriptor(sent.segment) {
                inbox.add_segment(sent.segment, &fd).expect("a segment");
            }
            let received = inbox.open(sent).expect("it was sent");
            assert_eq!(received.bytes(), [&[round; 10][..], &[9; 5]].concat());
            numbers.push(sent.segment);
        }
        assert_eq!(numbers, [0; 3]);
    }

    #[test]
    fn a_segment_that_is_looked_at_is_not_written() {
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
        let first = outbox.send(&[b"one"]).expect("there is memory");
        let fd = outbox.take_descriptor(first.segment).expect("it is new");
        inbox.add_segment(first.segment, &fd).expect("a segment");
        let received = inbox.open(first).expect("it was sent");
        assert!(inbox.open(first).is_err(), "one reader at a time");
        let second = outbox.send(&[b"two"]).expect("there is memory");
        assert_ne!(second.segment, first.segment);
        assert_eq!(received.bytes(), b"one");
    }

    #[test]
    fn the_number_of_free_segments_is_bounded_and_they_go_when_unused() {
        let mut outbox = Outbox::default();
        for size in 1..20 {
            let sent = outbox.send(&[&vec![0; size << 20]]).expect("there is memory");
            outbox.recall(sent.segment);
        }
        assert!(outbox.segments.len() <= MAX_FREE, "{}", outbox.segments.len());
        outbox.release_memory();
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn either_side_gives_free_segments_back_and_not_those_in_use() {
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
        let sent = [outbox.send(&[b"one"]), outbox.send(&[b"two"])].map(|sent| sent.expect("there is memory"));
        for sent in sent {
            let fd = outbox.take_descriptor(sent.segment).expect("it is new");
            inbox.add_segment(sent.segment, &fd).expect("a segment");
        }
        let [kept, dropped] = sent.map(|sent| inbox.open(sent).expect("it was sent"));
        drop(dropped);
        inbox.release_memory();
        outbox.release_memory();
        assert_eq!((inbox.known.len(), outbox.segments.len()), (1, 1));
        assert_eq!(kept.bytes(), b"one");
        drop(kept);
        inbox.release_memory();
        assert_ne!(outbox.send(&[b"three"]).expect("there is memory").segment, sent[0].segment, "it was retired");
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn a_view_that_is_dropped_in_the_child_of_a_fork_frees_nothing() {
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
        let sent = outbox.send(&[b"one"]).expect("there is memory");
        let fd = outbox.take_descriptor(sent.segment).expect("it is new");
        inbox.add_segment(sent.segment, &fd).expect("a segment");
        let received = inbox.open(sent).expect("it was sent");
        // SAFETY: the child frees memory, and leaves without running anything else.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop((received, inbox, outbox));
            // SAFETY: ends the child here.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: waits for the child, and writes its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_ne!(outbox.send(&[b"two"]).expect("there is memory").segment, sent.segment, "it is looked at");
        assert_eq!(received.bytes(), b"one");
    }

    #[test]
    fn a_side_that_keeps_many_blocks_copies_the_others() {
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
        let views: Vec<ReceivedBytes> = (0..MAX_HELD + 50)
            .map(|round| {
                let sent = outbox.send(&[&round.to_le_bytes()]).expect("there is memory");
                if let Some(fd) = outbox.take_descriptor(sent.segment) {
                    inbox.add_segment(sent.segment, &fd).expect("a segment");
                }
                inbox.open(sent).expect("it was sent")
            })
            .collect();
        assert_eq!(outbox.segments.len(), MAX_HELD + 1);
        for (round, received) in views.iter().enumerate() {
            assert_eq!(received.bytes(), round.to_le_bytes());
            assert!(received.bytes().as_ptr().addr().is_multiple_of(SEGMENT_HEADER));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
        let sent = outbox.send(&[b"one"]).expect("there is memory");
        let fd = outbox.take_descriptor(sent.segment).expect("it is new");
        assert!(inbox.open(sent).is_err(), "not known yet");
        inbox.add_segment(sent.segment, &fd).expect("a segment");
        assert!(inbox.open(SentSegment { len: u64::MAX, ..sent }).is_err());
        assert!(inbox.open(SentSegment { len: 1 << 20, ..sent }).is_err());
        assert!(inbox.open(sent).is_ok());
    }
}
