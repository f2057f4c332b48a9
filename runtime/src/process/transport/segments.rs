//! Large blocks of bytes, in memory of their own that both processes map.
//!
//! Making such memory is dear: the system clears it page by page at the first touch. So whoever makes a segment keeps
//! it in its [`Outbox`], and uses it again when the other side has let go of it. Who may touch a segment is one word
//! at its front: its maker writes while it is free, and the other side reads from when it is told of it until it
//! frees it. Either side may retire a free one, which neither uses then: both unmap it when they look.
//!
//! Processes have only so many mappings and open files. So the descriptor of a segment is closed once the other side
//! has it, and a side that keeps many blocks copies those that come: [`MOST_KNOWN`].
//!
//! Both sides can write to a segment at any time, and a worker may be compromised: what its parent reads in one may
//! change while it is read. [`View`] says what may be read in place and what is copied first.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::os::refusal::no_room_for_copy;
use crate::process::os::{self, Mapping, OwnedFd};
use crate::process::worker::is_worker_process;
use crate::sys::owner::Owner;

/// Bytes at the front of a segment that are not its user's. Arrow wants 64 at least for what comes behind.
const FRONT: usize = 64;
/// Segments are multiples of this, so that one serves for blocks of about the same length.
const STEP: usize = 1 << 20;
/// Segments of the other side that may be looked at where they are. What comes in one more is copied, so that it is free
/// for the next block.
const MOST_KNOWN: usize = 256;
/// Free segments that are kept for the next block.
const KEPT: usize = 4;
/// Segments that a side has made at most, in use or not. The other side keeps [`MOST_KNOWN`], and those of the messages
/// that it has not looked at, so it always lets go of some before there are so many, if it is sound.
const MOST_MADE: usize = 1024;
/// Segments that a worker makes before it waits for its parent: one more message fits below [`MOST_MADE`].
const CROWDED: usize = MOST_MADE / 2;

const FREE: u32 = 0;
const LENT: u32 = 1;
const HELD: u32 = 2;
const RETIRED: u32 = 3;

/// One segment, as one side sees it.
struct Segment {
    /// The process that made or learned it. What a fork makes of that must not tell the other side anything.
    owner: Owner,
    mapping: Mapping,
}

impl Segment {
    fn state(&self) -> &AtomicU32 {
        // SAFETY: mapped as long as `self`, aligned to a page, and any bits are a valid atomic.
        unsafe { self.mapping.start().cast().as_ref() }
    }

    fn capacity(&self) -> usize {
        self.mapping.len() - FRONT
    }

    fn is_retired(&self) -> bool {
        self.state().load(Ordering::Acquire) == RETIRED
    }

    fn is_free(&self) -> bool {
        self.state().load(Ordering::Acquire) == FREE
    }

    /// Takes a free segment for its maker to fill, its receiver to read, or nobody.
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

    /// Sees to it that nobody uses it again, if nobody does; whether that is so.
    fn retire(&self) -> bool {
        self.is_retired() || self.advance(FREE, RETIRED)
    }
}

/// A block on its way to the other process: the number of its segment, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) segment: u32,
    pub(crate) len: u64,
}

/// The segments that this side has made.
#[derive(Default)]
pub(crate) struct Outbox {
    made: Vec<Made>,
    next: u32,
}

struct Made {
    number: u32,
    segment: Segment,
    /// The descriptor, until the other side has it.
    fd: Option<OwnedFd>,
}

impl Outbox {
    /// Copies `parts` into a segment, one after the other.
    pub(crate) fn send(&mut self, parts: &[&[u8]]) -> io::Result<Sent> {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut place = self.take(len)?;
        for part in parts {
            place.write(part);
        }
        Ok(place.finish())
    }

