//! Two rings of frames in memory that the parent and one worker share: requests one way, replies the other.
//!
//! A frame is a header of four words (its length, and three of its users') and a payload. Positions count bytes and
//! wrap around; a frame never does: where it would, a frame of padding comes first.
//!
//! # Who runs a request
//!
//! The worker takes requests in order, and says so before it looks at one: it moves the *cursor*, the begun_count of
//! requests begun, from n to n + 1 by compare-and-swap. So when it dies the parent knows which request died with it,
//! and can take the others back while it lives: [`Rings::take_back`] marks the cursor as revoked, cuts the ring off
//! behind the last request that was begun, and gives the cursor a new generation. A worker that had seen the old end
//! of the ring fails to move the old cursor, and looks again.
//!
//! # What survives a worker
//!
//! A reply of plain results that is still being written is *open*: one word says how many results of it are whole, and
//! how long they are. The memory outlives the process, so the results that a worker had finished when it died are not
//! lost. Every other reply, with blocks or of an error, is never open: it counts once it is published, as a whole.
//!
//! The parent trusts nothing that it reads here: positions and lengths are checked, and payloads copied before use.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::process::os::{self, Mapping, OwnedFd};

/// Bytes in a ring.
const RING_SIZE: u32 = 1 << 18;
/// The longest payload: four frames fit whatever the padding, and the open reply's word has 16 bits for it.
pub(crate) const MAX_PAYLOAD: usize = (RING_SIZE / 4) as usize - FRAME_HEADER as usize;
const FRAME_HEADER: u32 = 16;
/// In the place of a length: the rest of the ring, up to its end, is empty.
const PADDING: u32 = u32::MAX;
/// Where the rings begin: behind the counters.
const RINGS_OFFSET: usize = 4096;

/// The parent is taking requests back.
const REVOKED: u64 = 1 << 32;
const GENERATION: u64 = 1 << 33;

/// One word alone on its cache line.
#[repr(C, align(64))]
pub(crate) struct CacheLine<T>(pub(crate) T);

/// The counters. Only atomics: both processes use them at once.
#[repr(C)]
pub(crate) struct RingCounters {
    requests: RingPositions,
    replies: RingPositions,
    /// The begun_count of requests begun, with the generation above it.
    cursor: CacheLine<AtomicU64>,
    /// Position, count and length of the open reply.
    open: CacheLine<AtomicU64>,
    /// The worker sleeps on the first, and says why in the second.
    pub(crate) doorbell: CacheLine<AtomicU32>,
    pub(crate) worker_sleeps: CacheLine<AtomicU32>,
    /// Whether the parent sleeps, and how it is woken.
    pub(crate) parent_sleep: CacheLine<AtomicU32>,
    /// What the parent asks for beside requests.
    pub(crate) commands: CacheLine<AtomicU32>,
}

/// How far a ring is written and read.
#[repr(C)]
pub(crate) struct RingPositions {
    written: CacheLine<AtomicU32>,
    read: CacheLine<AtomicU32>,
}

/// The memory does not hold what it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// The three words of a frame that are its users'.
pub(crate) type FrameWords = [u32; 3];

/// The memory of a parent and one worker.
pub(crate) struct Rings(Mapping);

/// A frame that waits to be read.
#[derive(Clone, Copy)]
pub(crate) struct RingFrame {
    pub(crate) words: FrameWords,
    /// Where its payload begins in the ring.
    at: u32,
    len: u32,
    /// The position behind it.
    end: u32,
    /// A request's begun_count, modulo 2^32 as the cursor counts.
    pub(crate) number: u32,
}