    /// A free segment with room for `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> io::Result<Place<'_>> {
        let fits = |(_, made): &(usize, &Made)| made.segment.is_free() && made.segment.capacity() >= len;
        let found = self.made.iter().enumerate().filter(fits).min_by_key(|(_, made)| made.segment.capacity());
        let mut place = found.map(|(place, _)| place);
        // The other side may retire it at this very moment.
        place = place.filter(|place| self.made[*place].segment.advance(FREE, LENT));
        let place = match place {
            Some(place) => place,
            None => self.make(len)?,
        };
        Ok(Place { made: &mut self.made[place], len: 0 })
    }

    /// One more segment, lent already; its place.
    fn make(&mut self, len: usize) -> io::Result<usize> {
        // What is too small for this block is of little use for the next ones.
        self.retire(|made| made.segment.capacity() < len, KEPT - 1);
        if self.is_exhausted() {
            return Err(io::Error::other(format!("the other process gives none of {MOST_MADE} blocks back")));
        }
        let size = len.checked_add(FRONT).and_then(|size| size.checked_next_multiple_of(STEP));
        let size = size.ok_or_else(|| io::Error::other("more memory than the system can address"))?;
        let fd = os::memory(size)?;
        let segment = Segment { owner: Owner::this_process(), mapping: Mapping::new(&fd)? };
        segment.state().store(LENT, Ordering::Release);
        self.made.push(Made { number: self.next, segment, fd: Some(fd) });
        self.next += 1;
        Ok(self.made.len() - 1)
    }

    /// The descriptor of a segment that the other side does not know yet; it is to be sent now.
    pub(crate) fn introduce(&mut self, number: u32) -> Option<OwnedFd> {
        self.made.iter_mut().find(|made| made.number == number)?.fd.take()
    }

    /// Takes a block back that was never sent.
    pub(crate) fn recall(&mut self, number: u32) {
        if let Some(made) = self.made.iter().find(|made| made.number == number) {
            made.segment.free();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Whether there are as many segments as there may be.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.made.len() >= MOST_MADE
    }

    /// Whether the other side should give some back before more are made.
    pub(crate) fn is_crowded(&self) -> bool {
        self.made.len() >= CROWDED && !self.made.iter().any(|made| made.segment.is_free())
    }

    /// Gives back what is free.
    pub(crate) fn tidy(&mut self) {
        self.made.retain(|made| !made.segment.retire());
    }

    /// Gives back free segments that are `useless`, but `kept` of them.
    fn retire(&mut self, useless: impl Fn(&Made) -> bool, kept: usize) {
        let mut free = self.made.iter().filter(|made| made.segment.is_free()).count();
        self.made.retain(|made| {
            if free <= kept || !useless(made) || !made.segment.is_free() {
                return !made.segment.is_retired();
            }
            free -= 1;
            !made.segment.retire()
        });
    }

    /// Writes over all blocks, as a worker may at any time.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn scribble(&self, byte: u8) {
        for made in &self.made {
            // SAFETY: within the mapping; what the bytes are, nobody may rely on.
            unsafe { made.segment.mapping.start().add(FRONT).write_bytes(byte, made.segment.capacity()) };
        }
    }

    /// Bytes of memory held.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.made.iter().map(|made| made.segment.mapping.len()).sum()
    }
}

/// A segment that is being filled.
pub(crate) struct Place<'a> {
    made: &'a mut Made,
    len: usize,
}

impl Place<'_> {
    /// Adds bytes at the end.
    ///
    /// # Panics
    ///
    /// If they are more than were asked for.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.made.segment.capacity() - self.len, "the block is longer than was said");
        // SAFETY: within the mapping, and the other side does not look before it is told.
        unsafe {
            let place = self.made.segment.mapping.start().add(FRONT + self.len);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), bytes.len());
        }
        self.len += bytes.len();
    }

    pub(crate) fn finish(self) -> Sent {
        Sent { segment: self.made.number, len: self.len as u64 }
    }
}