impl Rings {
    /// New memory, and the descriptor that lets a worker open it.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let fd = os::create_memory(RINGS_OFFSET + 2 * RING_SIZE as usize)?;
        Ok((Self(Mapping::new(&fd)?), fd))
    }

    /// The memory that the parent made.
    pub(crate) fn open(fd: &OwnedFd) -> io::Result<Self> {
        let mapping = Mapping::new(fd)?;
        if mapping.len() != RINGS_OFFSET + 2 * RING_SIZE as usize {
            return Err(io::Error::other("the shared memory is of another build"));
        }
        Ok(Self(mapping))
    }

    pub(crate) fn counters(&self) -> &RingCounters {
        const { assert!(size_of::<RingCounters>() <= RINGS_OFFSET) };
        // SAFETY: mapped as long as `self` is, aligned to a page, and all zeros, which is a valid state, or what the
        // other process made of it: any bits are valid atomics.
        unsafe { self.0.start().cast().as_ref() }
    }

    fn requests(&self) -> FrameRing<'_> {
        self.ring(&self.counters().requests, RINGS_OFFSET)
    }

    fn replies(&self) -> FrameRing<'_> {
        self.ring(&self.counters().replies, RINGS_OFFSET + RING_SIZE as usize)
    }

    fn ring<'a>(&'a self, positions: &'a RingPositions, offset: usize) -> FrameRing<'a> {
        // SAFETY: `create` and `open` see to it that the mapping holds both rings.
        let bytes = unsafe { self.0.start().add(offset) };
        FrameRing { positions, bytes }
    }

    /// Parent: writes a request; `None` while there is no room, else the position behind it.
    pub(crate) fn post(&self, words: FrameWords, payload: &[u8]) -> Result<Option<u32>, Corrupt> {
        self.requests().write_frame(words, payload)
    }

    /// Parent: how many requests the worker has begun, modulo 2^32.
    pub(crate) fn begun_count(&self) -> u32 {
        begun_count(self.counters().cursor.0.load(Ordering::Acquire))
    }

    /// Parent: takes back all requests that were not begun; gives how many were. `positions` gives the position behind
    /// the request of that begun_count.
    pub(crate) fn take_back(&self, end_of: impl FnOnce(u32) -> u32) -> u32 {
        let counters = self.counters();
        let before = counters.cursor.0.fetch_or(REVOKED, Ordering::AcqRel);
        let begun = begun_count(before);
        counters.requests.written.0.store(end_of(begun), Ordering::Release);
        counters.cursor.0.store((before & !REVOKED).wrapping_add(GENERATION), Ordering::Release);
        begun
    }

    /// Parent: takes the next reply. There may be none though one waits, where the worker has passed the end of the
    /// ring; then the next one that waits is a reply.
    pub(crate) fn take_reply(&self, payload: &mut Vec<u8>) -> Result<Option<FrameWords>, Corrupt> {
        let ring = self.replies();
        let (read, frame) = ring.next_frame()?;
        let Some(frame) = frame else {
            // The worker may take long to write the frame behind padding: without the padding none waits. ReplyWriter
            // are not taken back.
            ring.positions.read.0.store(read, Ordering::Release);
            return Ok(None);
        };
        payload.clear();
        ring.append_to(frame.at, frame.len, payload);
        ring.release(&frame);
        Ok(Some(frame.words))
    }

    /// Parent: takes the whole results of the open reply that the worker was writing when it died: how many.
    pub(crate) fn take_open_reply(&self, payload: &mut Vec<u8>) -> Result<u32, Corrupt> {
        let ring = self.replies();
        let open = self.counters().open.0.load(Ordering::Acquire);
        let (at, counts) = (low_half(open >> 32), low_half(open));
        let (count, len) = (counts >> 16, counts & 0xffff);
        if at != ring.positions.written.0.load(Ordering::Acquire) || count == 0 {
            return Ok(0);
        }
        let place = FrameRing::offset_of(at, FRAME_HEADER + len).ok_or(Corrupt)?;
        payload.clear();
        ring.append_to(place + FRAME_HEADER, len, payload);
        Ok(count)
    }

    /// Either: whether a reply waits.
    pub(crate) fn has_reply(&self) -> bool {
        let RingPositions { written, read } = &self.counters().replies;
        written.0.load(Ordering::Acquire) != read.0.load(Ordering::Acquire)
    }

    /// Worker: begins the next request, if there is one.
    pub(crate) fn begin_request(&self) -> Result<Option<RingFrame>, Corrupt> {
        let cursor = &self.counters().cursor.0;
        let mut attempts = 0;
        loop {
            let now = cursor.load(Ordering::Acquire);
            if now & REVOKED != 0 {
                // The parent is about to write the next cursor; unless the mark is a wild pointer's.
                attempts += 1;
                if attempts > 100_000 {
                    return Err(Corrupt);
                }
                std::thread::yield_now();
                continue;
            }
            let frame = self.requests().peek();
            if let Ok(None) = frame {
                return Ok(None);
            }
            let next = (now & !u64::from(u32::MAX)) | u64::from(begun_count(now).wrapping_add(1));
            // The parent may have taken the request back since, and what was read of it may be half of another one.
            if cursor.compare_exchange(now, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return frame.map(|frame| frame.map(|frame| RingFrame { number: begun_count(now), ..frame }));
            }
        }
    }

    /// Worker: a request's payload. It stays until the request is [passed](Self::pass).
    pub(crate) fn request_payload(&self, frame: &RingFrame) -> &[u8] {
        // SAFETY: `peek` has checked that the frame lies in the ring, and the parent writes there again only when it
        // is passed, which wants `&mut`-like care of the one thread that reads requests.
        unsafe { std::slice::from_raw_parts(self.requests().bytes.add(frame.at as usize).as_ptr(), frame.len as usize) }
    }

    /// Worker: gives a request's room back.
    pub(crate) fn release_request(&self, frame: &RingFrame) {
        self.requests().release(frame);
    }

    /// Worker: whether a request waits.
    pub(crate) fn has_request(&self) -> bool {
        let RingPositions { written, read } = &self.counters().requests;
        written.0.load(Ordering::Acquire) != read.0.load(Ordering::Acquire)
    }

    /// Worker: the place of the next reply, for so many bytes of payload; `None` while there is no room.
    pub(crate) fn reserve_reply(&self, payload: usize) -> Result<Option<OpenReply>, Corrupt> {
        let at = self.replies().reserve(payload)?;
        Ok(at.map(|at| OpenReply { at, count: 0, len: 0 }))
    }

    /// Worker: adds a whole result to the open reply; `false` if it does not fit any more.
    pub(crate) fn append_result(&self, open: &mut OpenReply, result: &[u8], room: usize) -> bool {
        let len = open.len as usize + result.len();
        if len > room || open.count == u32::from(u16::MAX) {
            return false;
        }
        self.replies().write_at(open.at.wrapping_add(FRAME_HEADER + open.len), result);
        open.len = u32::try_from(len).unwrap_or(0);
        open.count += 1;
        let open = u64::from(open.at) << 32 | u64::from(open.count << 16 | open.len);
        self.counters().open.0.store(open, Ordering::Release);
        true
    }

    /// Worker: writes a reply that is not open before; `None` while there is no room.
    pub(crate) fn write_reply(&self, words: FrameWords, payload: &[u8]) -> Result<Option<()>, Corrupt> {
        // The open reply of before has another position, until positions have wrapped around.
        self.counters().open.0.store(0, Ordering::Relaxed);
        self.replies().write_frame(words, payload).map(|end| end.map(drop))
    }

    /// Worker: positions the open reply.
    pub(crate) fn publish_open_reply(&self, open: &OpenReply, words: FrameWords) {
        self.replies().publish(open.at, open.len, words);
    }
}

/// A reply that is being written.
pub(crate) struct OpenReply {
    at: u32,
    count: u32,
    len: u32,
}

impl OpenReply {
    /// Results in it.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}

/// The begun_count of requests begun, in a cursor.
fn begun_count(cursor: u64) -> u32 {
    low_half(cursor)
}

/// The low_half half of a word.
#[allow(clippy::cast_possible_truncation, reason = "the high half is another number")]
fn low_half(word: u64) -> u32 {
    word as u32
}

/// One of the two rings.
struct FrameRing<'a> {
    positions: &'a RingPositions,
    bytes: NonNull<u8>,
}

impl FrameRing<'_> {
    /// Writes a frame; `None` while there is no room.
    fn write_frame(&self, words: FrameWords, payload: &[u8]) -> Result<Option<u32>, Corrupt> {
        let Some(at) = self.reserve(payload.len())? else { return Ok(None) };
        self.write_at(at.wrapping_add(FRAME_HEADER), payload);
        let len = u32::try_from(payload.len()).map_err(|_| Corrupt)?;
        Ok(Some(self.publish(at, len, words)))
    }

    /// The position where a frame of this length goes, with padding before it where it must be.
    fn reserve(&self, payload: usize) -> Result<Option<u32>, Corrupt> {
        assert!(payload <= MAX_PAYLOAD, "a frame of {payload} bytes is too long for the ring");
        let size = size_of_frame(u32::try_from(payload).map_err(|_| Corrupt)?);
        let (written, read) =
            (self.positions.written.0.load(Ordering::Relaxed), self.positions.read.0.load(Ordering::Acquire));
        let used = written.wrapping_sub(read);
        let to_end = RING_SIZE - written % RING_SIZE;
        let padding = if size > to_end { to_end } else { 0 };
        if used > RING_SIZE || !written.is_multiple_of(FRAME_HEADER) {
            return Err(Corrupt);
        }
        if used + padding + size > RING_SIZE {
            return Ok(None);
        }
        if padding > 0 {
            self.write_at(written, &PADDING.to_ne_bytes());
            self.positions.written.0.store(written.wrapping_add(padding), Ordering::Release);
        }
        Ok(Some(written.wrapping_add(padding)))
    }

    fn publish(&self, at: u32, len: u32, words: FrameWords) -> u32 {
        for (index, word) in (0..).zip([len, words[0], words[1], words[2]]) {
            self.write_at(at.wrapping_add(4 * index), &word.to_ne_bytes());
        }
        let end = at.wrapping_add(size_of_frame(len));
        self.positions.written.0.store(end, Ordering::Release);
        end
    }

    /// The next frame, checked.
    fn peek(&self) -> Result<Option<RingFrame>, Corrupt> {
        self.next_frame().map(|(_, frame)| frame)
    }

    /// The next frame, checked, and its position: behind padding, also where no frame is there yet.
    fn next_frame(&self) -> Result<(u32, Option<RingFrame>), Corrupt> {
        let mut read = self.positions.read.0.load(Ordering::Relaxed);
        // Padding comes once, and a frame behind it.
        for _ in 0..2 {
            let waiting = self.positions.written.0.load(Ordering::Acquire).wrapping_sub(read);
            if waiting == 0 {
                return Ok((read, None));
            }
            if waiting > RING_SIZE || !waiting.is_multiple_of(FRAME_HEADER) || !read.is_multiple_of(FRAME_HEADER) {
                return Err(Corrupt);
            }
            let header = Self::offset_of(read, FRAME_HEADER).ok_or(Corrupt)?;
            let word = |index: u32| {
                let mut word = [0; 4];
                self.read_at(header + 4 * index, &mut word);
                u32::from_ne_bytes(word)
            };
            let len = word(0);
            if len == PADDING {
                let padding = RING_SIZE - read % RING_SIZE;
                if padding > waiting {
                    return Err(Corrupt);
                }
                // Passed with the frame behind it: the parent may still take that one back, and cut the ring off here.
                read = read.wrapping_add(padding);
                continue;
            }
            if len as usize > MAX_PAYLOAD
                || size_of_frame(len) > waiting
                || Self::offset_of(read, FRAME_HEADER + len).is_none()
            {
                return Err(Corrupt);
            }
            let words = [word(1), word(2), word(3)];
            let end = read.wrapping_add(size_of_frame(len));
            return Ok((read, Some(RingFrame { words, at: header + FRAME_HEADER, len, end, number: 0 })));
        }
        Err(Corrupt)
    }

    fn release(&self, frame: &RingFrame) {
        self.positions.read.0.store(frame.end, Ordering::Release);
    }

    /// Where in the ring a position is, if so many bytes are there without a break.
    fn offset_of(position: u32, len: u32) -> Option<u32> {
        let place = position % RING_SIZE;
        (len <= RING_SIZE - place).then_some(place)
    }

    #[inline]
    fn write_at(&self, position: u32, bytes: &[u8]) {
        let place = Self::offset_of(position, u32::try_from(bytes.len()).unwrap_or(RING_SIZE + 1));
        let place = place.expect("`reserve` leaves no frame broken in two") as usize;
        // Most results of maps are numbers: calling `memcpy` takes longer than copying them.
        if let (4..=8, Some(first), Some(last)) = (bytes.len(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            // SAFETY: as below; the two overlap, or meet.
            unsafe {
                self.bytes.add(place).cast().write_unaligned(*first);
                self.bytes.add(place + bytes.len() - 4).cast().write_unaligned(*last);
            }
            return;
        }
        if let (9..=16, Some(first), Some(last)) = (bytes.len(), bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            // SAFETY: as below; the two overlap, or meet.
            unsafe {
                self.bytes.add(place).cast().write_unaligned(*first);
                self.bytes.add(place + bytes.len() - 8).cast().write_unaligned(*last);
            }
            return;
        }
        if bytes.len() < 4 {
            for (offset, byte) in bytes.iter().enumerate() {
                // SAFETY: as below.
                unsafe { self.bytes.add(place + offset).write(*byte) };
            }
            return;
        }
        // SAFETY: within the ring; the other process does not read it before `written` says so.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes.add(place).as_ptr(), bytes.len()) };
    }

    fn read_at(&self, place: u32, bytes: &mut [u8]) {
        // SAFETY: `place` was checked; bytes may change meanwhile in the other process, and any are valid.
        unsafe {
            std::ptr::copy_nonoverlapping(self.bytes.add(place as usize).as_ptr(), bytes.as_mut_ptr(), bytes.len());
        }
    }

    fn append_to(&self, place: u32, len: u32, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + len as usize, 0);
        self.read_at(place, &mut into[start..]);
    }
}

fn size_of_frame(payload: u32) -> u32 {
    (FRAME_HEADER + payload).next_multiple_of(FRAME_HEADER)
}