/// The segments of the other side that this one knows.
#[derive(Default)]
pub(crate) struct Inbox {
    known: HashMap<u32, Arc<Segment>>,
}

impl Inbox {
    pub(crate) fn knows(&self, number: u32) -> bool {
        self.known.contains_key(&number)
    }

    /// Gets to know a segment.
    pub(crate) fn learn(&mut self, number: u32, fd: &OwnedFd) -> io::Result<()> {
        self.known.retain(|_, segment| !segment.is_retired());
        if self.known.len() >= MOST_MADE {
            return Err(io::Error::other("more segments than a side may make"));
        }
        // A new segment is told of when it holds the block that it was made for, and is longer than that by less than a
        // step.
        let mapping = Mapping::received(fd, STEP)?;
        if mapping.len() <= FRONT {
            return Err(io::Error::other("the segment is empty"));
        }
        self.known.insert(number, Arc::new(Segment { owner: Owner::this_process(), mapping }));
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Gives back what is free.
    pub(crate) fn tidy(&mut self) {
        self.known.retain(|_, segment| !segment.retire());
    }

    /// A block that was sent; it is the other side's again when the view is dropped.
    ///
    /// # Errors
    ///
    /// If the segment is unknown, too short or in use, or there is no memory for a copy.
    pub(crate) fn view(&self, sent: Sent) -> io::Result<View> {
        let segment = self.known.get(&sent.segment).ok_or_else(|| io::Error::other("an unknown segment"))?;
        let len = usize::try_from(sent.len).ok().filter(|len| *len <= segment.capacity());
        let len = len.ok_or_else(|| io::Error::other("a block that is longer than its segment"))?;
        // One view at a time: its end frees the segment.
        if !segment.advance(LENT, HELD) {
            return Err(io::Error::other("a segment that is in use"));
        }
        let held = Held { segment: Arc::clone(segment), len };
        let view = View(Kept::There(held));
        if self.known.len() > MOST_KNOWN { view.copy(0..view.bytes().len()) } else { Ok(view) }
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
pub(crate) struct View(Kept);

enum Kept {
    There(Held),
    Here(Copied),
}

impl View {
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kept::There(held) => held.bytes(),
            Kept::Here(copied) => copied.bytes(),
        }
    }

    /// Whether the other process can write to the bytes and is not trusted: so are those of a worker, to its parent.
    pub(crate) fn may_change(&self) -> bool {
        matches!(self.0, Kept::There(_)) && !is_worker_process()
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
        Ok(Self(Kept::Here(Copied::new(bytes)?)))
    }
}

/// Bytes in a segment of the other side, which does not touch them before this is dropped.
struct Held {
    segment: Arc<Segment>,
    len: usize,
}

impl Held {
    fn bytes(&self) -> &[u8] {
        // SAFETY: `Inbox::view` checked the length; the mapping lives as long as `self`; and its maker writes only
        // to segments that are free.
        unsafe { std::slice::from_raw_parts(self.segment.mapping.start().add(FRONT).as_ptr(), self.len) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.segment.free();
    }
}

/// Bytes of this process, aligned as those in a segment are.
struct Copied {
    bytes: Vec<u8>,
    start: usize,
}

impl Copied {
    fn new(bytes: &[u8]) -> io::Result<Self> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(bytes.len() + FRONT).map_err(|_| no_room_for_copy(bytes.len()))?;
        os::expect_large(copy.as_mut_ptr(), copy.capacity());
        let start = copy.as_ptr().align_offset(FRONT).min(FRONT);
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
        let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
        let mut numbers = Vec::new();
        for round in 0..3_u8 {
            let sent = out.send(&[&[round; 10], &[9; 5]]).expect("there is memory");
            if let Some(fd) = out.introduce(sent.segment) {
                inbox.learn(sent.segment, &fd).expect("a segment");
            }
            let view = inbox.view(sent).expect("it was sent");
            assert_eq!(view.bytes(), [&[round; 10][..], &[9; 5]].concat());
            numbers.push(sent.segment);
        }
        assert_eq!(numbers, [0; 3]);
    }

    #[test]
    fn a_segment_that_is_looked_at_is_not_written() {
        let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
        let first = out.send(&[b"one"]).expect("there is memory");
        let fd = out.introduce(first.segment).expect("it is new");
        inbox.learn(first.segment, &fd).expect("a segment");
        let view = inbox.view(first).expect("it was sent");
        assert!(inbox.view(first).is_err(), "one view at a time");
        let second = out.send(&[b"two"]).expect("there is memory");
        assert_ne!(second.segment, first.segment);
        assert_eq!(view.bytes(), b"one");
    }

    #[test]
    fn the_number_of_free_segments_is_bounded_and_they_go_when_unused() {
        let mut out = Outbox::default();
        for size in 1..20 {
            let sent = out.send(&[&vec![0; size << 20]]).expect("there is memory");
            out.recall(sent.segment);
        }
        assert!(out.made.len() <= KEPT, "{}", out.made.len());
        out.tidy();
        assert_eq!(out.bytes(), 0);
    }

    #[test]
    fn either_side_gives_free_segments_back_and_not_those_in_use() {
        let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
        let sent = [out.send(&[b"one"]), out.send(&[b"two"])].map(|sent| sent.expect("there is memory"));
        for sent in sent {
            let fd = out.introduce(sent.segment).expect("it is new");
            inbox.learn(sent.segment, &fd).expect("a segment");
        }
        let [kept, dropped] = sent.map(|sent| inbox.view(sent).expect("it was sent"));
        drop(dropped);
        inbox.tidy();
        out.tidy();
        assert_eq!((inbox.known.len(), out.made.len()), (1, 1));
        assert_eq!(kept.bytes(), b"one");
        drop(kept);
        inbox.tidy();
        assert_ne!(out.send(&[b"three"]).expect("there is memory").segment, sent[0].segment, "it was retired");
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn a_view_that_is_dropped_in_the_child_of_a_fork_frees_nothing() {
        let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
        let sent = out.send(&[b"one"]).expect("there is memory");
        let fd = out.introduce(sent.segment).expect("it is new");
        inbox.learn(sent.segment, &fd).expect("a segment");
        let view = inbox.view(sent).expect("it was sent");
        // SAFETY: the child frees memory, and leaves without running anything else.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop((view, inbox, out));
            // SAFETY: ends the child here.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: waits for the child, and writes its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_ne!(out.send(&[b"two"]).expect("there is memory").segment, sent.segment, "it is looked at");
        assert_eq!(view.bytes(), b"one");
    }

    #[test]
    fn a_side_that_keeps_many_blocks_copies_the_others() {
        let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
        let views: Vec<View> = (0..MOST_KNOWN + 50)
            .map(|round| {
                let sent = out.send(&[&round.to_le_bytes()]).expect("there is memory");
                if let Some(fd) = out.introduce(sent.segment) {
                    inbox.learn(sent.segment, &fd).expect("a segment");
                }
                inbox.view(sent).expect("it was sent")
            })
            .collect();
        assert_eq!(out.made.len(), MOST_KNOWN + 1);
        for (round, view) in views.iter().enumerate() {
            assert_eq!(view.bytes(), round.to_le_bytes());
            assert!(view.bytes().as_ptr().addr().is_multiple_of(FRONT));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
        let sent = out.send(&[b"one"]).expect("there is memory");
        let fd = out.introduce(sent.segment).expect("it is new");
        assert!(inbox.view(sent).is_err(), "not known yet");
        inbox.learn(sent.segment, &fd).expect("a segment");
        assert!(inbox.view(Sent { len: u64::MAX, ..sent }).is_err());
        assert!(inbox.view(Sent { len: 1 << 20, ..sent }).is_err());
        assert!(inbox.view(sent).is_ok());
    }
}
